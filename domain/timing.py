"""How long things may take, and how long they are kept."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Deadlines of calls to EHRs in seconds; the rest are spans of time.

    `hold_cap` is what a hold lives at most, renewed once at login. `check_interval` is how often an open question to an
    EHR is looked into. `patience` is added to a write's deadline before anybody else looks into it.

    What an EHR tells of free times is `fresh` for so long, and shown as stale until it is `stale` old, while the EHR is
    asked again. One that has not answered is asked again after `silence`.

    An EHR is asked for its changes every `poll`, less and less often while there are none, but every `slowest_poll`.

    A watched search is looked at again every `watch`, and `gather` after a change, for changes come in swarms; it is
    watched on for `linger` after its last watcher left, who may be back.
    """

    find: float = 4.0
    look_up: float = 2.0
    book: float = 12.0
    catalogue: float = 30.0
    hold_lifetime: timedelta = timedelta(minutes=10)
    hold_cap: timedelta = timedelta(minutes=15)
    check_interval: timedelta = timedelta(seconds=5)
    patience: timedelta = timedelta(seconds=3)
    fresh: timedelta = timedelta(seconds=20)
    stale: timedelta = timedelta(seconds=300)
    silence: timedelta = timedelta(seconds=2)
    watch: timedelta = timedelta(seconds=30)
    gather: timedelta = timedelta(milliseconds=20)
    linger: timedelta = timedelta(seconds=60)
    poll: timedelta = timedelta(seconds=15)
    slowest_poll: timedelta = timedelta(seconds=120)
