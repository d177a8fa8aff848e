"""Looking for a visit at servers that understand less than they should; the same for both dialects."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from domain.endpoint import Dialect, FindsBy
from domain.ports import AppointmentState, Ehr, EhrUnavailable
from integrations.fhir.ehrs import ADAPTERS
from tests.fhir.conftest import KARI, PATIENCE
from tests.fhir.scripted import Scripted, answer, endpoint_at, scripted
from tests.fhir.test_ihe import OURS, VISIT, appointment, bundle, refusal

WHO = {"system": "urn:oid:2.16.578.1.12.4.1.4.1", "value": "13815512300"}
BY_NUMBER, BY_PERSON = "identifier=", "patient.identifier="

pytestmark = pytest.mark.parametrize("dialect", Dialect)


def with_patient(id: str, **actor: Any) -> dict[str, Any]:
    practitioner = {"actor": {"reference": "PractitionerRole/B544:E472"}, "status": "accepted"}
    return appointment(id=id, participant=[practitioner, {"actor": actor, "status": "accepted"}])


@asynccontextmanager
async def asking(dialect: Dialect, *answers: bytes, **settings: Any) -> AsyncIterator[tuple[Scripted, Ehr]]:
    async with scripted(*answers) as (server, client):
        yield server, ADAPTERS[dialect](client, replace(endpoint_at(server.url, dialect), **settings))


def asked(server: Scripted) -> list[str]:
    return [each.asked.partition("=")[0] + "=" for each in server.requests]


async def test_what_no_number_finds_is_found_by_who_when_and_with_whom(dialect: Dialect) -> None:
    async with asking(dialect, bundle(), bundle(with_patient("ap:1", identifier=WHO))) as (server, ehr):
        held = await ehr.look_up(VISIT, PATIENCE)
    assert held and (held.ehr_id, held.state) == ("ap:1", AppointmentState.BOOKED)
    assert asked(server) == [BY_NUMBER, BY_PERSON]


async def test_what_has_our_number_is_asked_for_once(dialect: Dialect) -> None:
    async with asking(dialect, bundle(appointment(identifier=[OURS]))) as (server, ehr):
        assert await ehr.look_up(VISIT, PATIENCE)
    assert asked(server) == [BY_NUMBER]


@pytest.mark.parametrize(
    "other",
    [
        appointment(identifier=[OURS | {"value": "another booking of ours"}]),
        appointment(participant=[{"actor": {"reference": "PractitionerRole/B544:E999"}}]),
        appointment(start="2026-12-01T10:15:00+01:00", end="2026-12-01T11:00:00+01:00"),
        with_patient("ap:1", identifier=WHO | {"value": "13815512999"}),
    ],
    ids=["another booking", "another practitioner", "another time", "another patient"],
)
async def test_somebody_elses_visit_is_not_taken_for_ours(dialect: Dialect, other: dict[str, Any]) -> None:
    async with asking(dialect, bundle(), bundle(other)) as (_, ehr):
        assert await ehr.look_up(VISIT, PATIENCE) is None


async def test_what_neither_finds_is_not_there(dialect: Dialect) -> None:
    async with asking(dialect, bundle()) as (server, ehr):
        assert await ehr.look_up(VISIT, PATIENCE) is None
        assert await ehr.look_up(replace(VISIT, patient=replace(KARI, national_id=None)), PATIENCE) is None
    assert asked(server) == [BY_NUMBER, BY_PERSON, BY_NUMBER]


async def test_a_server_that_knows_numbers_but_no_patients_is_believed(dialect: Dialect) -> None:
    async with asking(dialect, bundle(), refusal("not-supported", 400)) as (_, ehr):
        assert await ehr.look_up(VISIT, PATIENCE) is None


@pytest.mark.parametrize("first", [bundle(), refusal("not-supported", 400)])
async def test_without_the_second_answer_nothing_is_said(dialect: Dialect, first: bytes) -> None:
    async with asking(dialect, first, answer("", 503)) as (_, ehr):
        with pytest.raises(EhrUnavailable):
            await ehr.look_up(VISIT, PATIENCE)


async def test_a_server_that_knows_neither_says_nothing(dialect: Dialect) -> None:
    async with asking(dialect, refusal("not-supported", 400)) as (_, ehr):
        with pytest.raises(EhrUnavailable):
            await ehr.look_up(VISIT, PATIENCE)


async def test_what_the_clinic_may_have_booked_itself_is_not_abandoned(dialect: Dialect) -> None:
    async with asking(dialect, bundle(), bundle(with_patient("ap:1", identifier=WHO))) as (server, ehr):
        await ehr.abandon(replace(VISIT, reference=""), PATIENCE)
    assert asked(server) == [BY_NUMBER]


async def test_a_server_that_finds_every_number_is_asked_for_nothing_else(dialect: Dialect) -> None:
    async with asking(dialect, bundle(), finds_by=FindsBy.NUMBER) as (server, ehr):
        assert await ehr.look_up(VISIT, PATIENCE) is None
    assert asked(server) == [BY_NUMBER]


async def test_one_that_is_said_to_find_numbers_and_refuses_to_says_nothing(dialect: Dialect) -> None:
    async with asking(dialect, refusal("not-supported", 400), finds_by=FindsBy.NUMBER) as (_, ehr):
        with pytest.raises(EhrUnavailable):
            await ehr.look_up(VISIT, PATIENCE)


async def test_a_server_that_knows_no_numbers_is_not_asked_for_one(dialect: Dialect) -> None:
    found = bundle(with_patient("ap:1", identifier=WHO))
    async with asking(dialect, found, finds_by=FindsBy.PERSON) as (server, ehr):
        assert await ehr.look_up(VISIT, PATIENCE)
    assert asked(server) == [BY_PERSON]


@pytest.mark.parametrize("status", ["cancelled", "fulfilled", "noshow"])
async def test_an_earlier_visit_at_that_time_says_nothing_about_ours(dialect: Dialect, status: str) -> None:
    """The patient's own, made by phone and called off: our request may still be on its way."""
    earlier = with_patient("ap:1", identifier=WHO) | {"status": status}
    async with asking(dialect, bundle(), bundle(earlier)) as (_, ehr):
        assert await ehr.look_up(VISIT, PATIENCE) is None


async def test_ours_is_known_by_its_number_whatever_became_of_it(dialect: Dialect) -> None:
    cancelled = appointment(identifier=[OURS]) | {"status": "cancelled"}
    async with asking(dialect, bundle(cancelled)) as (_, ehr):
        held = await ehr.look_up(VISIT, PATIENCE)
    assert held and held.state is AppointmentState.CANCELLED


async def test_a_patient_who_is_only_referred_to_is_not_taken_for_ours(dialect: Dialect) -> None:
    """A server that ignores whom it was asked for, and has given the time to somebody else."""
    theirs = with_patient("ap:1", reference="Patient/somebody-else")
    kari = {"resourceType": "Patient", "id": "kari", "identifier": [WHO]}
    async with asking(dialect, bundle(), bundle(theirs), bundle(kari)) as (_, ehr):
        assert await ehr.look_up(VISIT, PATIENCE) is None


async def test_a_patient_who_is_referred_to_is_ours_where_the_server_says_so(dialect: Dialect) -> None:
    kari = {"resourceType": "Patient", "id": "kari", "identifier": [WHO]}
    ours = with_patient("ap:1", reference="Patient/kari")
    async with asking(dialect, bundle(), bundle(ours), bundle(kari)) as (_, ehr):
        assert await ehr.look_up(VISIT, PATIENCE)


@pytest.mark.parametrize("finds_by", [FindsBy.PERSON, FindsBy.BOTH])
async def test_what_carries_no_number_of_ours_is_never_abandoned(dialect: Dialect, finds_by: FindsBy) -> None:
    """Also where the server does not look for numbers: the patient may have rung the clinic meanwhile."""
    by_phone = bundle(with_patient("ap:1", identifier=WHO))
    answers = [by_phone] if finds_by is FindsBy.PERSON else [refusal("not-supported", 400), by_phone]
    async with asking(dialect, *answers, finds_by=finds_by) as (server, ehr):
        await ehr.abandon(replace(VISIT, reference=""), PATIENCE)
    assert all(each.method == "GET" or each.target.endswith("/_search") for each in server.requests)
