"""A random life of a group of clinics: patients, staff, a network that loses and delays, and processes that end.

What must hold whatever happens is checked after every step, and once more when everything has come to rest.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any, ClassVar
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from domain.booking import OCCUPYING, Booking, BookingStatus
from domain.patient import Patient
from domain.refusals import RefusalCode, Refused
from domain.rules import rules_of
from domain.windows import rescheduling_right
from tests.proof.ground import CLINICS, Ground, Place, number_on

S = BookingStatus
WRITES = {"ihe": ("book",), "r4": ("slot-write", "appointment-write")}
LONGEST_DELAY = timedelta(seconds=120)
"""What the endpoints say of themselves: a request that is later than this was never promised to be harmless."""

TOO_LATE = timedelta(minutes=50)
DELAYS = (timedelta(seconds=2), timedelta(seconds=50), timedelta(seconds=118), TOO_LATE)
PASSING = (1, 6, 31, 140, 700, 4000)

dialects = st.sampled_from(sorted(CLINICS))
people = st.integers(0, 2)
some = st.integers(0, 5)

Trouble = tuple[str, int, timedelta] | None
"""What happens to a request: which of its writes it happens to, and how late it arrives."""

KINDS = ("lost-request", "lost-answer", "late", "late", "taken")
troubles = st.one_of(st.none(), st.tuples(st.sampled_from(KINDS), st.integers(0, 1), st.sampled_from(DELAYS)))


class Broken(AssertionError):
    """A promise was not kept."""


def promised(kept: bool, what: str, about: object = "") -> None:
    if not kept:
        raise Broken(f"{what}: {about}")


@dataclass
class Late:
    """A request on its way to a record system."""

    dialect: str
    sent: datetime
    due: datetime


class Life(RuleBasedStateMachine):
    """`begin` makes a fresh database and a clean ground; `bug` puts a fault of ours into the use cases."""

    begin: ClassVar[Callable[[asyncio.Runner], Place]]
    bug: ClassVar[Callable[[Place], None]] = staticmethod(lambda place: None)

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.place = type(self).begin(self.runner)
        type(self).bug(self.place)
        self.ground: Ground = self.place.ground
        self.repeats: list[tuple[Callable[[], Awaitable[Booking]], UUID]] = []
        self.cancelled: set[UUID] = set()
        self.touched: set[UUID] = set()
        self.excused: set[UUID] = set()
        self.late: list[Late] = []
        self.delay = timedelta()
        self._read: dict[UUID, Booking] | None = None

    # Patients.

    @rule(dialect=dialects, who=people, which=some)
    def hold(self, dialect: str, who: int, which: int) -> None:
        slots = self.run(self.place.free(dialect))
        if slots:
            self._held(self.place.people[who], slots[which % len(slots)])

    @rule(dialect=dialects, who=people, which=some, trouble=troubles)
    def book(self, dialect: str, who: int, which: int, trouble: Trouble) -> None:
        slots = self.run(self.place.free(dialect))
        if slots:
            hold = self._held(self.place.people[who], slots[which % len(slots)])
            self._confirm(hold, trouble)

    @precondition(lambda self: self._holds())
    @rule(n=some, trouble=troubles)
    def confirm(self, n: int, trouble: Trouble) -> None:
        holds = self._holds()
        self._confirm(holds[n % len(holds)], trouble)

    @precondition(lambda self: self._booked())
    @rule(n=some, which=some, trouble=troubles)
    def move(self, n: int, which: int, trouble: Trouble) -> None:
        booked = self._booked()
        booking = booked[n % len(booked)]
        patient, key = self._patient(booking), str(uuid4())
        if booking.id in self.touched or not self._may_move(booking):
            return  # of what the clinic has changed unheard we know too little; and nobody is shown what is forbidden
        slots = self.run(self.place.free(self._dialect(booking), moving=booking))
        if not slots:
            return
        hold = self._held(patient, slots[which % len(slots)], moving_booking_id=booking.id)
        self._asked(lambda: self.place.reschedule(patient, booking, hold.id, key), booking, trouble)

    @precondition(lambda self: self._booked())
    @rule(n=some, trouble=troubles)
    def cancel(self, n: int, trouble: Trouble) -> None:
        booked = self._booked()
        booking, key = booked[n % len(booked)], str(uuid4())
        patient = self._patient(booking)
        self._asked(lambda: self.place.cancel(patient, booking, key), booking, trouble)

    @precondition(lambda self: self.repeats)
    @rule(n=some)
    def press_again(self, n: int) -> None:
        """The same request once more, whatever has happened since."""
        again, answered = self.repeats[n % len(self.repeats)]
        with suppress(Refused):
            promised(self.run(again()).id == answered, "a repeat gives the same answer", answered)

    # The clock, and processes of ours.

    @rule(seconds=st.sampled_from(PASSING), ends=st.booleans())
    def time_passes(self, seconds: int, ends: bool) -> None:
        """And perhaps another process takes over, which remembers nothing."""
        self._pass(timedelta(seconds=seconds))
        if ends:
            self.place.restart()
            type(self).bug(self.place)

    @precondition(lambda self: any(b.asked for b in self._known().values()))
    @rule()
    def somebody_looks(self) -> None:
        """Long enough for open questions to be due."""
        self._pass(timedelta(seconds=20))
        self.run(self.place.use.reconcile())

    @precondition(lambda self: self._known())
    @rule()
    def work_is_done(self) -> None:
        self.run(self._work())

    # The clinic.

    @rule(dialect=dialects, which=some)
    def phone_rings(self, dialect: str, which: int) -> None:
        slots = self.run(self.place.free(dialect))
        if slots:
            slot = slots[which % len(slots)]
            role = self.run(self._role(slot))
            asked = {"role": role, "start": slot.start.isoformat(), "minutes": 30}
            self.ground.ehr(dialect).http.post("/_sandbox/phone-bookings", json=asked)

    @precondition(lambda self: self._booked())
    @rule(dialect=dialects, n=some)
    def staff_cancel(self, dialect: str, n: int) -> None:
        booked = self._standing(dialect)
        if booked:
            number, found = booked[n % len(booked)]
            self.touched.add(number)
            self.ground.ehr(dialect).http.post(f"/_sandbox/appointments/{found[0]['id']}/cancel")

    @precondition(lambda self: self._booked())
    @rule(dialect=dialects, n=some, which=some)
    def staff_move(self, dialect: str, n: int, which: int) -> None:
        booked = self._standing(dialect)
        slots = self.run(self.place.free(dialect))
        if booked and slots:
            number, found = booked[n % len(booked)]
            start = slots[which % len(slots)].start.isoformat()
            self.touched.add(number)
            self.ground.ehr(dialect).http.post(f"/_sandbox/appointments/{found[0]['id']}/move", json={"start": start})

    # What must hold.

    @invariant()
    def one_booking_occupies_a_time(self) -> None:
        by_practitioner: defaultdict[UUID, list[Booking]] = defaultdict(list)
        for each in self._known().values():
            if each.status in OCCUPYING and not each.lapsed(self.ground.clock.now()):
                by_practitioner[each.slot.practitioner_id].append(each)
        for own in by_practitioner.values():
            for one, other in combinations(own, 2):
                same = (one.moves_booking_id or one.id) == (other.moves_booking_id or other.id)
                beside = same and one.patient_id == other.patient_id
                promised(beside or not one.slot.span.overlaps(other.slot.span), "one booking a time", (one, other))

    @invariant()
    def what_is_booked_is_in_the_record_system(self) -> None:
        for booking in self._known().values():
            if booking.status is S.BOOKED and not booking.asked and booking.id not in self.touched:
                held = self.ground.numbered(self._dialect(booking)).get(booking.id, [])
                starts = [datetime.fromisoformat(each["start"]) for each in held]
                promised(starts == [booking.slot.start], "BOOKED: it is in the EHR", (starts, booking))

    @invariant()
    def a_no_is_a_no(self) -> None:
        """Nobody is told that it failed and has the time all the same, unless it came later than was promised."""
        failed = {b.id for b in self._known().values() if b.status is S.FAILED} - self.excused
        for dialect in CLINICS:
            promised(not failed & set(self.ground.numbered(dialect)), "FAILED: it is not in the EHR")

    @invariant()
    def cancelled_stays_cancelled(self) -> None:
        known = self._known()
        promised(all(known[id].status is S.CANCELLED for id in self.cancelled), "cancelled stays cancelled")
        self.cancelled |= {b.id for b in known.values() if b.status is S.CANCELLED}

    def teardown(self) -> None:
        try:
            self._comes_to_rest()
        finally:
            self.place.close()
            self.runner.close()

    def _comes_to_rest(self) -> None:
        """No more trouble: whatever is on its way arrives, and whoever looks after things has all the time it needs."""
        self.ground.calm()
        self._pass(TOO_LATE + timedelta(minutes=5))
        for _ in range(4):
            self._pass(timedelta(seconds=150))
            self.run(self._work())
            if not self._open():
                break  # the rest of the rounds would find nothing to look into
        self._pass(timedelta(hours=25))
        self.run(self._work())
        self.touched.clear()
        known = self._known()
        promised(not [b for b in known.values() if b.asked or b.status in (S.UNKNOWN, S.CONFIRMING)], "all settled")
        self.what_is_booked_is_in_the_record_system()
        self.cancelled_stays_cancelled()
        for dialect in CLINICS:
            taken = self.ground.taken_numbers(dialect)
            for number, there in [*self.ground.numbered(dialect).items(), *taken.items()]:
                status = known[number].status if number in known else None
                promised(status is S.BOOKED, "in the EHR under our number: known to us", (status, there, known))
            promised(all(len(times) == 1 for times in taken.values()), "no time is left taken behind", taken)

    # How it is done.

    def run(self, work: Any) -> Any:
        self._read = None
        return self.runner.run(work)

    def _known(self) -> dict[UUID, Booking]:
        """Every booking as it stands. `run` forgets it, for whatever is run may change some."""
        if self._read is None:
            everything = self.runner.run(self.place.everything())
            self._read = {booking.id: booking for booking in everything}
        return self._read

    def _open(self) -> bool:
        """Is there a question that somebody has yet to look into, or a time that is kept meanwhile?"""
        unsettled = (S.HELD, S.CONFIRMING, S.UNKNOWN, S.CANCELLING)
        return any(b.asked or b.status in unsettled for b in self._known().values())

    def _holds(self) -> list[Booking]:
        held = [b for b in self._known().values() if b.status is S.HELD and not b.moves_booking_id]
        return sorted((b for b in held if not b.lapsed(self.ground.clock.now())), key=_by_start)

    def _booked(self) -> list[Booking]:
        """Those to come that no question is open about."""
        now = self.ground.clock.now()
        booked = [b for b in self._known().values() if b.status is S.BOOKED and not b.asked]
        return sorted((b for b in booked if b.slot.span.start > now), key=_by_start)

    def _standing(self, dialect: str) -> list[tuple[UUID, list[dict[str, Any]]]]:
        """Visits of ours in the record system; sorted by what is the same in every repetition."""
        return sorted(self.ground.numbered(dialect).items(), key=lambda each: each[1][0]["start"])

    def _may_move(self, booking: Booking) -> bool:
        clinic = self.place.clinics[self._dialect(booking)]
        rules = rules_of(self.place.tenant.rules, clinic.rules)
        return rescheduling_right(booking, rules, self.ground.clock.now()).allowed

    def _patient(self, booking: Booking) -> Patient:
        return next(each for each in self.place.people if each.id == booking.patient_id)

    def _dialect(self, booking: Booking) -> str:
        return next(d for d, clinic in self.place.clinics.items() if clinic.id == booking.slot.clinic_id)

    def _held(self, patient: Patient, slot: Any, **more: Any) -> Booking:
        """What is offered can be held, at that instant."""
        try:
            hold: Booking = self.run(self.place.hold(patient, slot, **more))
        except Refused as refused:
            raise Broken(f"every offered time can be held: {refused} {slot}") from refused
        promised(hold.slot.span == slot.span, "the time that was asked for", slot)
        return hold

    def _confirm(self, hold: Booking, trouble: Trouble) -> None:
        patient, key = self._patient(hold), str(uuid4())
        self._asked(lambda: self.place.confirm(patient, hold.id, key), hold, trouble)

    def _asked(self, ask: Callable[[], Awaitable[Booking]], about: Booking, trouble: Trouble) -> None:
        dialect, before = self._dialect(about), self._lying()
        if trouble:
            kind, n, self.delay = trouble
            writes = WRITES[dialect]
            self.ground.fault(dialect, kind, writes[0 if kind == "taken" else n % len(writes)])
        try:
            answer = self.run(ask())
        except Refused as refused:
            promised(refused.refusals[0].code is not RefusalCode.NOT_FOUND, "nothing is lost", about)
        else:
            promised(answer.id == about.id, "the booking that was asked about", answer)
            self.repeats.append((ask, answer.id))
        self.ground.calm()
        self._note_late(before)

    def _lying(self) -> dict[str, int]:
        return {dialect: len(self.ground.sandbox(dialect).late) for dialect in CLINICS}

    def _note_late(self, before: dict[str, int]) -> None:
        for dialect, lying in self._lying().items():
            for _ in range(lying - before[dialect]):
                sent = self.ground.clock.now()
                after = max((each.due for each in self.late if each.dialect == dialect), default=sent)
                self.late.append(Late(dialect, sent, max(after, sent + self.delay)))

    def _pass(self, long: timedelta) -> None:
        """Step by step, so that what is on its way arrives when it is due."""
        until = self.ground.clock.moment + long
        for late in sorted((each for each in self.late if each.due <= until), key=lambda each: each.due):
            self.ground.clock.moment = max(self.ground.clock.moment, late.due)
            self._arrives(late)
        self.ground.clock.moment = until

    def _arrives(self, late: Late) -> None:
        before = self._versions(late.dialect)
        self.ground.ehr(late.dialect).http.post("/_sandbox/late", json={"most": 1})
        changed = {n for n, version in self._versions(late.dialect).items() if before.get(n) != version}
        self.touched |= changed
        self.late.remove(late)
        if self.ground.clock.now() - late.sent > LONGEST_DELAY:
            self.excused |= changed

    def _versions(self, dialect: str) -> dict[UUID, str]:
        found = self.ground.appointments(dialect)
        return {n: each["meta"]["versionId"] for each in found if (n := number_on(each))}

    async def _work(self) -> None:
        """What the worker does, now."""
        await self.place.use.expire_holds()
        await self.place.use.follow_ehrs()
        await self.place.use.reconcile()
        await self.place.do_jobs()

    async def _role(self, slot: Any) -> str:
        found = await self.place.catalogue.practitioners_by_id(self.place.tenant.id, [slot.practitioner_id])
        return found[slot.practitioner_id].ehr_id


def _by_start(booking: Booking) -> tuple[datetime, UUID]:
    return booking.slot.span.start, booking.slot.practitioner_id
