"""Who occupies what in a calendar."""

from dataclasses import dataclass
from typing import Any

from integrations.sandbox.hours import Interval

Resource = dict[str, Any]


class TimeTakenError(Exception):
    """Somebody has the time already, or nobody works then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A time that is occupied: by an Appointment, a Slot, or clinic staff; `key` says which.

    One that is only held is occupied `until` then, in milliseconds since 1970.
    """

    key: str
    role: str
    start: int
    end: int
    status: str = "busy"
    identifier: tuple[Resource, ...] = ()
    until: int | None = None

    @property
    def visit(self) -> str | None:
        """The booking number it was taken under, where it has one."""
        return next((each["value"] for each in self.identifier), None)

    @property
    def interval(self) -> Interval:
        """From and until."""
        return self.start, self.end
