"""Staff act for a patient past the rules that they name: asked of the use cases, for no GraphQL field does it yet."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from api.app import House
from api.bootstrap import open_house
from domain.audit import Actor, ActorKind
from domain.booking import Booking, BookingStatus
from domain.bypass import Bypass, NotForThisActor
from domain.patient import Patient
from domain.refusals import ChangeRefusal, RefusalCode, Refused
from domain.rules import RuleValues, rules_of
from domain.tenant import Tenant
from domain.usecases.changing import ChangeRequest
from domain.usecases.confirm_booking import ConfirmRequest
from domain.usecases.take_hold import HoldRequest
from integrations.store.engine import open_engine
from tests.databases import raw, waits_for_a_lock
from tests.living import Town, fill, in_process, seeds, sign_in, until
from tests.system.journey import Journey, apart
from tests.system.test_journey import decoded
from tests.system.test_refusals import NEVER, OSLO, with_rules

STAFF = Actor(kind=ActorKind.STAFF, id="resepsjonen")
KARI = Actor(kind=ActorKind.PATIENT, id="kari")
REASON = "Avtalt på telefon"
STRICT = replace(NEVER, minimum_notice_minutes=60 * 24 * 60, minimum_age=120, maximum_reschedules=0)


async def always() -> bool:
    return True


def past(*rules: RefusalCode | ChangeRefusal) -> Bypass:
    return Bypass(rules=frozenset(rules), reason=REASON)


@dataclass
class Desk:
    """The reception, with one patient's booking before it and times to choose from."""

    house: House
    tenant: Tenant
    patient: Patient
    booking: Booking
    times: list[Booking]

    async def hold(self, of: Booking, actor: Actor = STAFF, bypass: Bypass | None = None, **more: Any) -> Booking:
        request = HoldRequest(
            slot=of.slot, scope="staff", key=str(uuid4()), input_hash="", may_hold=always, bypass=bypass, **more
        )
        return await self.house.use.hold_slot(self.tenant, actor, self.patient, request)

    async def confirm(self, hold: Booking, bypass: Bypass | None = None, actor: Actor = STAFF) -> Booking:
        request = ConfirmRequest(
            hold_id=hold.id,
            scope="staff",
            key=str(uuid4()),
            input_hash="",
            terms_version=self.tenant.terms_version,
            sms=False,
            bypass=bypass,
        )
        return await self.house.use.confirm_booking(self.tenant, actor, self.patient, request)

    def change(self, bypass: Bypass | None, hold: Booking | None = None) -> ChangeRequest:
        return ChangeRequest(
            booking_id=self.booking.id,
            expected_version=self.booking.version,
            scope="staff",
            key=str(uuid4()),
            input_hash="",
            hold_id=hold.id if hold else None,
            bypass=bypass,
        )

    async def cancel(self, bypass: Bypass | None, actor: Actor = STAFF) -> Booking:
        return await self.house.use.cancel_booking(self.tenant, actor, self.patient, self.change(bypass))

    async def move(self, hold: Booking, bypass: Bypass | None, actor: Actor = STAFF) -> Booking:
        return await self.house.use.reschedule_booking(self.tenant, actor, self.patient, self.change(bypass, hold))

    async def trail(self, url: str, action: str) -> list[tuple[str, dict[str, str]]]:
        """Who did it and what was said of rules, each time."""
        engine = open_engine(url)
        async with raw(engine) as connection:
            asked = text("SELECT actor_kind, details FROM audit WHERE action = :action ORDER BY at")
            found = [tuple(row) for row in await connection.execute(asked, {"action": action})]
        await engine.dispose()
        return [
            (kind, {k: v for k, v in json.loads(said).items() if k in ("bypassed", "reason")}) for kind, said in found
        ]


@asynccontextmanager
async def desk(town: Town, url: str, rules: RuleValues = STRICT) -> AsyncIterator[Desk]:
    """Rules that came into force after the patient had booked would be too kind: they are the snapshot's as well."""
    async with in_process(town.settings(url)) as (client, _):
        journey = Journey(client, OSLO, token=await sign_in(town, "kari"))
        first, *others = apart(await journey.slots(), 3)
        booked = await journey.booked(first["id"])
        ids = []
        for slot in others:
            ids.append(await held_id(Journey(client, OSLO), slot["id"], url))
    await fill(town, url, with_rules(seeds(town)[0], rules))
    house = open_house(town.settings(url))
    tenant = await house.catalogue.tenant(slug="nordhelse")
    assert tenant
    found = await house.reads.get(tenant.id, [UUID(decoded(booked["id"])), *ids])
    booking = found[UUID(decoded(booked["id"]))]
    async with house.use.release_hold.start_work(tenant.id) as work:
        assert booking.patient_id
        patient = await work.patients.get(tenant.id, booking.patient_id)
        clinic = (await house.catalogue.clinics_by_id(tenant.id, [booking.slot.clinic_id]))[booking.slot.clinic_id]
        strict = replace(booking, rules=rules_of(tenant.rules, clinic.rules), version=booking.version + 1)
        await work.bookings.save(strict)
        await work.commit()
    assert patient
    for id in ids:
        await house.use.release_hold(tenant, KARI, None, id)
    yield Desk(house, tenant, patient, strict, [found[id] for id in ids])
    await house.close()


async def held_id(visitor: Journey, slot_id: str, url: str) -> UUID:
    """A stranger's hold, let go of later: the way to a slot as the domain has it."""
    held = await visitor.hold(slot_id)
    assert held["hold"], held["errors"]
    engine = open_engine(url)
    async with raw(engine) as connection:
        newest = "SELECT id FROM booking WHERE status = 'HELD' ORDER BY created_at DESC LIMIT 1"
        id = (await connection.execute(text(newest))).scalar_one()
    await engine.dispose()
    return id if isinstance(id, UUID) else UUID(id)


def why(refused: pytest.ExceptionInfo[Refused]) -> list[str]:
    return [str(getattr(no, "refusal", no.code)) for no in refused.value.refusals]


@pytest.mark.parametrize("move", [False, True])
async def test_who_confirms_or_moves_waits_for_the_patient_before_the_hold(
    town: Town, postgres_filled_url: str, move: bool
) -> None:
    """The other way round it would wait for a hold in another tab, which waits for it."""
    async with desk(town, postgres_filled_url, RuleValues()) as here:
        hold = await here.hold(here.times[0], KARI, moving_booking_id=here.booking.id if move else None)
        async with here.house.use.release_hold.start_work(here.tenant.id) as other_tab:
            await other_tab.bookings.queue_for_patient(here.tenant.id, here.patient.id)
            asked = here.move(hold, None, KARI) if move else here.confirm(hold, actor=KARI)
            asking = asyncio.create_task(asked)
            await until(lambda: waits_for_a_lock(postgres_filled_url))
            assert await other_tab.bookings.get(here.tenant.id, hold.id, lock=True)
        assert (await asking).status is BookingStatus.BOOKED


N, Y = RefusalCode.NOT_ENOUGH_NOTICE, RefusalCode.TOO_YOUNG


async def test_a_hold_and_a_booking_past_named_rules_say_so_in_the_audit_trail(
    town: Town, sqlite_filled_url: str
) -> None:
    async with desk(town, sqlite_filled_url) as here:
        with pytest.raises(Refused) as refused:
            await here.hold(here.times[0], bypass=past(Y))
        assert why(refused) == ["NOT_ENOUGH_NOTICE"]
        hold = await here.hold(here.times[0], bypass=past(N, Y))
        with pytest.raises(Refused) as refused:
            await here.confirm(hold)
        assert why(refused) == ["TOO_YOUNG"]
        booked = await here.confirm(hold, past(Y))
        assert booked.status is BookingStatus.BOOKED
        trail = await here.trail(sqlite_filled_url, "booking.hold")
        assert trail[-1] == ("STAFF", {"bypassed": "NOT_ENOUGH_NOTICE", "reason": REASON})
        assert (await here.trail(sqlite_filled_url, "booking.confirm"))[-1] == (
            "STAFF",
            {"bypassed": "TOO_YOUNG", "reason": REASON},
        )
        assert (await here.trail(sqlite_filled_url, "booking.booked"))[-1] == ("STAFF", {})


FLAG, COUNT = ChangeRefusal.NOT_ALLOWED, ChangeRefusal.COUNT_EXCEEDED


async def test_a_move_by_staff_is_theirs_and_does_not_count(town: Town, sqlite_filled_url: str) -> None:
    async with desk(town, sqlite_filled_url) as here:
        moving = {"moving_booking_id": here.booking.id}
        with pytest.raises(Refused) as refused:
            await here.hold(here.times[0], bypass=past(N, FLAG), **moving)
        assert why(refused) == ["COUNT_EXCEEDED"]
        hold = await here.hold(here.times[0], bypass=past(N, FLAG, COUNT), **moving)
        with pytest.raises(Refused) as refused:
            await here.move(hold, past(COUNT))
        assert why(refused) == ["NOT_ALLOWED", "TOO_YOUNG"]
        moved = await here.move(hold, past(FLAG, COUNT, Y))
        assert (moved.slot.start, moved.moves_made) == (here.times[0].slot.start, 0)
        steps = (await here.house.reads.steps(here.tenant.id, [moved.id]))[moved.id]
        assert (steps[-1].actor, steps[-1].start) == ("STAFF", moved.slot.start)
        trail = await here.trail(sqlite_filled_url, "booking.reschedule")
        assert ("STAFF", {"bypassed": "NOT_ALLOWED COUNT_EXCEEDED TOO_YOUNG", "reason": REASON}) in trail


async def test_the_patients_own_move_counts(town: Town, sqlite_filled_url: str) -> None:
    async with desk(town, sqlite_filled_url, RuleValues()) as here:
        hold = await here.hold(here.times[0], KARI, moving_booking_id=here.booking.id)
        assert (await here.move(hold, None, KARI)).moves_made == 1


async def test_a_visit_is_cancelled_past_the_rule_that_is_named(town: Town, sqlite_filled_url: str) -> None:
    async with desk(town, sqlite_filled_url) as here:
        for named in (None, past(COUNT)):
            with pytest.raises(Refused) as refused:
                await here.cancel(named)
            assert why(refused) == ["NOT_ALLOWED"]
        assert (await here.cancel(past(FLAG))).status is BookingStatus.CANCELLED
        trail = await here.trail(sqlite_filled_url, "booking.cancel")
        assert trail == [("STAFF", {"bypassed": "NOT_ALLOWED", "reason": REASON})]


async def test_nobody_but_staff_gets_past_anything(town: Town, sqlite_filled_url: str) -> None:
    async with desk(town, sqlite_filled_url, RuleValues()) as here:
        hold = await here.hold(here.times[0], KARI)
        attempts = (
            here.hold(here.times[1], KARI, past(N)),
            here.confirm(hold, past(Y), KARI),
            here.move(hold, past(FLAG), KARI),
            here.cancel(past(FLAG), KARI),
        )
        for attempt in attempts:
            with pytest.raises(NotForThisActor):
                await attempt
        found = await here.house.reads.get(here.tenant.id, [here.booking.id, hold.id])
        assert [found[id].status for id in (here.booking.id, hold.id)] == [BookingStatus.BOOKED, BookingStatus.HELD]
