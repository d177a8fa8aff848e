"""Web origins (RFC 6454): where a page comes from, written as browsers write it."""

from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443}
LOOPBACK = ("127.0.0.1", "localhost", "::1")
UNCLEAR = "an origin is one host's, such as https://booking.example, without a path"


def origin_of(text: str) -> str:
    """In lower case, without a port that goes without saying. Raises `ValueError` for what is no single origin, has a
    path or more, or is plain http from elsewhere than loopback: what such a page shows and sends, others on its way can
    change. What is wrong is told without repeating it.
    """
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise ValueError(UNCLEAR) from None
    scheme = parts.scheme.lower()
    more = parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc
    if scheme not in PORTS or not host or more or not text.isascii() or any(c.isspace() or c == "*" for c in text):
        raise ValueError(UNCLEAR)
    if scheme == "http" and host not in LOOPBACK:
        raise ValueError("an origin is https outside loopback")
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}" if port in (None, PORTS[scheme]) else f"{scheme}://{name}:{port}"
