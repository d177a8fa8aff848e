"""Times with their offset written into them.

A zone's times are compared and reckoned with by its wall, which goes back an hour in autumn, and in that hour they
equal no time of any other zone. What the adapters compare, and what they send, has a fixed offset instead.
"""

from dataclasses import replace
from datetime import datetime, timezone

from domain.ports import Visit
from domain.slot import Span


def fixed(moment: datetime) -> datetime:
    """The same instant on the same wall."""
    offset = moment.utcoffset()
    if offset is None:
        raise ValueError("a time without a zone")
    return moment.replace(tzinfo=timezone(offset), fold=0)


def fixed_span(span: Span) -> Span:
    return Span(start=fixed(span.start), end=fixed(span.end))


def fixed_visit(visit: Visit) -> Visit:
    return replace(visit, start=fixed(visit.start), end=fixed(visit.end))
