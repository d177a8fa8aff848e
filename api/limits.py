"""How much anybody may ask for: by client, by viewer and by address, and strictly where guessing would pay.

What is counted is named by a keyed hash: whoever reads the counts in Redis learns no address and no session.
"""

import hmac
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address
from math import ceil
from uuid import UUID

from starlette.requests import HTTPConnection

from api.errors import RateLimited
from api.languages import wanted_languages
from api.messages import message
from api.settings import Settings
from domain.client import Client
from domain.ports import Limiter, Quota
from domain.text import LANGUAGES

MINUTE, TEN_MINUTES = timedelta(minutes=1), timedelta(minutes=10)


class Limits:
    """Each raises `RateLimited` with `retryAfter`, in seconds, but for `may_hold`, which answers.

    It is said in the best of `languages`; where none are given, since no tenant is known, in what the caller reads.
    """

    def __init__(self, limiter: Limiter, settings: Settings) -> None:
        self._limiter = limiter
        self._settings = settings
        self._key = hmac.digest(settings.secret.encode(), b"limits", sha256)
        self._proxies = frozenset(filter(None, map(_read, settings.trusted_proxies.split(","))))

    async def operation(
        self,
        connection: HTTPConnection,
        tenant_id: str,
        *,
        viewer: str | None = None,
        client: Client | None = None,
        languages: Sequence[str] = (),
        cost: int = 1,
    ) -> None:
        """`viewer` tells one session or patient from others, unproven as it may be: by address all are counted.

        An agency's server is one address for all its visitors, so a key with a rate of its own is counted by that
        alone. A page's key is no secret, and one machine must not use it up for all visitors. Every operation costs
        one as yet.
        """
        quotas = self._of_key(tenant_id, client)
        if not quotas or not from_server(connection, client):
            address = self.address(connection)
            quotas.append(self._quota(f"address:{tenant_id}", address, self._settings.operations_per_address))
        if viewer:
            quotas.append(self._quota(f"viewer:{tenant_id}", viewer, self._settings.operations_per_viewer))
        await self._take(connection, *(replace(quota, cost=cost) for quota in quotas), languages=languages)

    async def look_up(self, connection: HTTPConnection) -> None:
        """A look only, before the database is asked for a key that is not known: one that opens nothing is counted
        afterwards, as an operation of no tenant."""
        await self.operation(connection, "", cost=0)

    async def may_hold(
        self, tenant_id: str, address: str, server: Client | None, patient: UUID | None, shown: UUID | None
    ) -> bool:
        """`server` is the agency's that asks, if one does: whom it has signed in hold by themselves, and together as
        many in ten minutes as it may ask for in one, for its address is that of all of them. Others are counted by
        address, and by `shown`, the hold whose token came along, if one did."""
        who = f"patient:{patient}" if patient else f"shown:{shown}" if shown else None
        together = self._all_of(tenant_id, server) if server and patient else None
        quotas = [together or self._holds(tenant_id, address, self._settings.holds_per_address)]
        if who:
            quotas.append(self._holds(tenant_id, who, self._settings.holds_per_visitor))
        return not await self._limiter.take(*quotas)

    async def login(self, connection: HTTPConnection, languages: Sequence[str] = ()) -> None:
        """One that begins, unless too many from there have failed."""
        begins = self._strict("login", self.address(connection), self._settings.logins_per_address)
        await self._take(connection, begins, self._failures(connection, cost=0), languages=languages)

    async def login_comes_back(self, connection: HTTPConnection, languages: Sequence[str] = ()) -> None:
        """A look only: what came back and failed is counted by `login_failed`."""
        await self._take(connection, self._failures(connection, cost=0), languages=languages)

    async def login_failed(self, connection: HTTPConnection) -> None:
        await self._limiter.take(self._failures(connection, cost=1))

    async def logout(self, connection: HTTPConnection, languages: Sequence[str] = ()) -> None:
        """A look only, at a logout token that comes: what is refused is counted by `logout_refused`."""
        await self._take(connection, self._untrue_logouts(connection, cost=0), languages=languages)

    async def logout_refused(self, connection: HTTPConnection) -> None:
        await self._limiter.take(self._untrue_logouts(connection, cost=1))

    async def system_token(self, connection: HTTPConnection, languages: Sequence[str] = ()) -> None:
        """One more that is asked for, whatever key it comes with."""
        asked = self._strict("token", self.address(connection), self._settings.tokens_per_address)
        await self._take(connection, asked, languages=languages)

    async def webhook(self, connection: HTTPConnection) -> None:
        """Counted apart from what people ask for: a record system may tell much at once."""
        limit = self._settings.operations_per_address
        await self._take(connection, self._quota("webhook", self.address(connection), limit))

    def address(self, connection: HTTPConnection) -> str:
        """The caller's; what proxies add counts only as far back as they are listed, and what they add that is no
        address is their own, or it would be a new one each time. Of IPv6 the network (RFC 4291 §2.5.4), since whoever
        has one has all the addresses in it."""
        host = connection.client.host if connection.client else ""
        address, behind = _read(host), ",".join(connection.headers.getlist("x-forwarded-for")).split(",")
        while address in self._proxies and behind and (added := _read(behind.pop().strip())):
            address = added
        return _network(address) if address else host

    def pseudonym(self, text: str) -> str:
        """The same for the same text, and for nobody to turn back without our secret."""
        return hmac.digest(self._key, text.encode(errors="replace"), sha256)[:16].hex()

    def _quota(self, what: str, who: str, limit: int, window: timedelta = MINUTE) -> Quota:
        return Quota(key=f"{what}:{self.pseudonym(who)}", limit=limit, window=window)

    def _of_key(self, tenant_id: str, client: Client | None) -> list[Quota]:
        """Empty where nothing was agreed on."""
        if client and client.key_id and client.rate_per_minute:
            return [self._quota(f"client:{tenant_id}", client.key_id, client.rate_per_minute)]
        return []

    def _all_of(self, tenant_id: str, server: Client) -> Quota:
        """No fewer than any address may hold."""
        most = max(server.rate_per_minute or 0, self._settings.holds_per_address)
        return self._holds(tenant_id, f"key:{server.key_id}", most)

    def _holds(self, tenant_id: str, who: str, limit: int) -> Quota:
        return self._strict(f"hold:{tenant_id}", who, limit)

    def _strict(self, what: str, who: str, limit: int) -> Quota:
        return replace(self._quota(what, who, limit, TEN_MINUTES), strict=True)

    def _failures(self, connection: HTTPConnection, cost: int) -> Quota:
        return self._refused("failed", connection, cost)

    def _untrue_logouts(self, connection: HTTPConnection, cost: int) -> Quota:
        return self._refused("logout", connection, cost)

    def _refused(self, what: str, connection: HTTPConnection, cost: int) -> Quota:
        limit = self._settings.failed_logins_per_address
        return replace(self._strict(what, self.address(connection), limit), cost=cost)

    async def _take(self, connection: HTTPConnection, *quotas: Quota, languages: Sequence[str] = ()) -> None:
        if wait := await self._limiter.take(*quotas):
            seconds = max(ceil(wait.total_seconds()), 1)
            read = languages or wanted_languages(connection.headers.get("accept-language"), LANGUAGES, LANGUAGES[0])
            raise RateLimited(message("RATE_LIMITED", read), retryAfter=seconds)


def from_server(connection: HTTPConnection, client: Client | None) -> bool:
    """Of an agency. A key for pages tells it, since a caller may leave `Origin` out, and `Origin` does, since a key
    that is for no page may stand in one."""
    return client is not None and client.is_server and "origin" not in connection.headers


def _read(text: str) -> IPv4Address | IPv6Address | None:
    """Without brackets and the port that some proxies append, and as IPv4 where it is that in IPv6's clothes (RFC 4291
    §2.5.5.2), as it comes where one listens on `::`. None for what is no address."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _network(address: IPv4Address | IPv6Address) -> str:
    return str(IPv6Address(int(address) >> 64 << 64) if isinstance(address, IPv6Address) else address)
