"""The calendar of one installation: the only truth about who is booked when.

Every change is one synchronous call, so under asyncio nothing comes between looking and taking.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from integrations.sandbox import records
from integrations.sandbox.changes import Change, Changes
from integrations.sandbox.hours import NO_WORK, Day, day_of, grid_starts, local, minute_of, overlap
from integrations.sandbox.subscriber import Subscriber
from integrations.sandbox.taken import Taken, TimeTakenError
from integrations.sandbox.world import World

Resource = dict[str, Any]
WEEKS_AHEAD = 8
CLOSED = "busy-unavailable"


class Calendar:
    """Working hours, occupied times, Appointments and Patients, kept over a restart when given a path."""

    def __init__(
        self,
        world: World,
        *,
        path: Path | None = None,
        people: Iterable[Mapping[str, str]] = (),
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self.world = world
        self.now = now or (lambda: datetime.now(UTC))
        self.path = path
        self.revision = 0
        self.patients: dict[str, Resource] = {}
        self.comments: dict[str, str] = {}
        self.subscribers: dict[str, Subscriber] = {}
        self.changes = Changes()
        self.tell: Callable[[Change | Resource], None] | None = None
        self._silent = False
        self._appointments: dict[str, Resource] = {}
        self._taken: dict[str, Taken] = {}
        self._held: dict[str, int] = {}
        self._by_day: defaultdict[str, dict[str, Taken]] = defaultdict(dict)
        self._days: dict[tuple[str, date], Day] = {}
        self._free: dict[str, dict[int, tuple[int, ...]]] = {}
        patients = [records.patient_of(each) for each in people]
        self._registered = {each["id"]: each for each in patients}
        self.patients.update(self._registered)
        self._load()

    @property
    def appointments(self) -> dict[str, Resource]:
        """Every Appointment by its id, those that hold a time for now included."""
        self._lapse()
        return self._appointments

    def day(self, role: str, on: date) -> Day:
        """What is known of a role's local date before anything was booked here."""
        key = (role, on)
        if key not in self._days:
            described = self.world.role_by_id[role]
            clinic = self.world.clinic_by_id[described.clinic]
            self._days[key] = day_of(described, clinic, on, self.world.zone)
        return self._days[key]

    def dates(self, start: int, end: int) -> list[date]:
        """The local dates from `start` to `end` that are published: today and eight weeks ahead."""
        today = self.now().astimezone(self.world.zone).date()
        first = max(today, local(max(start, 0), self.world.zone).date()) if start < end else today
        last = min(today + timedelta(weeks=WEEKS_AHEAD), local(max(end - 1, 0), self.world.zone).date())
        return [first + timedelta(days=number) for number in range((last - first).days + 1)] if start < end else []

    def starts(self, role: str, on: date, minutes: int) -> tuple[int, ...]:
        """Every start a visit could have that day if nothing were booked."""
        return grid_starts(self.day(role, on).working, minutes)

    def free_starts(self, role: str, on: date, minutes: int) -> tuple[int, ...]:
        """The starts at which a visit of that length would overlap nothing; the past included."""
        self._lapse()
        known = self._free.setdefault(f"{role}|{on}", {})
        if minutes not in known:
            busy = [*self.day(role, on).booked, *(each.interval for each in self._by_day[f"{role}|{on}"].values())]
            known[minutes] = tuple(
                start
                for start in self.starts(role, on, minutes)
                if not any(start < until and since < start + minutes for since, until in busy)
            )
        return known[minutes]

    def published(self, role: str, start: int, end: int) -> bool:
        """Is the time within one stretch of working time, today or later, at most eight weeks ahead?"""
        days = self.dates(start, start + 1)
        working = self.day(role, days[0]).working if days else NO_WORK.working
        return any(since <= start < end <= until for since, until in working)

    def occupants(self, role: str, start: int, end: int) -> list[Taken]:
        """Whatever was taken here and shares time with the interval."""
        self._lapse()
        found = self._by_day.get(self._key(role, start), {}).values()
        return [each for each in found if overlap(each.interval, (start, end))]

    def booked_before(self, role: str, start: int, end: int) -> bool:
        """Does the interval touch a time that staff had filled from the beginning?"""
        day = self.day(role, local(start, self.world.zone).date())
        return any(overlap(each, (start, end)) for each in day.booked)

    def taken(self, key: str) -> Taken | None:
        """What an Appointment or Slot occupies, if anything."""
        self._lapse()
        return self._taken.get(key)

    def everything_taken(self) -> list[Taken]:
        """Every occupied time."""
        return list(self._taken.values())

    def version(self, role: str, start: int, end: int) -> int:
        """Grows with every change that shares time with the interval."""
        return 1 + self.changes.count(self._key(role, start), (start, end))

    def changed_at(self, role: str, start: int, end: int) -> int:
        """The last change that shares time with the interval, in milliseconds since 1970; 0 when nobody remembers."""
        return self.changes.latest(self._key(role, start), (start, end))

    def is_past(self, start: int) -> bool:
        """Has the time begun?"""
        return start < minute_of(self.now())

    def take(self, time: Taken, *, beside: Callable[[Taken], bool] = lambda other: False) -> None:
        """Occupy a time; raises TimeTakenError unless everything there is its own or allowed `beside` it."""
        free = self.published(time.role, time.start, time.end) and not self.is_past(time.start)
        others = (each for each in self.occupants(time.role, time.start, time.end) if each.key != time.key)
        if not free or self.booked_before(time.role, time.start, time.end) or not all(map(beside, others)):
            raise TimeTakenError
        self._forget(time.key)
        self._remember(time)
        self._touch(time)
        self.save()

    def close(self, time: Taken) -> None:
        """Occupy a time whatever is there already: who is ill is ill."""
        self._remember(time)
        self._touch(time)
        self.save()

    def restate(self, key: str, *, status: str, identifier: tuple[Resource, ...]) -> None:
        """Change how a time is occupied, not when; works for a time that has begun, too."""
        time = replace(self._taken[key], status=status, identifier=identifier)
        self._forget(key)  # which counts as a change of the version
        self._remember(time)
        self.save()

    def release(self, key: str) -> None:
        """Free what was occupied under the key, if anything."""
        if key in self._taken:
            self._forget(key)
            self.save()

    def touch(self, role: str, start: int, end: int) -> None:
        """Somebody wrote there without changing who has the time: versions move on all the same."""
        self._touch(Taken(key="", role=role, start=start, end=end))
        self.save()

    def comment(self, key: str, text: str | None) -> None:
        """Keep what was written beside a time, or wipe it out."""
        if text != self.comments.get(key):
            self.comments.pop(key, None)
            self.comments.update({key: text} if text else {})
            self.save()

    def keep(self, appointment: Resource) -> Resource:
        """Store an Appointment under its id with the next version, and give it back."""
        before = self.appointments.get(appointment["id"])
        version, at = int(before["meta"]["versionId"]) + 1 if before else 1, self.now()
        meta = {"versionId": str(version), "lastUpdated": at.astimezone(UTC).isoformat(timespec="milliseconds")}
        created = (before or {}).get("created", at.isoformat(timespec="seconds"))
        kept = {"created": created, **appointment, "meta": meta}
        self.appointments[appointment["id"]] = kept
        self.save()
        self._told(kept)
        return kept

    def keep_patient(self, patient: Resource) -> tuple[Resource, bool]:
        """Store a Patient by its first identifier; the second answer is whether it is new."""
        kept, new = records.merged(self.patients, patient)
        self.patients[kept["id"]] = kept
        self.save()
        return kept, new

    @contextmanager
    def silence(self, wanted: bool) -> Iterator[None]:
        """Nobody is told of what changes meanwhile, if so wanted; for work without an `await` in it."""
        self._silent = wanted
        try:
            yield
        finally:
            self._silent = False

    def begin_afresh(self) -> None:
        """As on the first day, whatever was on disk: nobody is booked, and nobody is known but the first people."""
        for day in self._by_day:
            self._free.pop(day, None)
        for kept in (self._appointments, self.comments, self.subscribers, self._taken, self._held, self._by_day):
            kept.clear()
        self.patients, self.changes = dict(self._registered), Changes()
        self.save()

    def as_it_is(self) -> "Calendar":
        """A copy that no later change reaches, as a replica that lags behind; its clock goes on."""
        copy = Calendar(self.world, now=self.now)
        copy.revision, copy._days, copy.changes = self.revision, self._days, self.changes.copy()
        copy._appointments, copy.patients = dict(self.appointments), dict(self.patients)
        copy.comments = dict(self.comments)
        for each in self._taken.values():
            copy._remember(each)
        return copy

    def save(self) -> None:
        """Everything that changed, on disk before anybody is answered."""
        self.revision += 1
        self.write()

    def write(self) -> None:
        """Everything on disk, when what any reader of the calendar sees is still the same."""
        if self.path is not None:
            state = {
                "appointments": self._appointments,
                "patients": self.patients,
                "comments": self.comments,
                "changes": self.changes.by_day,
                "taken": list(self._taken.values()),
                "subscribers": list(self.subscribers.values()),
            }
            records.write(self.path, state)

    def _load(self) -> None:
        state = records.read(self.path) if self.path else {}
        self._appointments.update(state.get("appointments", {}))
        self.patients.update(state.get("patients", {}))
        self.comments.update(state.get("comments", {}))
        for each in state.get("taken", ()):
            self._remember(Taken(**{**each, "identifier": tuple(each["identifier"])}))
        self.changes.load(state.get("changes", {}))
        self.subscribers = {each["resource"]["id"]: Subscriber(**each) for each in state.get("subscribers", ())}

    def _remember(self, time: Taken) -> None:
        self._taken[time.key] = time
        if time.until is not None:
            self._held[time.key] = time.until
        self._by_day[self._key(time.role, time.start)][time.key] = time
        self._free.pop(self._key(time.role, time.start), None)

    def _forget(self, key: str) -> None:
        if key in self._taken:
            self._touch(self._freed(key))

    def _freed(self, key: str) -> Taken:
        time = self._taken.pop(key)
        self._held.pop(key, None)
        self._by_day[self._key(time.role, time.start)].pop(key, None)
        self._free.pop(self._key(time.role, time.start), None)
        return time

    def _lapse(self) -> None:
        """A hold that is over is as if it had never been: no version moves on, and nobody is told."""
        over = [key for key, until in self._held.items() if until <= self.now().timestamp() * 1000]
        for key in over:
            self._freed(key)
        if over:
            # Somebody may be going through the Appointments just now.
            self._appointments = {key: each for key, each in self._appointments.items() if key not in over}
            self.revision += 1

    def _touch(self, time: Taken) -> None:
        change = Change(time.role, time.start, time.end, int(self.now().timestamp() * 1000))
        self.changes.note(self._key(time.role, time.start), change)
        self._free.pop(self._key(time.role, time.start), None)
        self._told(change)

    def _told(self, news: Change | Resource) -> None:
        if self.tell is not None and not self._silent:
            self.tell(news)

    def _key(self, role: str, minute: int) -> str:
        return f"{role}|{local(minute, self.world.zone).date()}"
