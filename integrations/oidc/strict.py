"""Authlib's OpenID Connect client with its lenient corners closed.

Stock Authlib takes unsigned ID tokens when discovery lists `none`, foreign audiences when `azp` is ours, answers
with another provider's `iss`, answers without an ID token, and any age of login.
"""

import re
from datetime import date, timedelta
from typing import Any

import httpx2
from authlib.integrations.starlette_client import OAuthError
from authlib.integrations.starlette_client.apps import StarletteOAuth2App
from authlib.oidc.core import CodeIDToken
from joserfc.util import json_b64decode
from starlette.requests import Request

from domain.national_id import of_any_country
from domain.ports import Clock
from integrations.oidc.attempts import LoginAttempts
from integrations.oidc.claims import has_national_id, names_somebody
from integrations.oidc.discovery import discover
from integrations.oidc.kept import IdentityProviderUnavailable, Kept
from integrations.oidc.keys import usable_keys
from integrations.oidc.provider import OidcSettings

LEEWAY_SECONDS = 60
DEADLINE_SECONDS = 10.0
DISCOVERY_LASTS = timedelta(days=1)
"""How old what a provider last told of itself may become while it is silent, or tells what is not to be believed."""

ABOUT_THE_LOGIN = frozenset(
    {"iss", "aud", "azp", "exp", "iat", "nbf", "jti", "nonce", "auth_time", "acr", "amr", "sid", "at_hash", "c_hash"}
)
"""Claims that only the signed ID token may make, and that tell nothing of the person."""

MAYBE_NUMBERS = re.compile(r"(?<!\d)\d{6,8}[ +-]?\d{4,5}(?!\d)", re.ASCII)
"""What a national number may look like, whatever stands around it."""


class NotBelieved(OAuthError):
    """The answer came, and failed one of our checks."""


class StrictClient(StarletteOAuth2App):
    """Our client at one provider."""

    def __init__(self, settings: OidcSettings, attempts: LoginAttempts, clock: Clock) -> None:
        super().__init__(
            attempts,
            "login",
            client_id=settings.client_id,
            client_secret=settings.client_secret,
            client_kwargs={
                "scope": settings.scope,
                "code_challenge_method": "S256",
                "timeout": DEADLINE_SECONDS,
            },
        )
        self._settings = settings
        self._clock = clock
        self._metadata = Kept(settings.issuer, self._discover, clock, lasts=DISCOVERY_LASTS)

    async def load_server_metadata(self) -> dict[str, Any]:
        """Discovery of our own: checked, and with a lifetime, where Authlib asks once a process.

        Raises `IdentityProviderUnavailable`.
        """
        self.server_metadata = await self._metadata.get()  # Authlib keeps the keys in it, as long as it lasts
        return self.server_metadata

    async def _discover(self, http: httpx2.AsyncClient) -> dict[str, Any]:
        found = await discover(self._settings, http)
        return {**found, "id_token_signing_alg_values_supported": list(self._settings.algorithms)}

    async def fetch_jwk_set(self, force: bool = False) -> dict[str, Any]:
        """Without keys that are not to be used, for a single one of which Authlib would refuse all.

        Raises `httpx2.HTTPError` or `IdentityProviderUnavailable`.
        """
        try:
            return dict(usable_keys(await super().fetch_jwk_set(force)).as_dict())
        except ValueError:
            self.server_metadata.pop("jwks", None)  # or the next login would not ask for them
            raise IdentityProviderUnavailable("no usable key") from None

    async def authorize_access_token(self, request: Request, *, max_age: int | None = None) -> dict[str, Any]:
        """Trades the code for tokens; `userinfo` holds the verified claims. `max_age` is in seconds.

        Raises `NotBelieved`, another `OAuthError`, joserfc's errors, `httpx2.HTTPError` or
        `IdentityProviderUnavailable`.
        """
        await self._check_answering_issuer(request)
        token: dict[str, Any] = await super().authorize_access_token(request, leeway=LEEWAY_SECONDS)
        claims = token.get("userinfo")
        if not claims:
            raise NotBelieved("missing_id_token")
        self._check_level(claims)
        self._check_age(claims, max_age)
        if self._settings.ask_userinfo and not has_national_id(claims, self._settings):
            token["userinfo"] = await self._with_userinfo(token, claims)
        return token

    async def parse_id_token(self, token: dict[str, Any], nonce: str, **options: Any) -> Any:
        """Pins issuer and audience, which Authlib drops or softens, and reads the time from our clock."""
        ours = self._settings
        options["claims_options"] = {
            "iss": {"essential": True, "value": ours.issuer},
            "aud": {
                "essential": True,
                "value": ours.client_id,
                "validate": lambda _, audience: ours.is_for_nobody_else(audience),
            },
        }
        options["claims_cls"] = _id_token_class(token.get("access_token"), int(self._clock.now().timestamp()))
        return await super().parse_id_token(token, nonce, **options)

    async def _check_answering_issuer(self, request: Request) -> None:
        """RFC 9207: an answer that another provider sent must not have its code spent here."""
        metadata = await self.load_server_metadata()
        answered_by = request.query_params.get("iss")
        promised = metadata["authorization_response_iss_parameter_supported"]
        if (answered_by is not None or promised) and answered_by != self._settings.issuer:
            raise NotBelieved("iss_mismatch")

    def _check_level(self, claims: dict[str, Any]) -> None:
        prefixes = self._settings.acr_prefixes
        if prefixes and not str(claims.get("acr", "")).startswith(prefixes):
            raise NotBelieved("acr_too_low")

    def _check_age(self, claims: dict[str, Any], max_age: int | None) -> None:
        signed_in_at = claims.get("auth_time")
        if signed_in_at is None and max_age is None:
            return
        if not isinstance(signed_in_at, int | float) or isinstance(signed_in_at, bool):
            raise NotBelieved("missing_auth_time")
        age = self._clock.now().timestamp() - signed_in_at
        if age < -LEEWAY_SECONDS:
            raise NotBelieved("future_auth_time")
        if max_age is not None and age > max_age + LEEWAY_SECONDS:
            raise NotBelieved("stale_auth_time")

    async def _with_userinfo(self, token: dict[str, Any], claims: dict[str, Any]) -> dict[str, Any]:
        """UserInfo is not signed to us: only the same subject may add to the claims, none is overwritten, and it says
        nothing of the login itself."""
        more = await self.userinfo(token=token)
        if more.get("sub") != claims["sub"]:
            raise NotBelieved("userinfo_of_somebody_else")
        return {**{name: told for name, told in more.items() if name not in ABOUT_THE_LOGIN}, **claims}


def tells_of_the_person(id_token: str, today: date) -> bool:
    """Whether a token, believed already, holds more than opaque ids: a name, a birth date, a number, an address."""
    try:
        claims = json_b64decode(id_token.split(".")[1].encode())
        return not claims.keys() <= ABOUT_THE_LOGIN | {"sub", "typ"} or not _is_opaque(str(claims["sub"]), today)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return True


def _is_opaque(subject: str, today: date) -> bool:
    """Neither what a login is refused for nor anything with a valid national number in it, of synthetic people too:
    an id that only looks like one is taken at a login, and goes in a form all the same."""
    parts = MAYBE_NUMBERS.findall(subject)
    return not names_somebody(subject) and not any(of_any_country(part, today=today) for part in parts)


def _id_token_class(access_token: str | None, now_seconds: int) -> type[CodeIDToken]:
    """Authlib passes the access token for `at_hash` only to its own class, and takes no clock.

    Of EdDSA with a key on Ed25519 it knows the hash (SHA-512), but not by the newer name of RFC 9864.
    """

    class IdTokenNow(CodeIDToken):
        header: dict[str, Any]

        def validate(self, now: int | None = None, leeway: int = 0) -> None:
            if self.header["alg"] == "Ed25519":
                self.header = {**self.header, "alg": "EdDSA"}
            self.params["access_token"] = access_token
            super().validate(now_seconds, leeway)

    return IdTokenNow
