"""Answers written by hand after what servers in the field send, each read as it is meant."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from domain.endpoint import Dialect
from domain.ports import AppointmentState, Wanted
from domain.refusals import SlotTaken
from domain.slot import Span
from integrations.fhir.catalogue import CONTEXT, Parts, catalogue_of
from integrations.fhir.failures import FhirFailure, failure_in
from integrations.fhir.reading import appointment_of, e164, found_time, is_offered, phone_in, span_of, value_of
from integrations.fhir.wire import Appointment, Patient, Resource, Slot, Unreadable, bundle, decode, id_in, within
from tests.fhir.scripted import endpoint_at

SAMPLES = Path(__file__).parent.parent / "wire"
WANTED = Wanted(
    practitioner_ehr_id="B544:E472",
    clinic_ehr_id="hs:1",
    schedule_ids=("S:1",),
    service_code="R12",
    duration=timedelta(minutes=30),
)
SPAN = Span(start=datetime(2026, 4, 20, tzinfo=UTC), end=datetime(2026, 4, 21, tzinfo=UTC))


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.json").read_bytes()


def appointments(name: str) -> list[Appointment]:
    return [each for each in within(bundle(sample(name)), Appointment) if isinstance(each, Appointment)]


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_every_sample_is_read_without_complaint(path: Path) -> None:
    body = path.read_bytes()
    kinds: tuple[type[Resource], ...] = (Appointment, Slot, Patient, *CONTEXT)
    alone = {kind.__name__: kind for kind in kinds}.get(json.loads(body)["resourceType"])
    if alone:
        decode(body, alone)
        return
    found = bundle(body)
    for kind in kinds:
        assert not [each for each in within(found, kind) if isinstance(each, Unreadable)]


def test_a_proposal_keeps_its_name_its_time_and_its_chair() -> None:
    [proposed] = appointments("find")
    assert is_offered(proposed, WANTED, SPAN)
    time = found_time(proposed, WANTED)
    assert time.reference == "001-2026-04-20T08:10:00-B544-E472-R12"
    assert time.start == datetime(2026, 4, 20, 6, 10, tzinfo=UTC)
    assert time.start.utcoffset() == timedelta(hours=2)
    assert time.resources == ('{"display":"Stol 1","identifier":{"system":"urn:chairs","value":"STOL:1"}}',)
    assert bundle(sample("find")).next == "https://ehr.example/fhir/Appointment/$find?page=2"


def test_a_proposal_without_id_type_or_service_is_still_a_time() -> None:
    [proposed] = appointments("find-sparse")
    assert is_offered(proposed, WANTED, SPAN)
    assert found_time(proposed, WANTED).reference == ""
    assert bundle(sample("find-sparse")).next is None


def test_an_answer_without_entries_is_empty() -> None:
    assert appointments("find-empty") == []


def test_information_may_come_along_with_a_booking() -> None:
    [booked] = appointments("booked")
    held = appointment_of(booked)
    assert failure_in(200, {}, sample("booked")) is None
    assert held and (held.ehr_id, held.state, held.practitioner_ehr_id) == (
        "ap:77",
        AppointmentState.BOOKED,
        "B544:E472",
    )


@pytest.mark.parametrize(
    ("name", "status"),
    [("refused-bare", 200), ("refused-wrapped", 200), ("refused-medplum", 400), ("refused-bare", 400)],
)
def test_a_refusal_is_one_bare_or_wrapped_and_under_any_status(name: str, status: int) -> None:
    failure = failure_in(status, {}, sample(name))
    assert isinstance(failure, FhirFailure)
    assert failure.as_refusal(missing_is_taken=True) == SlotTaken()


def test_slots_keep_version_schedule_and_owner() -> None:
    free, busy = [each for each in within(bundle(sample("slots")), Slot) if isinstance(each, Slot)]
    assert failure_in(200, {}, sample("slots")) is None
    assert (free.status, free.meta and free.meta.versionId, free.schedule.reference) == ("free", "1", "Schedule/sk11")
    assert span_of(free) == Span(
        start=datetime(2026, 12, 7, 8, tzinfo=UTC), end=datetime(2026, 12, 7, 8, 45, tzinfo=UTC)
    )
    assert value_of(busy.identifier, "https://itb.example/identifiers/booking")


def test_a_context_becomes_a_catalogue() -> None:
    parts = Parts()
    for kind in CONTEXT:
        parts.add(kind, within(bundle(sample("context")), kind))
    catalogue = catalogue_of(parts, endpoint_at("https://ehr.example", Dialect.IHE))
    [clinic], [person], [treatment], [offer] = (
        catalogue.clinics,
        catalogue.practitioners,
        catalogue.treatments,
        catalogue.offers,
    )
    assert (clinic.phone, clinic.address and clinic.address.country_code) == ("+4721000110", "NO")
    assert [hours.weekday for hours in clinic.opening_hours] == ["monday", "tuesday", "saturday"]
    assert (person.name, person.title, person.schedule_ids) == ("Ingrid Solberg Haugen", "Lege", ("S:1",))
    assert (treatment.code, treatment.duration) == ("R12", timedelta(minutes=30))
    assert (offer.clinic_ehr_id, offer.practitioner_ehr_id, offer.treatment_code) == ("hs:1", "B544:E472", "R12")
    assert catalogue.language == "nb"


def test_the_mobile_number_comes_first() -> None:
    [patient] = [each for each in within(bundle(sample("patient")), Patient) if isinstance(each, Patient)]
    assert phone_in(patient.telecom, "SE") == "+46701740649"


@pytest.mark.parametrize(
    ("written", "country", "number"),
    [
        ("+47 999 00 001", "SE", "+4799900001"),
        ("0047 99900001", None, "+4799900001"),
        ("99900001", "NO", "+4799900001"),
        ("+46 (0)70-174 06 49", "SE", "+46701740649"),
        ("call reception", "NO", "call reception"),
        ("0701740649", None, "0701740649"),
        ("22 33 44 55", "NO", "+4722334455"),
        ("08-12 34 56", "SE", "+468123456"),
        ("+46 (0)8-12 34 56", "NO", "+468123456"),
        ("+47 (0)22 33 44 55", "NO", "+4722334455"),
        ("12 34 56", "SE", "12 34 56"),
        ("1177", "SE", "1177"),
        ("", "NO", ""),
    ],
)
def test_numbers_are_written_alike_where_it_can_be_told(written: str, country: str | None, number: str) -> None:
    assert e164(written, country) == number


@pytest.mark.parametrize(
    ("reference", "id"),
    [
        ("PractitionerRole/B544:E472", "B544:E472"),
        ("https://ehr.example/fhir/PractitionerRole/a/_history/2", "a"),
        ("PractitionerRole/", None),
        ("Practitioner/1", None),
        ("XPractitionerRole/1", None),
        ("#PractitionerRole", None),
    ],
)
def test_ids_are_taken_from_references_whole(reference: str, id: str | None) -> None:
    assert id_in(reference, "PractitionerRole") == id


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"<html>", b'{"resourceType":"Patient"}', b'{"entry":' + b"[" * 9]
)
def test_what_is_no_bundle_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        bundle(body)


def test_a_time_without_an_offset_is_unreadable() -> None:
    with pytest.raises(Unreadable):
        decode(b'{"resourceType":"Slot","start":"2026-12-07T08:00:00"}', Slot)
