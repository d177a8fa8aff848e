"""Where a login begins, and where it may end: only at addresses that the tenant has listed."""

import re
from urllib.parse import unquote, urlencode, urlsplit

from domain.tenant import Tenant

_UNSAFE = re.compile(r"[\x00-\x20\x7f-\uffff\\<>\"`{}|^]")
"""Browsers drop, trim or rewrite these, so what they open may not be what was compared."""


def return_to_allowed(tenant: Tenant, url: str) -> bool:
    """Whether `url` is one of the tenant's `return_to` prefixes, or goes on from one at a border of its parts.

    A border is the end, `/`, `:` or `?`: without it `https://clinic.example` would let in
    `https://clinic.example.attacker.test`.
    """
    if _UNSAFE.search(url) or not _says_what_it_means(url):
        return False
    return any(_goes_on_from(prefix, url) for prefix in tenant.return_to if prefix)


def first_home(tenant: Tenant) -> str | None:
    """The first of the tenant's addresses that is one: what they may begin with need not be."""
    return next((each for each in tenant.return_to if return_to_allowed(tenant, each)), None)


def login_url(public_url: str, tenant: Tenant, provider_id: str, return_to: str, hold_token: str | None = None) -> str:
    """Where a browser begins to sign in. `return_to` has been looked at; `hold_token` is of the hold to renew."""
    query = {"tenant": tenant.slug, "returnTo": return_to, **({"holdToken": hold_token} if hold_token else {})}
    return f"{public_url}/login/{provider_id}?{urlencode(query)}"


def _goes_on_from(prefix: str, url: str) -> bool:
    rest = url.removeprefix(prefix)
    if len(rest) + len(prefix) != len(url):
        return False
    return not rest or prefix.endswith("/") or rest[0] in "/:?"


def _says_what_it_means(url: str) -> bool:
    """No user name (`https://clinic.example:x@attacker.test`), no climbing out of a path, a port that is one."""
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        return False
    climbs = any(unquote(segment) in (".", "..") for segment in parts.path.split("/"))
    return bool(parts.scheme) and "@" not in parts.netloc and not climbs and port_is_fine
