"""Take a free time for one visitor, who keeps one at a time: what the database decides, and whose turn it is."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from domain.audit import Actor
from domain.booking import Booking, BookingStatus
from domain.bypass import Bypass
from domain.patient import Patient
from domain.ports import BookingReads, Clock, Remembered, StartWork, Turn, UnitOfWork
from domain.refusals import HoldExpired, HoldLimit, HoldNotFound, IdempotencyKeyReused, Refused, SlotTaken
from domain.slot import Slot, Span
from domain.tenant import Tenant
from domain.timing import Timing
from domain.usecases.keep_hold import is_hold_of, keep_only, own_holds, release
from domain.usecases.record import record


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRequest:
    """`replaces` is the visitor's present hold, swapped for the new one in one transaction.

    `scope` and `key` make the request idempotent, `input_hash` tells whether it is the same one. `may_hold` counts one
    more hold of this caller, and says whether that is within the limit: repeats and renewals are not counted.
    """

    slot: Slot
    scope: str
    key: str
    input_hash: str
    may_hold: Callable[[], Awaitable[bool]]
    any_practitioner: bool = False
    replaces: UUID | None = None
    moving_booking_id: UUID | None = None
    bypass: Bypass | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Who asks for a time, and for which."""

    tenant: Tenant
    actor: Actor
    patient: Patient | None
    request: HoldRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A hold that our own store keeps. `asks`: its EHR is to keep it too; only then are the `former` ones let go."""

    hold: Booking
    asks: bool = False
    former: Sequence[UUID] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeHold:
    """`most_at_clinic` is how many times of one clinic may be held by nobody in particular at once.

    The patient is locked before anything of theirs by all who hold, renew, confirm, change, take along and erase; then
    come, here, the holds and then the key.
    """

    reads: BookingReads
    start_work: StartWork
    clock: Clock
    timing: Timing
    most_at_clinic: int

    async def already(self, asking: Asking) -> Booking | None:
        """What this very request was answered with, or the visitor's own hold of that time, kept longer after login.

        Looked into before anything else, so that a repeat is answered even when the EHR is down by now.
        """
        now = self.clock.now()
        async with self.start_work(asking.tenant.id) as work:
            own = await self._own(work, asking, now)
            same = next((each for each in own if _is_same(each, asking.request)), None)
            if known := await _remembered(work, asking, same.id if same else uuid4(), now):
                return await _same_answer(work, asking, known, now)
            if same is None:
                return None  # never committed: it only looked
            kept = await keep_only(work, same, own, asking.patient, asking.actor, now, self.timing)
            await work.commit()
            return kept

    async def __call__(
        self,
        asking: Asking,
        draft: Booking,
        candidates: Sequence[Slot],
        details: Mapping[str, str],
        *,
        in_ehr: bool = False,
    ) -> Taken | None:
        """The first of the candidates, fairest first, that the database's guard lets us have.

        A transaction for each: what was locked in vain is let go, so that racers never wait for each other in a ring.
        `in_ehr`: the EHR can keep times, too.
        """
        for slot in await self._fairest_first(asking.tenant, candidates):
            async with self.start_work(asking.tenant.id) as work:
                if taken := await self._taken(work, asking, replace(draft, slot=slot), details, in_ehr):
                    await work.commit()
                    return taken
        return None

    async def _taken(
        self, work: UnitOfWork, asking: Asking, hold: Booking, details: Mapping[str, str], in_ehr: bool
    ) -> Taken | None:
        """What overlaps one's own former hold is kept here alone: in the EHR that hold itself would be in the way."""
        now = hold.created_at
        own = await self._own(work, asking, now)
        if known := await _remembered(work, asking, hold.id, now):
            return Taken(hold=await _same_answer(work, asking, known, now))
        await self._check_clinic(work, asking, hold, own)
        asks = in_ehr and hold.moves_booking_id is None and not any(_would_clash(each, hold) for each in own)
        held = await _swapped(work, asking.actor, hold, [] if asks else own, details)
        return Taken(hold=held, asks=asks, former=[each.id for each in own] if asks else ()) if held else None

    async def _own(self, work: UnitOfWork, asking: Asking, now: datetime) -> list[Booking]:
        return await own_holds(work, asking.tenant, asking.patient, asking.request.replaces, now)

    async def _check_clinic(self, work: UnitOfWork, asking: Asking, hold: Booking, own: Sequence[Booking]) -> None:
        """Counted where the holds are, so that what was let go, lapsed or signed in with counts no longer."""
        if asking.patient is not None:
            return
        place, mine = hold.slot.clinic_id, [each.id for each in own]
        held = await work.bookings.anonymous_holds_at(asking.tenant.id, place, hold.created_at, except_ids=mine)
        if held >= self.most_at_clinic:
            raise Refused(HoldLimit())

    async def _fairest_first(self, tenant: Tenant, candidates: Sequence[Slot]) -> list[Slot]:
        """Fewest bookings that day, then longest unused."""
        if len(candidates) <= 1:
            return list(candidates)
        midnight = candidates[0].start.replace(hour=0, minute=0, second=0, microsecond=0)
        day = Span(start=midnight, end=midnight + timedelta(days=1))
        ids = [slot.practitioner_id for slot in candidates]
        turns = await self.reads.turns(tenant.id, ids, day)
        never = datetime(1970, 1, 1, tzinfo=UTC)

        def turn(slot: Slot) -> tuple[int, datetime, str]:
            own = turns.get(slot.practitioner_id, Turn())
            return own.bookings_that_day, own.last_given_at or never, str(slot.practitioner_id)

        return sorted(candidates, key=turn)


async def _swapped(
    work: UnitOfWork, actor: Actor, hold: Booking, own: Sequence[Booking], details: Mapping[str, str]
) -> Booking | None:
    """The new hold first and the old ones after: visitors who swap into each other's times never wait in a ring.

    Until an old one is gone, both count as moves of one booking, which the guard lets overlap.
    """
    now, in_the_way = hold.created_at, [each for each in own if _would_clash(each, hold)]
    one = hold.moves_booking_id or next((_counts_as(each) for each in in_the_way), None)
    beside = replace(hold, moves_booking_id=one)
    gone = {each.id: each if _counts_as(each) == one else _as_move_of(one, each) for each in in_the_way}
    if not await _saved(work, hold, [each for each in gone.values() if each not in own]):
        return None
    if not await record(work, beside, actor, now, action="booking.hold", is_new=True, details=details):
        return None
    for each in own:
        await release(work, gone.get(each.id, each), actor, now)
    if beside.moves_booking_id == hold.moves_booking_id:
        return beside
    alone = replace(hold, version=beside.version + 1)
    if not await work.bookings.save(alone):
        raise Refused(SlotTaken())  # by the visit that the old hold was to move: nothing of this is kept
    return alone


async def _saved(work: UnitOfWork, hold: Booking, beside: Sequence[Booking]) -> bool:
    """Takes the hold's locks first: two works that changed their own rows first would wait for each other."""
    if beside:
        await work.bookings.make_way(hold, hold.created_at)
    for each in beside:
        if not await work.bookings.save(each):
            return False
    return True


def _would_clash(own: Booking, hold: Booking) -> bool:
    same_practitioner = own.slot.practitioner_id == hold.slot.practitioner_id
    return same_practitioner and own.slot.span.overlaps(hold.slot.span)


def _counts_as(hold: Booking) -> UUID:
    return hold.moves_booking_id or hold.id


def _as_move_of(one: UUID | None, hold: Booking) -> Booking:
    return replace(hold, moves_booking_id=one, version=hold.version + 1)


def _is_same(own: Booking, request: HoldRequest) -> bool:
    same_time = own.slot.span == request.slot.span and own.slot.offer_id == request.slot.offer_id
    return same_time and own.moves_booking_id == request.moving_booking_id


async def _remembered(work: UnitOfWork, asking: Asking, id: UUID, now: datetime) -> Remembered | None:
    request, mine = asking.request, Remembered(input_hash=asking.request.input_hash, booking_id=id)
    return await work.idempotency.remember(asking.tenant.id, request.scope, "holdSlot", request.key, mine, now)


async def _same_answer(work: UnitOfWork, asking: Asking, known: Remembered, now: datetime) -> Booking:
    """The hold that the key was first used for, while there is one to go on with, for whoever may go on with it.

    Whoever asked before the login, as an agency or at a shared screen, learns nothing of what the patient did since.
    """
    if known.input_hash != asking.request.input_hash:
        raise Refused(IdempotencyKeyReused())
    hold = await work.bookings.get(asking.tenant.id, known.booking_id)
    if hold is None or not is_hold_of(hold, asking.patient):
        raise Refused(HoldNotFound())
    if hold.status is BookingStatus.RELEASED and hold.failure:
        return hold  # taken in its EHR: whoever asks says so again
    if hold.status is BookingStatus.EXPIRED or hold.lapsed(now):
        raise Refused(HoldExpired())
    if hold.status is not BookingStatus.HELD:
        raise Refused(HoldNotFound())
    return hold
