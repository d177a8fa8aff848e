"""How one identity provider is set up: its address, our client there, and what is believed of what it says."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

ALGORITHMS = ("ES256", "RS256", "PS256", "EdDSA", "Ed25519")
NATIONAL_ID_CLAIMS = (("pid", "NO"), ("personnummer", "SE"))
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


def is_secure(url: object, issuer: str) -> bool:
    """https, or plain http to this same machine, where nobody can listen in.

    To this machine only for an `issuer` that is here as well: what another one tells must not have us ask what only
    this one reaches.
    """
    if not isinstance(url, str):
        return False
    try:
        parts, asked_by = urlsplit(url), urlsplit(issuer).hostname
    except ValueError:
        return False
    is_here = parts.hostname in LOOPBACK_HOSTS
    return parts.scheme in ("https", "http") and (asked_by in LOOPBACK_HOSTS if is_here else parts.scheme == "https")


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """One identity provider of a tenant or market. Raises ValueError where the settings would not be safe."""

    issuer: str
    """The provider's name for itself, compared letter by letter; discovery is looked up below it."""
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    """None for a public client: PKCE alone proves us."""
    audience: str = "itb-api"
    """Whom access tokens must be meant for."""
    app_clients: tuple[str, ...] = ()
    """Clients there of the group's own apps, beside our own; whatever else has clients there is somebody else's."""
    national_id_claims: tuple[tuple[str, str], ...] = NATIONAL_ID_CLAIMS
    """Claims that may carry the national number, each with the country whose rules it must keep; first valid wins."""
    synthetic_allowed: bool = False
    """Whether test people (Norwegian month + 80) may log in, and be named in `login_hint`: demos and tests only."""
    scope: str = "openid profile"
    algorithms: tuple[str, ...] = ALGORITHMS
    """Signatures we accept, whatever discovery lists; only ones by a key pair."""
    kc_idp_hint: str | None = None
    """Sends the person straight to one login method of a broker (BankID, Vipps)."""
    acr_values: str | None = None
    """The level of assurance asked for."""
    acr_prefixes: tuple[str, ...] = ()
    """The level answered must start with one of these; empty: any. Brokers append the method, so never equality."""
    plain_jwt_allowed: bool = False
    """For providers older than RFC 9068, whose access tokens say `typ: JWT` or nothing."""
    ask_userinfo: bool = False
    """For brokers that give the national number only from UserInfo."""
    tenant: str = ""
    """Whom access tokens must name in their claim `tenant`; set where several tenants share issuer and audience."""

    def __post_init__(self) -> None:
        if not is_secure(self.issuer, self.issuer):
            raise ValueError("the issuer must be https; http is for loopback only")
        if not self.algorithms or not set(self.algorithms) <= set(ALGORITHMS):
            raise ValueError(f"algorithms must be some of {', '.join(ALGORITHMS)}")
        if "openid" not in self.scope.split():
            raise ValueError("without the scope openid there is no ID token")
        if self.audience == self.client_id:
            raise ValueError("an audience equal to the client id would make ID tokens pass for access tokens")

    def is_for_nobody_else(self, audience: str | list[str]) -> bool:
        """Whether all whom a token names in `aud` are ours. ID tokens and logout tokens must not be for anybody beside
        whom we do not trust (OpenID Connect Core 3.1.3.7, step 3)."""
        told = [audience] if isinstance(audience, str) else audience
        return set(told) <= {self.client_id, self.audience, *self.app_clients}
