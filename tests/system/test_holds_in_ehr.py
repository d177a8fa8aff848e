"""How far a hold reaches, as a frontend sees it, at a clinic whose record system keeps times too."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from integrations.sandbox.ehr import create_ehr
from integrations.sandbox.people import as_ehr_patients
from integrations.sandbox.world_no import NORWAY
from tests.living import Town, fill, in_process, seeds, sign_in, until
from tests.sandbox.conftest import Installation, serve
from tests.system.at_the_desk import rings, somebody
from tests.system.journey import Journey
from tests.system.test_journey import appointments, decoded
from tests.system.test_settling import IHE


@asynccontextmanager
async def keeping(town: Town, database_url: str) -> AsyncIterator[Installation]:
    """A record system of its own, which keeps what is held."""
    alone = serve(create_ehr(NORWAY, holds=timedelta(minutes=10), people=as_ehr_patients("NO")))
    said = seeds(replace(town, norway=alone))
    kept = [replace(seed, endpoints=[replace(each, holds=True) for each in seed.endpoints]) for seed in said]
    await fill(town, database_url, *kept)
    yield alone
    alone.stop()


def pending(ehr: Installation) -> list[str]:
    return [each["id"] for each in ehr.get("/_sandbox/appointments") if each["status"] == "pending"]


async def test_a_hold_says_how_far_it_reaches_and_is_booked_as_it_stands(town: Town, filled_url: str) -> None:
    async with keeping(town, filled_url) as norway, in_process(town.settings(filled_url)) as (client, _):
        visitor = Journey(client, IHE.clinic)
        slot, *_, other = await visitor.slots()
        hold = (await visitor.hold(slot["id"]))["hold"]
        assert hold["scope"] == "EHR"
        [kept] = pending(norway)
        assert slot["id"] not in [each["id"] for each in await visitor.slots()]
        assert slot["id"] in [each["id"] for each in await visitor.slots(hold=hold["token"])]

        visitor.token = await sign_in(town, IHE.login)
        again = (await visitor.hold(slot["id"], holdToken=hold["token"]))["hold"]
        assert (again["token"], again["scope"]) == (hold["token"], "EHR")
        booked = (await visitor.confirm(hold["token"]))["booking"]
        assert appointments(norway, IHE.person)[decoded(booked["id"])]["id"] == kept and pending(norway) == []

        norway.http.post("/_sandbox/faults", json={"kind": "lost-request", "operation": "hold", "times": 1})
        local = (await visitor.hold(other["id"]))["hold"]
        assert local["scope"] == "LOCAL"
        assert (await visitor.confirm(local["token"], acceptDoubleBooking=True))["booking"]["status"] == "BOOKED"


async def test_a_worker_lets_go_of_what_a_visitor_let_go_of(town: Town, filled_url: str) -> None:
    settings = town.settings(filled_url, worker=True)
    async with keeping(town, filled_url) as norway, in_process(settings) as (client, _):
        visitor = Journey(client, IHE.clinic)
        slot = (await visitor.slots())[0]
        hold = (await visitor.hold(slot["id"]))["hold"]["token"]
        assert len(pending(norway)) == 1
        release = "mutation($input: ReleaseHoldInput!) { releaseHold(input: $input) { errors { code } } }"
        assert (await client(release, None, input={"token": hold}))["releaseHold"]["errors"] == []

        async def gone() -> bool:
            return pending(norway) == []

        await until(gone)
        rings(replace(town, norway=norway), norway, somebody(), slot)
