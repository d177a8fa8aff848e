"""Every no is said with its reason, leaves things as they were, and is said again when it is asked again."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from domain.catalogue import Seed
from domain.rules import RuleValues
from domain.tenant import DoubleBooking
from integrations.sandbox.people import PEOPLE
from integrations.sandbox.world_no import NORWAY
from tests.living import Client, Town, fill, in_process, seeds, sign_in, until
from tests.system.journey import HELD, RELEASE, Journey, apart, at, codes, key
from tests.system.test_journey import appointments, decoded, shown

OSLO, STOCKHOLM = "sentrum-legesenter", "vasastans-vardcentral"
PHONE = "+4721000110"


async def signed_in(town: Town, client: Client, login: str = "kari", clinic: str = OSLO) -> Journey:
    return Journey(client, clinic, token=await sign_in(town, login))


async def held(journey: Journey, slot: dict[str, Any], **more: Any) -> str:
    answer = await journey.hold(slot["id"], **more)
    assert answer["hold"], answer["errors"]
    return str(answer["hold"]["token"])


async def is_held(journey: Journey, token: str) -> bool:
    return (await journey.client(HELD, journey.token, token=token))["hold"] is not None


def overlapping(some: list[dict[str, Any]], others: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    return next(
        (one, other)
        for one in some
        for other in others
        if at(one["start"]) < at(other["end"]) and at(other["start"]) < at(one["end"])
    )


def somebody_rings(town: Town, slot: dict[str, Any]) -> None:
    """The clinic gives the time away on the telephone."""
    [role] = [each for each in NORWAY.roles if each.name == slot["practitioner"]["name"]]
    minutes = int((at(slot["end"]) - at(slot["start"])).total_seconds()) // 60
    order = {"role": role.id, "start": slot["start"], "minutes": minutes}
    assert town.norway.http.post("/_sandbox/phone-bookings", json=order).status_code == 201


def check_alternatives(error: dict[str, Any], wanted: dict[str, Any]) -> list[dict[str, Any]]:
    slots: list[dict[str, Any]] = error["alternatives"]
    assert len({slot["start"] for slot in slots}) == len({slot["id"] for slot in slots} - {wanted["id"]}) == 3
    return slots


@pytest.mark.parametrize("fault", ["http-409", "outcome-200", "outcome-200-wrapped"])
async def test_a_time_lost_to_the_clinic_is_told_with_three_others_however_the_record_system_says_so(
    town: Town, sqlite_filled_url: str, fault: str
) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        journey = await signed_in(town, client)
        slot = (await journey.slots())[0]
        hold = await held(journey, slot)
        somebody_rings(town, slot)
        if fault != "http-409":
            town.fault(town.norway, fault, operation="book")
        same = key()
        refused = await journey.confirm(hold, idempotencyKey=same)
        assert codes(refused) == ["SLOT_TAKEN"]
        check_alternatives(refused["errors"][0], slot)
        [failed] = await journey.mine("PREVIOUS")
        assert (failed["status"], failed["start"]) == ("FAILED", slot["start"])
        assert await journey.mine() == []

        again = await journey.confirm(hold, idempotencyKey=same)
        another_key = await journey.confirm(hold)
        assert again["errors"] == another_key["errors"] == refused["errors"]
        assert town.calls(town.norway)["book"] == 1
        assert decoded(failed["id"]) not in appointments(town.norway, PEOPLE[0])
        town.calm()
        assert (await journey.booked(refused["errors"][0]["alternatives"][0]["id"]))["status"] == "BOOKED"


@pytest.mark.parametrize(
    ("clinic", "login", "operation"), [(OSLO, "kari", "book"), (STOCKHOLM, "astrid", "slot-write")], ids=["ihe", "r4"]
)
async def test_a_time_taken_at_the_last_instant_is_not_booked_and_the_next_one_is(
    town: Town, sqlite_filled_url: str, clinic: str, login: str, operation: str
) -> None:
    ehr = town.norway if operation == "book" else town.sweden
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        journey = await signed_in(town, client, login, clinic)
        slot = (await journey.slots())[0]
        hold = await held(journey, slot)
        town.fault(ehr, "taken", operation=operation, times=1)
        refused = await journey.confirm(hold)
        assert codes(refused) == ["SLOT_TAKEN"]
        booked = await journey.booked(check_alternatives(refused["errors"][0], slot)[0]["id"])
        [person] = [each for each in PEOPLE if each.login == login]
        assert shown(appointments(ehr, person)[decoded(booked["id"])]) == ("booked", at(booked["start"]))


@pytest.mark.parametrize(
    ("clinic", "login", "treatment"),
    [(OSLO, "lillebror", "skin-check"), (OSLO, "ungdom", "consultation"), (STOCKHOLM, "olle", "skin-check")],
)
async def test_who_is_too_young_is_told_and_the_time_waits(
    town: Town, sqlite_filled_url: str, clinic: str, login: str, treatment: str
) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        journey = await signed_in(town, client, login, clinic)
        journey.treatment = treatment
        hold = await held(journey, (await journey.slots())[0])
        refused = await journey.confirm(hold)
        assert codes(refused) == ["TOO_YOUNG"]
        assert "16" in refused["errors"][0]["message"]
        assert await is_held(journey, hold)
        assert not town.calls(town.norway).get("book")


async def test_everything_in_the_way_is_said_at_once_and_the_hold_waits_until_it_is_put_right(
    town: Town, sqlite_filled_url: str
) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        tourist = await signed_in(town, client, "turist")
        first, second, third = apart(await tourist.slots(), 3)
        hold = await held(tourist, first)
        refused = await tourist.confirm(hold, acceptedTermsVersion="1999-01")
        assert codes(refused) == ["NATIONAL_ID_REQUIRED", "TERMS_NOT_ACCEPTED"]
        assert await is_held(tourist, hold)
        assert codes(await tourist.confirm(hold)) == ["NATIONAL_ID_REQUIRED"]

        child = await signed_in(town, client, "lillebror")
        hold = await held(child, second)
        assert codes(await child.confirm(hold, acceptedTermsVersion="")) == ["TERMS_NOT_ACCEPTED", "TOO_YOUNG"]

        adult, same = await signed_in(town, client), key()
        hold = await held(adult, third)
        refused = await adult.confirm(hold, idempotencyKey=same, acceptedTermsVersion="1999-01")
        assert codes(refused) == ["TERMS_NOT_ACCEPTED"]
        assert (await adult.confirm(hold, idempotencyKey=same))["booking"]["status"] == "BOOKED"


async def test_nobody_is_in_two_clinics_at_once(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        oslo, stockholm = await signed_in(town, client), await signed_in(town, client, clinic=STOCKHOLM)
        one, other = overlapping(await oslo.slots(), await stockholm.slots())
        booked = await oslo.booked(one["id"])
        hold = await held(stockholm, other)
        for accepts in (False, True):
            [error] = (await stockholm.confirm(hold, acceptDoubleBooking=accepts))["errors"]
            assert (error["code"], error["mayProceed"]) == ("PATIENT_DOUBLE_BOOKED", False)
            assert error["other"]["id"] == booked["id"]
        assert await is_held(stockholm, hold)

        await oslo.cancel(booked)
        assert (await stockholm.confirm(hold))["booking"]["status"] == "BOOKED"


async def test_where_the_tenant_only_warns_the_patient_may_go_on(town: Town, sqlite_filled_url: str) -> None:
    seed, _ = seeds(town)
    await fill(town, sqlite_filled_url, replace(seed, tenant=replace(seed.tenant, double_booking=DoubleBooking.WARN)))
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        oslo, stockholm = await signed_in(town, client), await signed_in(town, client, clinic=STOCKHOLM)
        one, other = overlapping(await oslo.slots(), await stockholm.slots())
        await oslo.booked(one["id"])
        hold = await held(stockholm, other)
        [error] = (await stockholm.confirm(hold))["errors"]
        assert (error["code"], error["mayProceed"]) == ("PATIENT_DOUBLE_BOOKED", True)
        assert (await stockholm.confirm(hold, acceptDoubleBooking=True))["booking"]["status"] == "BOOKED"


async def test_the_same_key_gives_the_same_answer_and_with_another_input_a_refusal(
    town: Town, sqlite_filled_url: str
) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        journey, same = await signed_in(town, client), key()
        now, later, elsewhen = apart(await journey.slots(), 3)
        hold = await held(journey, now, idempotencyKey=same)
        assert await held(journey, now, idempotencyKey=same) == hold
        assert codes(await journey.hold(later["id"], idempotencyKey=same)) == ["IDEMPOTENCY_KEY_REUSED"]

        booked = (await journey.confirm(hold, idempotencyKey=same))["booking"]
        assert (await journey.confirm(hold, idempotencyKey=same))["booking"] == booked
        other = await journey.confirm(hold, idempotencyKey=same, smsConfirmation=False)
        assert codes(other) == ["IDEMPOTENCY_KEY_REUSED"]

        to = await held(journey, later, movingBookingId=booked["id"])
        away = await held(Journey(client, OSLO), elsewhen)
        moved = (await journey.reschedule(booked, to, idempotencyKey=same))["booking"]
        assert moved["start"] == later["start"]
        assert (await journey.reschedule(booked, to, idempotencyKey=same))["booking"] == moved
        assert codes(await journey.reschedule(booked, away, idempotencyKey=same)) == ["IDEMPOTENCY_KEY_REUSED"]

        gone = (await journey.cancel(moved, idempotencyKey=same))["booking"]
        assert gone["status"] == "CANCELLED"
        assert (await journey.cancel(moved, idempotencyKey=same))["booking"] == gone
        other = await journey.cancel(moved, idempotencyKey=same, reason="En annen grunn")
        assert codes(other) == ["IDEMPOTENCY_KEY_REUSED"]
        assert town.calls(town.norway)["book"] == 3


async def test_a_move_that_the_clinic_was_faster_than_is_refused_alike_each_time_and_moves_nothing(
    town: Town, sqlite_filled_url: str
) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        journey, same = await signed_in(town, client), key()
        now, later = apart(await journey.slots(), 2)
        booked = await journey.booked(now["id"])
        to = await held(journey, later, movingBookingId=booked["id"])
        somebody_rings(town, later)
        refused = await journey.reschedule(booked, to, idempotencyKey=same)
        assert codes(refused) == ["SLOT_TAKEN"]
        alternatives = check_alternatives(refused["errors"][0], later)
        assert (await journey.reschedule(booked, to, idempotencyKey=same))["errors"] == refused["errors"]
        [mine] = await journey.mine()
        assert (mine["status"], mine["start"]) == ("BOOKED", now["start"])
        assert shown(appointments(town.norway, PEOPLE[0])[decoded(booked["id"])]) == ("booked", at(now["start"]))

        to = await held(journey, alternatives[0], movingBookingId=booked["id"])
        moved = (await journey.reschedule(mine, to))["booking"]
        assert (moved["id"], moved["start"]) == (booked["id"], alternatives[0]["start"])


async def test_nobody_changes_what_they_have_not_seen(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        journey = await signed_in(town, client)
        now, later, elsewhen = apart(await journey.slots(), 3)
        seen = await journey.booked(now["id"])
        to = await held(journey, later, movingBookingId=seen["id"])
        moved = (await journey.reschedule(seen, to))["booking"]
        to = await held(journey, elsewhen, movingBookingId=seen["id"])
        for refused in (await journey.reschedule(seen, to), await journey.cancel(seen)):
            assert codes(refused) == ["STALE_VERSION"]
            assert refused["errors"][0]["current"] == {"id": moved["id"], "version": moved["version"]}
        assert [b["start"] for b in await journey.mine()] == [later["start"]]
        assert await is_held(journey, to)


async def test_what_is_somebody_elses_is_not_there(town: Town, sqlite_filled_url: str) -> None:
    node = "query($id: ID!) { node(id: $id) { id } }"
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        kari, ola = await signed_in(town, client), await signed_in(town, client, "ola")
        now, later = apart(await kari.slots(), 2)
        booked = await kari.booked(now["id"])
        to = await held(kari, later, movingBookingId=booked["id"])
        for refused in (
            await ola.hold(later["id"], movingBookingId=booked["id"]),
            await ola.reschedule(booked, to),
            await ola.cancel(booked),
        ):
            assert codes(refused) == ["NOT_FOUND"]
            assert refused["errors"][0]["path"]
        assert codes(await ola.confirm(to)) == ["HOLD_NOT_FOUND"]
        for token in (ola.token, None):
            assert (await client(node, token, id=booked["id"]))["node"] is None
        assert (await client(node, kari.token, id=booked["id"]))["node"] == {"id": booked["id"]}
        assert await ola.mine("ALL") == []
        assert [b["version"] for b in await kari.mine()] == [booked["version"]]


def with_rules(seed: Seed, rules: RuleValues) -> Seed:
    place = ("fjord", "hs-oslo-sentrum")
    return replace(seed, clinics={**seed.clinics, place: {**seed.clinics[place], "rules": rules}})


MONTHS = 24 * 60
TOO_LATE = RuleValues(
    cancellation_within_hours_of_booking=0,
    cancellation_until_hours_before_start=MONTHS,
    rescheduling_within_hours_of_booking=0,
    rescheduling_until_hours_before_start=MONTHS,
)
NEVER = RuleValues(cancellation_allowed=False, rescheduling_allowed=False)


@pytest.mark.parametrize(("rules", "why"), [(TOO_LATE, "TOO_LATE"), (NEVER, "NOT_ALLOWED")])
async def test_a_visit_that_may_not_be_changed_says_why_and_whom_to_call(
    town: Town, sqlite_filled_url: str, rules: RuleValues, why: str
) -> None:
    await fill(town, sqlite_filled_url, with_rules(seeds(town)[0], rules))
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        journey = await signed_in(town, client)
        now, later = apart(await journey.slots(), 2)
        booked = await journey.booked(now["id"])
        to = await held(journey, later)
        answers = (
            await journey.cancel(booked),
            await journey.reschedule(booked, to),
            await journey.hold(later["id"], movingBookingId=booked["id"]),
        )
        for refused in answers:
            [error] = refused["errors"]
            assert (error["code"], error["refusal"], error["clinicPhone"]) == ("CHANGE_NOT_ALLOWED", why, PHONE)
            assert PHONE in error["message"].replace(" ", "")
        [mine] = await journey.mine()
        assert (mine["status"], mine["version"]) == ("BOOKED", booked["version"])
        assert (mine["cancellation"]["allowed"], mine["cancellation"]["refusal"]) == (False, why)
        assert town.calls(town.norway)["book"] == 1


async def test_the_record_systems_own_limit_counts_over_the_clinics_kinder_rules(
    town: Town, sqlite_filled_url: str
) -> None:
    seed, _ = seeds(town)
    limited = [replace(each, no_change_within=timedelta(days=90)) for each in seed.endpoints]
    await fill(town, sqlite_filled_url, with_rules(replace(seed, endpoints=limited), RuleValues()))
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        journey = await signed_in(town, client)
        booked = await journey.booked()
        assert (booked["cancellation"]["refusal"], booked["rescheduling"]["refusal"]) == ("TOO_LATE", "TOO_LATE")
        assert at(booked["cancellation"]["until"]) == at(booked["start"]) - timedelta(days=90)
        assert codes(await journey.cancel(booked)) == ["CHANGE_NOT_ALLOWED"]


async def test_rules_that_grew_stricter_do_not_bind_who_booked_before(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        booked = await (await signed_in(town, client)).booked()
    await fill(town, sqlite_filled_url, with_rules(seeds(town)[0], TOO_LATE))
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        journey = await signed_in(town, client)
        assert (await journey.cancel(booked))["booking"]["status"] == "CANCELLED"


async def test_a_hold_that_lapsed_cannot_be_confirmed_and_its_time_is_free(town: Town, filled_url: str) -> None:
    async with in_process(town.settings(filled_url, hold_seconds=1, hold_cap_seconds=1)) as (client, _):
        journey = await signed_in(town, client)
        slot = (await journey.slots())[0]
        hold = await held(journey, slot)

        async def gone() -> bool:
            return not await is_held(journey, hold)

        await until(gone)
        assert codes(await journey.confirm(hold)) == ["HOLD_EXPIRED"]
        stranger = Journey(client, OSLO)
        assert slot["id"] in [each["id"] for each in await stranger.slots()]
        await held(stranger, slot)
        assert codes(await journey.confirm(hold)) == ["HOLD_EXPIRED"]
        assert not town.calls(town.norway).get("book")


async def test_a_hold_is_kept_longer_once_after_login_and_from_then_on_the_patients_own(
    town: Town, sqlite_filled_url: str
) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        visitor = Journey(client, OSLO)
        slot = (await visitor.slots())[0]
        first = (await visitor.hold(slot["id"]))["hold"]
        unchanged = (await visitor.hold(slot["id"], holdToken=first["token"]))["hold"]
        assert (unchanged["token"], unchanged["expiresAt"]) == (first["token"], first["expiresAt"])

        patient, other = await signed_in(town, client), await signed_in(town, client, "ola")
        longer = (await patient.hold(slot["id"], holdToken=first["token"]))["hold"]
        assert longer["token"] == first["token"]
        assert at(first["expiresAt"]) < at(longer["expiresAt"]) <= at(first["expiresAt"]) + timedelta(minutes=5)
        once = (await patient.hold(slot["id"], holdToken=first["token"]))["hold"]
        assert once["expiresAt"] == longer["expiresAt"]

        for stranger in (visitor, other):
            released = await client(RELEASE, stranger.token, input={"token": first["token"]})
            assert codes(released["releaseHold"]) == ["HOLD_NOT_FOUND"]
            assert not await is_held(stranger, first["token"])
        assert codes(await other.confirm(first["token"])) == ["HOLD_NOT_FOUND"]
        assert (await patient.confirm(first["token"]))["booking"]["status"] == "BOOKED"


async def test_a_time_let_go_is_free_at_once_and_its_hold_is_no_more(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        journey = await signed_in(town, client)
        slot = (await journey.slots())[0]
        hold = await held(journey, slot)
        for _ in range(2):
            assert (await client(RELEASE, journey.token, input={"token": hold}))["releaseHold"] == {"errors": []}
        assert slot["id"] in [each["id"] for each in await journey.slots()]
        assert codes(await journey.confirm(hold)) == ["HOLD_NOT_FOUND"]
        await held(Journey(client, OSLO), slot)


async def test_a_visit_stays_within_its_record_system(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        oslo, stockholm = await signed_in(town, client), await signed_in(town, client, clinic=STOCKHOLM)
        booked = await oslo.booked()
        slot = (await stockholm.slots())[-1]
        assert await stockholm.slots(movingBookingId=booked["id"]) == []
        answers = (
            await stockholm.hold(slot["id"], movingBookingId=booked["id"]),
            await oslo.reschedule(booked, await held(stockholm, slot)),
        )
        for refused in answers:
            [error] = refused["errors"]
            assert (error["code"], error["refusal"]) == ("CHANGE_NOT_ALLOWED", "NOT_ALLOWED")
            assert error["clinicPhone"]
        [mine] = await oslo.mine()
        assert (mine["start"], mine["version"]) == (booked["start"], booked["version"])
