"""Every setting, from the environment: one documented field each."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from api.master_keys import read_master_keys
from api.settings_checks import PREFIX, SettingsInvalid, check
from domain.api_key import Peppers
from domain.origins import LOOPBACK, origin_of
from domain.timing import Timing

__all__ = ["PREFIX", "Settings", "SettingsInvalid", "read_settings"]


def setting(doc: str, default: Any = MISSING, *, secret: bool = False) -> Any:
    """A field with its documentation; `secret` keeps its value out of `repr` and of every message."""
    metadata = {"doc": doc}
    if default is MISSING:
        return field(metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Read once at start from `ITB_<NAME>`. Durations are seconds."""

    secret: str = setting(
        "At least 32 characters of randomness: signs slot ids, hold tokens and cursors, wraps the keys that seal "
        "people's data where there are no ITB_MASTER_KEYS. Changing it makes what was signed or sealed unreadable.",
        secret=True,
    )
    master_keys: str = setting(
        "Keys that wrap the tenants' own, by number: `1:…,2:…`, each of 32 random bytes in base64. The highest "
        "wraps, all of them open. Empty: one that follows from ITB_SECRET, and has number 0.",
        "",
        secret=True,
    )
    key_seconds: float = setting(
        "Seconds for which a process goes by the tenants' keys that it has read; a rotation waits for four "
        "times as long.",
        60.0,
    )
    oidc_issuer: str = setting("The identity provider's issuer URL; its discovery document is read from there.")
    database_url: str = setting("`sqlite:///path` or `postgresql://user@host:port/name`.", "sqlite:///itb.db")
    database_owner_url: str = setting(
        "How `migrate` connects to PostgreSQL: as the owner of the tables, who lets the role of `ITB_DATABASE_URL` "
        "read and write rows. Empty: as `ITB_DATABASE_URL` says, which is right for SQLite only.",
        "",
        secret=True,
    )
    database_pool: int = setting("Connections to the database that one process keeps at most.", 10)
    redis_url: str = setting("`redis://host:port/0`. Empty: one process counts by itself, without Redis.", "")
    redis_prefix: str = setting("Begins all our keys and channels in Redis.", "itb:")
    host: str = setting("The address to listen on.", "127.0.0.1")
    port: int = setting("The port to listen on; 0 takes a free one.", 8000)
    public_url: str = setting(
        "The URL that browsers reach the API under; empty: made of host and port. http only on loopback. "
        "Must be set to serve on any other address.",
        "",
    )
    oidc_client_id: str = setting("Our client at the identity provider, for browser logins.", "itb-web")
    oidc_client_secret: str = setting("That client's secret.", "", secret=True)
    oidc_app_clients: str = setting(
        "Client ids there of our own apps, comma-separated. Tokens given to any other count beside an API key only.",
        "",
    )
    oidc_audience: str = setting("The audience that bearer tokens must be issued for.", "itb-api")
    step_up_seconds: float = setting(
        "Seconds after a login for which it is fresh enough to book, move and cancel, to take one's data along and to "
        "erase it, at most 1800; later it is STEP_UP_REQUIRED.",
        1800.0,
    )
    synthetic_people: bool = setting(
        "Accept synthetic national numbers, and pass `login_hint` on; true for demonstrations only.", False
    )
    seed: str = setting("A seed file to import the catalogue by (`python -m api import`).", "")
    worker: bool = setting("Whether `serve` also does the worker's work; false where `worker` runs alone.", True)
    check_interval: float = setting("Seconds between looks into questions that an EHR has not answered.", 5.0)
    job_seconds: float = setting(
        "Seconds that one job may take, such as a delivery; half as long again, and another process takes over what a "
        "killed one had begun.",
        30.0,
    )
    export_seconds: float = setting(
        "Seconds for which a patient can fetch the data that was prepared for them; then it is deleted.", 86_400.0
    )
    find_deadline: float = setting("Seconds an EHR may take to tell its free times.", 4.0)
    look_up_deadline: float = setting("Seconds an EHR may take to answer a look-up.", 2.0)
    book_deadline: float = setting("Seconds an EHR may take to book, move or cancel.", 12.0)
    query_seconds: float = setting(
        "Seconds a query may take in all, more than ITB_FIND_DEADLINE and ITB_LOOK_UP_DEADLINE together; then it is "
        "cut, and a TIMEOUT. Mutations are never cut.",
        30.0,
    )
    body_seconds: float = setting(
        "Seconds the body of a request may take to arrive; then it is answered with 408.", 10.0
    )
    fresh_seconds: float = setting("Seconds for which what an EHR told of free times counts as new.", 20.0)
    stale_seconds: float = setting(
        "Seconds for which it is shown at all, told as STALE, while the EHR is asked again behind the answer's back.",
        300.0,
    )
    silence_seconds: float = setting("Seconds before an EHR that has not answered is asked for free times again.", 2.0)
    poll_seconds: float = setting(
        "Seconds between two questions to an EHR for its changes, while there are some.", 15.0
    )
    slowest_poll_seconds: float = setting("The same while nothing changes there: it grows up to this.", 120.0)
    log_seconds: float = setting(
        "Seconds between looks into the log of changes, for what other processes have changed. With Redis that comes "
        "at once, and the log is the net under it.",
        1.0,
    )
    watch_seconds: float = setting("Seconds after which a watched search is looked at again without a reason.", 30.0)
    linger_seconds: float = setting("Seconds a search is watched on after its last watcher left.", 60.0)
    most_watches: int = setting(
        "Different searches a process watches at once, a tenth for one visitor, half for one address or agency's "
        "server; above it RATE_LIMITED.",
        2000,
    )
    api_key_seconds: float = setting(
        "Seconds for which what is known of an API key counts: a revoked one opens something for so long. At most 30.",
        10.0,
    )
    api_key_peppers: str = setting(
        "`1:…,2:…`: secrets of at least 32 characters that API keys are kept under. Every one of them reads. Empty: "
        "one that follows from `ITB_SECRET`, as number 0 always does.",
        "",
        secret=True,
    )
    api_key_pepper: str = setting(
        "The number of the pepper that keys are kept under from now on. Empty: the highest. Name the former one until "
        "every process knows the new one.",
        "",
    )
    token_key: int = setting(
        "The number of the key that signs system tokens; they follow from `ITB_SECRET`. One more makes a new one, and "
        "tokens of the numbers next to it go on counting.",
        1,
    )
    recheck_seconds: float = setting(
        "Seconds between looks whether who opened a WebSocket or event stream is still signed in, and their key still "
        "stands.",
        20.0,
    )
    connection_seconds: float = setting(
        "Seconds a WebSocket or event stream may be open; then it ends, and the client connects again.", 28_800.0
    )
    origins: str = setting(
        "Origins whose pages may speak for every tenant, besides those that a tenant and its keys list, separated by "
        "commas, such as `https://booking.example`.",
        "",
    )
    hold_seconds: int = setting("Seconds a held time is kept.", 600)
    hold_cap_seconds: int = setting("Seconds a held time is kept at most, renewed once at login.", 900)
    holds_per_visitor: int = setting(
        "Holds that a patient, or whoever shows one hold's token, may ask for in ten minutes; above it HOLD_LIMIT.",
        60,
    )
    holds_per_address: int = setting(
        "Holds one address may make in ten minutes, but for patients of an agency's server; above it HOLD_LIMIT.", 300
    )
    holds_per_clinic: int = setting(
        "Times of one clinic that may be held at once by visitors who have not signed in; above it HOLD_LIMIT.", 200
    )
    operations_per_viewer: int = setting(
        "Operations in a minute that one signed-in patient or session may ask for; above it RATE_LIMITED.", 600
    )
    operations_per_address: int = setting(
        "The same by address, for all but an agency's server with its key; and, apart from it, notifications.", 3000
    )
    connections_per_address: int = setting(
        "WebSockets and event streams one address may have open at once in one process; above it a WebSocket is closed "
        "with 1013, and a stream is RATE_LIMITED.",
        500,
    )
    most_connections: int = setting("The same from all addresses together.", 5000)
    logins_per_address: int = setting(
        "Logins that may begin in ten minutes from one address; above it RATE_LIMITED.", 200
    )
    failed_logins_per_address: int = setting(
        "Logins from one address that may come back and fail in ten minutes, until none begins there; and, apart from "
        "it, logout tokens that are refused, until none is looked at.",
        50,
    )
    tokens_per_address: int = setting("System tokens one address may ask for in ten minutes.", 60)
    trusted_proxies: str = setting("Addresses of proxies, separated by commas, whose X-Forwarded-For counts.", "")
    log_level: str = setting("debug, info, warning or error.", "info")
    log_format: str = setting("`text`, or `json` for those who collect logs.", "text")
    demo_dir: str = setting("Where `demo` keeps its database, calendars and keys.", ".demo")
    demo_ehr_no_port: int = setting("The Norwegian sandbox EHR of `demo`.", 8001)
    demo_ehr_se_port: int = setting("The Swedish sandbox EHR of `demo`.", 8002)
    demo_oidc_port: int = setting("The identity provider of `demo`.", 8003)

    @property
    def base_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")

    @property
    def listed_origins(self) -> frozenset[str]:
        return frozenset(origin_of(each) for each in self.origins.split(",") if each)

    @property
    def own_app_clients(self) -> tuple[str, ...]:
        return tuple(client for each in self.oidc_app_clients.split(",") if (client := each.strip()))

    @property
    def is_https(self) -> bool:
        """However it is written: what follows from this are the cookies' name and `Secure`."""
        return urlsplit(self.base_url).scheme == "https"

    @property
    def masters(self) -> dict[int, bytes]:
        return read_master_keys(self.master_keys)

    def check_public_url(self) -> None:
        """For those who serve: an address to listen on is no address for browsers, unless it is loopback."""
        if not self.public_url and self.host not in LOOPBACK:
            raise SettingsInvalid(f"{PREFIX}PUBLIC_URL: must be set when {PREFIX}HOST is not loopback")

    @property
    def look_for_jobs(self) -> float:
        """Seconds between looks for jobs that other processes have queued."""
        return min(0.5, self.check_interval)

    def peppers(self) -> Peppers:
        """What API keys are kept under. Raises `PeppersInvalid`."""
        return Peppers.read(self.secret, self.api_key_peppers, self.api_key_pepper)

    def timing(self) -> Timing:
        return Timing(
            find=self.find_deadline,
            look_up=self.look_up_deadline,
            book=self.book_deadline,
            hold_lifetime=timedelta(seconds=self.hold_seconds),
            hold_cap=timedelta(seconds=self.hold_cap_seconds),
            check_interval=timedelta(seconds=self.check_interval),
            fresh=timedelta(seconds=self.fresh_seconds),
            stale=timedelta(seconds=self.stale_seconds),
            silence=timedelta(seconds=self.silence_seconds),
            poll=timedelta(seconds=self.poll_seconds),
            slowest_poll=timedelta(seconds=self.slowest_poll_seconds),
            watch=timedelta(seconds=self.watch_seconds),
            linger=timedelta(seconds=self.linger_seconds),
        )


def read_settings(environment: Mapping[str, str], **fixed: Any) -> Settings:
    """`fixed` values stand where the environment says nothing. Raises `SettingsInvalid`, also for unknown names."""
    known = {PREFIX + f.name.upper(): f for f in fields(Settings)}
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise SettingsInvalid(f"{unknown[0]}: there is no such setting")
    values = dict(fixed)
    for name, spec in known.items():
        if (raw := environment.get(name)) not in (None, ""):
            values[spec.name] = _parsed(name, spec, str(raw))
        elif spec.name not in values and spec.default is MISSING:
            raise SettingsInvalid(f"{name}: must be set. {spec.metadata['doc']}")
    settings = Settings(**values)
    check(settings)
    return settings


def _parsed(name: str, spec: Field[Any], raw: str) -> Any:
    kind = spec.type
    if kind is bool:
        if raw.lower() not in ("true", "false", "1", "0"):
            raise SettingsInvalid(f"{name}: must be true or false")
        return raw.lower() in ("true", "1")
    if kind in (int, float):
        try:
            return kind(raw)
        except ValueError:
            raise SettingsInvalid(f"{name}: must be a number") from None
    return raw
