"""Who is erased by another of their windows books and holds nothing any more, and is told so."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from domain.audit import EHR
from domain.booking import Booking, BookingStatus
from domain.ports import Remembered
from domain.refusals import Refused
from domain.rules import RuleValues
from domain.usecases.confirm_booking import ConfirmRequest
from domain.usecases.prepare_export import ExportRequest
from tests.databases import waits_for_a_lock
from tests.living import Town, until
from tests.system.test_staff import KARI, Desk, desk, why

Act = Callable[[Desk, Booking], Awaitable[object]]


async def confirm(here: Desk, shown: Booking) -> Booking:
    return await here.confirm(shown, actor=KARI)


async def hold_again(here: Desk, shown: Booking) -> Booking:
    """The same time, kept longer and theirs from now on."""
    return await here.hold(shown, KARI, replaces=shown.id)


async def hold_another(here: Desk, shown: Booking) -> Booking:
    return await here.hold(here.times[1], KARI, replaces=shown.id)


async def shown_to(here: Desk) -> Booking:
    """A hold that nobody has signed in with."""
    nobody = replace(here, patient=None)
    return await nobody.hold(here.times[0], KARI)


async def kept(here: Desk, hold: Booking) -> Booking:
    return (await here.house.reads.get(here.tenant.id, [hold.id]))[hold.id]


@pytest.mark.parametrize("act", [confirm, hold_again, hold_another])
async def test_a_hold_stays_as_it_was(town: Town, filled_url: str, act: Act) -> None:
    async with desk(town, filled_url, RuleValues()) as here:
        hold = await shown_to(here)
        await here.house.use.erase_patient(here.tenant, KARI, here.patient)
        with pytest.raises(Refused) as refused:
            await act(here, hold)
        assert why(refused) == ["NOT_FOUND"]
        assert await kept(here, hold) == hold
        await here.house.use.renew_hold(here.tenant, KARI, here.patient, hold.id)
        assert await kept(here, hold) == hold
        await here.house.use.release_hold(here.tenant, KARI, None, hold.id)


async def test_a_visit_of_the_record_systems_is_not_taken_among_ours(town: Town, filled_url: str) -> None:
    async with desk(town, filled_url, RuleValues()) as here:
        visit = replace(
            here.times[0], id=uuid4(), patient_id=here.patient.id, status=BookingStatus.BOOKED, ehr_id="A-9"
        )
        await here.house.use.erase_patient(here.tenant, KARI, here.patient)
        await here.house.use.hold_slot.adopt._adopt(visit, EHR)
        assert not await here.house.reads.get(here.tenant.id, [visit.id])


async def finds_nobody(here: Desk, database: str, asked: Awaitable[object]) -> None:
    """Whoever asks while the erasure holds the patient."""
    async with here.house.use.release_hold.start_work(here.tenant.id) as erasing:
        await erasing.bookings.queue_for_patient(here.tenant.id, here.patient.id)
        asking = asyncio.ensure_future(asked)
        await until(lambda: waits_for_a_lock(database))
        await erasing.traces.erase(here.tenant.id, here.patient.id, datetime.now(UTC))
        await erasing.commit()
    with pytest.raises(Refused) as refused:
        await asking
    assert why(refused) == ["NOT_FOUND"]


async def test_who_waited_for_the_erasure_finds_nobody(town: Town, postgres_filled_url: str) -> None:
    """Where many may write at once, it is the lock that the erasure holds."""
    async with desk(town, postgres_filled_url, RuleValues()) as here:
        hold = await shown_to(here)
        await finds_nobody(here, postgres_filled_url, here.confirm(hold, actor=KARI))
        assert await kept(here, hold) == hold


async def confirm_again(here: Desk, scope: str) -> object:
    request = ConfirmRequest(hold_id=(await shown_to(here)).id, terms_version="", sms=False, **again(scope))
    return await here.house.use.confirm_booking(here.tenant, KARI, here.patient, request)


async def cancel_again(here: Desk, scope: str) -> object:
    request = replace(here.change(None), **again(scope))
    return await here.house.use.cancel_booking(here.tenant, KARI, here.patient, request)


async def move_again(here: Desk, scope: str) -> object:
    request = replace(here.change(None, here.times[0]), **again(scope))
    return await here.house.use.reschedule_booking(here.tenant, KARI, here.patient, request)


async def export_again(here: Desk, scope: str) -> object:
    return await here.house.use.prepare_export(here.tenant, KARI, here.patient, ExportRequest(**again(scope)))


def again(scope: str) -> dict[str, str]:
    return {"scope": scope, "key": "a key that was used before", "input_hash": ""}


@pytest.mark.parametrize(
    ("act", "operation"),
    [
        (confirm_again, "confirmBooking"),
        (cancel_again, "cancelBooking"),
        (move_again, "rescheduleBooking"),
        (export_again, "requestDataExport"),
    ],
)
async def test_who_repeats_a_request_and_the_erasure_do_not_wait_for_each_other(
    town: Town, postgres_filled_url: str, act: Callable[[Desk, str], Awaitable[object]], operation: str
) -> None:
    """The erasure holds the patient and wants the key, whose row the request may not hold by then."""
    async with desk(town, postgres_filled_url, RuleValues()) as here:
        start, scope = here.house.use.release_hold.start_work, f"itb:{here.patient.id}"
        async with start(here.tenant.id) as work:
            first, now = Remembered(input_hash="", booking_id=here.booking.id), datetime.now(UTC)
            await work.idempotency.remember(here.tenant.id, scope, operation, again(scope)["key"], first, now)
            await work.commit()
        await finds_nobody(here, postgres_filled_url, act(here, scope))
