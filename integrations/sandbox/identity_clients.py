"""The applications that may ask the demo provider for logins, and where each may be sent back to."""

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LOOPBACK = ("http://127.0.0.1:*", "http://localhost:*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """An application that may ask for logins. Redirects match `scheme://host:port/path…`; the port may be `*`."""

    client_id: str
    secret: str | None = field(default=None, repr=False)
    redirect_prefixes: tuple[str, ...] = ()
    redirect_uris: tuple[str, ...] = ()

    def may_redirect_to(self, uri: str) -> bool:
        return any(_matches(uri, each, str.startswith) for each in self.redirect_prefixes) or any(
            _matches(uri, each, str.__eq__) for each in self.redirect_uris
        )


APP = Client(client_id="itb-app", redirect_uris=tuple(f"{origin}/callback" for origin in LOOPBACK))


def web_client(*redirect_prefixes: str) -> Client:
    """The house's own browser login, which holds a secret."""
    return Client(client_id="itb-web", secret="demo-only-not-a-secret", redirect_prefixes=redirect_prefixes)


DEMO_CLIENTS = (APP, web_client(*(f"{origin}/" for origin in LOOPBACK)))


def _matches(uri: str, pattern: str, path_matches: Callable[[str, str], bool]) -> bool:
    """Compared part by part: as text, `http://127.0.0.1:80@evil.example/` would start with a loopback prefix."""
    try:
        asked, allowed = urlsplit(uri), urlsplit(pattern)
        _ = asked.port
    except ValueError:
        return False
    if "@" in asked.netloc or asked.fragment or asked.scheme != allowed.scheme or "/.." in asked.path:
        return False
    same_host = asked.netloc == allowed.netloc
    if allowed.netloc.endswith(":*"):
        same_host = asked.hostname == allowed.netloc.removesuffix(":*")
    return same_host and path_matches(asked.path, allowed.path)
