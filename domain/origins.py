"""Web origins (RFC 6454): where a page comes from, written as browsers write it."""

from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443}
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def origin_of(text: str) -> str:
    """In lower case, without a port that goes without saying. Raises `ValueError` for what is no origin, has a path or
    more, or is plain http from elsewhere than loopback: what such a page shows and sends, others on its way can change.
    """
    parts = urlsplit(text)
    scheme, host, port = parts.scheme.lower(), (parts.hostname or "").lower(), parts.port
    more = parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc
    if scheme not in PORTS or not host or more or not text.isascii() or any(each.isspace() for each in text):
        raise ValueError("not an origin such as https://booking.example")
    if scheme == "http" and host not in LOOPBACK:
        raise ValueError("an origin must be https outside loopback")
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}" if port in (None, PORTS[scheme]) else f"{scheme}://{name}:{port}"
