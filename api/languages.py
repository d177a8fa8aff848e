"""Which languages a reader wants, best first."""

from collections.abc import Sequence

NORWEGIAN = {"no": "nb", "nn": "nb", "nb": "nb"}


def wanted_languages(header: str | None, offered: Sequence[str], default: str) -> tuple[str, ...]:
    """`Accept-Language` (RFC 9110 §12.5.4) against what the tenant speaks; ends in the tenant's default."""
    weighed: list[tuple[float, str]] = []
    for part in (header or "")[:200].split(","):
        tag, _, parameters = part.strip().partition(";")
        primary = tag.split("-")[0].lower()
        weighed.append((_quality(parameters), NORWEGIAN.get(primary, primary)))
    wanted = [tag for quality, tag in sorted(weighed, key=lambda w: -w[0]) if quality > 0 and tag in offered]
    return tuple(dict.fromkeys((*wanted, default)))


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
