"""How long things may take, and how long they are kept."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Deadlines of calls to EHRs in seconds; the rest are spans of time.

    `hold_cap` is what a hold lives at most, renewed once at login. `check_interval` is how often an open question to an
    EHR is looked into. `patience` is added to a write's deadline before anybody else looks into it.
    """

    find: float = 4.0
    look_up: float = 2.0
    book: float = 12.0
    catalogue: float = 30.0
    hold_lifetime: timedelta = timedelta(minutes=10)
    hold_cap: timedelta = timedelta(minutes=15)
    check_interval: timedelta = timedelta(seconds=5)
    patience: timedelta = timedelta(seconds=3)
