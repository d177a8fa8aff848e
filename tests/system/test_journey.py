"""From a free time to a cancelled visit at a clinic of each record system, seen there after each step."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from api.signing import from_text
from integrations.sandbox.people import PEOPLE, Person
from tests.living import Town, in_process, sign_in
from tests.sandbox.conftest import Installation
from tests.system.journey import Journey

BOOKING_SYSTEM = "https://itb.example/identifiers/booking"


def appointments(ehr: Installation, person: Person) -> dict[str, Any]:
    """What the record system itself holds on somebody, by the booking id that we gave."""
    asked = {"patient.identifier": f"{person.number_system}|{person.number}", "_count": 1000}
    bundle = ehr.get("/Appointment", params=asked)
    found = [entry["resource"] for entry in bundle.get("entry", ())]
    return {i["value"]: a for a in found for i in a.get("identifier", ()) if i["system"] == BOOKING_SYSTEM}


def shown(appointment: dict[str, Any]) -> tuple[str, datetime]:
    return appointment["status"], datetime.fromisoformat(appointment["start"])


def movable(slots: list[dict[str, Any]]) -> dict[str, Any]:
    """A time after which its practitioner is free for long enough to move it by a quarter of an hour."""
    free = {(s["practitioner"]["id"], datetime.fromisoformat(s["start"])) for s in slots}
    return next(
        slot
        for slot in slots
        if all(
            (slot["practitioner"]["id"], datetime.fromisoformat(slot["start"]) + timedelta(minutes=m)) in free
            for m in (15, 45, 60)
        )
    )


@pytest.mark.parametrize(
    ("clinic", "login"), [("sentrum-legesenter", "kari"), ("vasastans-vardcentral", "astrid")], ids=["ihe", "r4"]
)
async def test_a_patient_books_moves_and_cancels(town: Town, filled_url: str, clinic: str, login: str) -> None:
    ehr = town.norway if login == "kari" else town.sweden
    person = next(p for p in PEOPLE if p.login == login)
    async with in_process(town.settings(filled_url)) as (client, _):
        journey = Journey(client, clinic)
        slot = movable(await journey.slots())
        held = await journey.hold(slot["id"])
        assert held["hold"]["slot"]["start"] == slot["start"], held["errors"]
        assert slot["id"] not in [s["id"] for s in await journey.slots()]
        assert slot["id"] in [s["id"] for s in await journey.slots(hold=held["hold"]["token"])]
        journey.token = await sign_in(town, login)

        booked = (await journey.confirm(held["hold"]["token"]))["booking"]
        id = UUID(str(decoded(booked["id"])))
        assert (booked["status"], booked["start"], booked["smsConfirmationTo"][-3:]) == (
            "BOOKED",
            slot["start"],
            (person.phone_at_clinic or "")[-3:],
        )
        start = datetime.fromisoformat(slot["start"])
        assert shown(appointments(ehr, person)[str(id)]) == ("booked", start)
        assert [b["id"] for b in await journey.mine()] == [booked["id"]]

        later = start + timedelta(minutes=15)
        times = await journey.slots(movingBookingId=booked["id"], practitionerIds=[slot["practitioner"]["id"]])
        [wanted] = [s for s in times if datetime.fromisoformat(s["start"]) == later]
        held = await journey.hold(wanted["id"], movingBookingId=booked["id"])
        assert held["hold"], held["errors"]
        moved = (await journey.reschedule(booked, held["hold"]["token"]))["booking"]
        assert (moved["id"], moved["reference"], moved["status"]) == (booked["id"], booked["reference"], "BOOKED")
        assert datetime.fromisoformat(moved["start"]) == later
        assert shown(appointments(ehr, person)[str(id)]) == ("booked", later)

        cancelled = (await journey.cancel(moved))["booking"]
        assert cancelled["status"] == "CANCELLED"
        assert appointments(ehr, person)[str(id)]["status"] == "cancelled"
        assert await journey.mine() == []
        assert [b["id"] for b in await journey.mine("PREVIOUS")] == [booked["id"]]
        assert slot["id"] in [s["id"] for s in await journey.slots()]
        assert [s["status"] for s in cancelled["history"]] == [
            *("HELD", "CONFIRMING", "BOOKED"),
            *("BOOKED", "BOOKED"),
            *("CANCELLING", "CANCELLED"),
        ]


def decoded(id: str) -> str:
    return from_text(id).decode().partition(":")[2]
