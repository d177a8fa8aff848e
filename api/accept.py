"""What a client wants to read: the `Accept` header (RFC 9110 §12.5.1), as far as we have a choice."""

EVENTS = "text/event-stream"
_JSON = ("application/json", "application/graphql-response+json", "application/*", "*/*")


def admits_json(accept: str | None) -> bool:
    return not accept or any(media in _JSON for media in _wanted(accept))


def names_events(accept: str | None) -> bool:
    """By name: whoever takes just anything would wait for an answer that ends."""
    return EVENTS in _wanted(accept or "")


def _wanted(accept: str) -> list[str]:
    ranges = [part.split(";") for part in accept.lower().split(",")]
    return [media.strip() for media, *parameters in ranges if not any(map(_is_zero, parameters))]


def _is_zero(parameter: str) -> bool:
    name, _, value = parameter.strip().partition("=")
    return name == "q" and value.strip("0") in ("", ".")
