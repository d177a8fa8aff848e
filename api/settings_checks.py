"""What a setting may be: each wrong one is told by its name, on one line."""

from ipaddress import ip_address
from math import isfinite
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from api.logs import FORMS
from api.master_keys import read_master_keys
from domain.api_key import PepperMissing, PeppersInvalid
from domain.origins import LOOPBACK, origin_of

if TYPE_CHECKING:
    from api.settings import Settings

PREFIX = "ITB_"
SHORTEST_SECRET = 32

PORTS = ("port", "demo_ehr_no_port", "demo_ehr_se_port", "demo_oidc_port")
LENGTHS = (
    *("find_deadline", "look_up_deadline", "book_deadline", "check_interval"),
    *("hold_seconds", "hold_cap_seconds", "poll_seconds", "slowest_poll_seconds", "log_seconds", "watch_seconds"),
    *("recheck_seconds", "job_seconds", "export_seconds", "key_seconds", "step_up_seconds"),
    *("connection_seconds", "query_seconds", "body_seconds"),
)
LONGEST_STEP_UP = 1800
MAY_BE_ZERO = ("api_key_seconds", "fresh_seconds", "stale_seconds", "silence_seconds", "linger_seconds")
LONGEST = 86_400
"""Seconds: a day, far beyond what any of these is meant for."""

LONGEST_KEY_SECONDS = 30
"""A revocation is to be felt within half a minute."""

COUNTS = (
    *("token_key", "database_pool", "holds_per_visitor", "holds_per_address", "holds_per_clinic", "most_watches"),
    *("operations_per_viewer", "operations_per_address", "connections_per_address", "most_connections"),
    *("logins_per_address", "failed_logins_per_address", "tokens_per_address"),
)


class SettingsInvalid(Exception):
    """A setting is missing or wrong; the message names it and says what would be right, on one line."""


def check(settings: "Settings") -> None:
    if len(settings.secret) < SHORTEST_SECRET:
        raise SettingsInvalid(f"{PREFIX}SECRET: must be at least {SHORTEST_SECRET} characters long")
    if settings.log_level not in ("debug", "info", "warning", "error"):
        raise SettingsInvalid(f"{PREFIX}LOG_LEVEL: must be debug, info, warning or error")
    if settings.log_format not in FORMS:
        raise SettingsInvalid(f"{PREFIX}LOG_FORMAT: must be {' or '.join(FORMS)}")
    try:
        read_master_keys(settings.master_keys)
    except ValueError as why:
        raise SettingsInvalid(f"{PREFIX}MASTER_KEYS: {why}") from None
    _check_peppers(settings)
    for proxy in filter(None, settings.trusted_proxies.split(",")):
        _check_proxy(proxy)
    _check_numbers(settings)
    _check_database(settings.database_url)
    if settings.redis_url and _parts(f"{PREFIX}REDIS_URL", settings.redis_url).scheme not in ("redis", "rediss"):
        raise SettingsInvalid(f"{PREFIX}REDIS_URL: must start with redis:// or rediss://")
    for origin in filter(None, settings.origins.split(",")):
        _check_origin(origin)
    for name in ("public_url", "oidc_issuer"):
        _check_url(f"{PREFIX}{name.upper()}", getattr(settings, name))


def _check_numbers(settings: "Settings") -> None:
    for name in PORTS:
        if not 0 <= getattr(settings, name) <= 65535:
            raise SettingsInvalid(f"{PREFIX}{name.upper()}: must be a port, 0 to 65535")
    for name in LENGTHS:
        if not isfinite(getattr(settings, name)) or not 0 < getattr(settings, name) <= LONGEST:
            raise SettingsInvalid(f"{PREFIX}{name.upper()}: must be more than 0 and at most {LONGEST} seconds")
    for name in MAY_BE_ZERO:
        if not isfinite(getattr(settings, name)) or not 0 <= getattr(settings, name) <= LONGEST:
            raise SettingsInvalid(f"{PREFIX}{name.upper()}: must be at least 0 and at most {LONGEST} seconds")
    _check_deadlines(settings)
    _check_counts(settings)


def _check_deadlines(settings: "Settings") -> None:
    if settings.query_seconds <= settings.find_deadline + settings.look_up_deadline:
        raise SettingsInvalid(
            f"{PREFIX}QUERY_SECONDS: must be more than {PREFIX}FIND_DEADLINE and {PREFIX}LOOK_UP_DEADLINE together"
        )


def _check_counts(settings: "Settings") -> None:
    for name in COUNTS:
        if getattr(settings, name) < 1:
            raise SettingsInvalid(f"{PREFIX}{name.upper()}: must be at least 1")
    if settings.api_key_seconds > LONGEST_KEY_SECONDS:
        raise SettingsInvalid(f"{PREFIX}API_KEY_SECONDS: must be at most {LONGEST_KEY_SECONDS}")
    if settings.slowest_poll_seconds < settings.poll_seconds:
        raise SettingsInvalid(f"{PREFIX}SLOWEST_POLL_SECONDS: must not be less than {PREFIX}POLL_SECONDS")
    if settings.step_up_seconds > LONGEST_STEP_UP:
        raise SettingsInvalid(f"{PREFIX}STEP_UP_SECONDS: must be at most {LONGEST_STEP_UP}, which the schema promises")
    if settings.hold_cap_seconds < settings.hold_seconds:
        raise SettingsInvalid(f"{PREFIX}HOLD_CAP_SECONDS: must not be less than {PREFIX}HOLD_SECONDS")


def _check_peppers(settings: "Settings") -> None:
    try:
        settings.peppers()
    except PepperMissing as wrong:
        raise SettingsInvalid(f"{PREFIX}API_KEY_PEPPER: {wrong}") from None
    except PeppersInvalid as wrong:
        raise SettingsInvalid(f"{PREFIX}API_KEY_PEPPERS: {wrong}") from None


def _check_database(url: str) -> None:
    if not url.startswith(("sqlite:///", "postgresql://")):
        raise SettingsInvalid(f"{PREFIX}DATABASE_URL: must start with sqlite:/// or postgresql://")
    if url.startswith("postgresql:"):
        _parts(f"{PREFIX}DATABASE_URL", url)


def _check_proxy(address: str) -> None:
    try:
        ip_address(address)
    except ValueError:
        raise SettingsInvalid(
            f"{PREFIX}TRUSTED_PROXIES: must be IP addresses, separated by commas without spaces"
        ) from None


def _check_origin(origin: str) -> None:
    try:
        origin_of(origin)
    except ValueError as wrong:
        raise SettingsInvalid(f"{PREFIX}ORIGINS: {wrong}") from None


def _check_url(name: str, url: str) -> None:
    """Plain http carries cookies and tokens in the open: only loopback may use it."""
    if not url:
        return
    parts = _parts(name, url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsInvalid(f"{name}: must be an http or https URL")
    if parts.query or parts.fragment or "@" in parts.netloc or not url.isprintable() or " " in url:
        raise SettingsInvalid(
            f"{name}: must be a URL without query, fragment, user name, spaces and control characters"
        )
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise SettingsInvalid(f"{name}: must be https outside loopback")


def _parts(name: str, url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise SettingsInvalid(f"{name}: must be a URL with a number as its port") from None
    return parts
