"""Answers of plain R4 servers, written by hand, each read as it is meant."""

from datetime import UTC, datetime

from domain.ports import AppointmentState, EhrAppointment
from domain.refusals import SlotTaken
from domain.slot import Span
from integrations.fhir.existing import version
from integrations.fhir.failures import FhirFailure, failure_in
from integrations.fhir.reading import appointment_of, codes_of, span_of, value_of
from integrations.fhir.wire import Appointment, Identifier, Slot, bundle, decode, id_in, within
from tests.fhir.test_wire import appointments, sample

OUR_NUMBERS = "https://itb.example/identifiers/booking"
SPAN = Span(start=datetime(2026, 12, 7, 8, tzinfo=UTC), end=datetime(2026, 12, 7, 8, 45, tzinfo=UTC))


def test_a_created_appointment_is_booked_under_our_number_and_has_a_version() -> None:
    body = sample("r4-created")
    created = decode(body, Appointment)
    assert failure_in(201, {}, body) is None
    assert appointment_of(created) == EhrAppointment(
        ehr_id="7f0c1d52-93f5-4f0b-8a57-3c1f6f2c9a11",
        state=AppointmentState.BOOKED,
        start=SPAN.start,
        end=SPAN.end,
        practitioner_ehr_id="role-11",
    )
    assert value_of(created.identifier, OUR_NUMBERS) == "00000000-0000-0000-0000-000000000007"
    assert created.meta and version(created.meta.versionId) == 'W/"b9d1f4c2-0d6e-4f5b-9a0e-5a2f1c7e8d33"'
    assert [id_in(each.reference, "Slot") for each in created.slot] == ["s1"]


def test_a_failed_precondition_is_somebody_who_was_faster() -> None:
    failure = failure_in(412, {}, sample("r4-refused-412"))
    assert isinstance(failure, FhirFailure)
    assert (failure.status, failure.outcome.text) == (412, "Precondition Failed")
    assert failure.as_refusal(missing_is_taken=False) == SlotTaken()


def test_slots_without_link_total_or_full_url_are_read_to_their_end() -> None:
    found = bundle(sample("r4-slots"))
    slots = [each for each in within(found, Slot) if isinstance(each, Slot)]
    assert found.next is None
    assert [(each.id, each.status) for each in slots] == [("s1", "free"), ("s1", "free"), ("s3", "free")]
    assert span_of(slots[0]) == SPAN
    assert [id_in(each.schedule.reference, "Schedule") for each in slots] == ["sk11", "sk11", "sk12"]
    assert [codes_of(each.serviceType) for each in slots] == [{"R12"}, {"R12"}, set()]
    assert slots[2].meta is None


def test_an_appointment_tells_its_patient_by_identifier() -> None:
    assert bundle(sample("r4-appointments")).next is None
    [told] = appointments("r4-appointments")
    held = appointment_of(told)
    assert held and (held.ehr_id, held.state, held.start) == ("a:9", AppointmentState.CANCELLED, SPAN.start)
    assert held.practitioner_ehr_id == "role-11"
    named = [each.actor.identifier for each in told.participant if each.actor.identifier]
    assert named == [Identifier("urn:oid:1.2.752.129.2.1.3.1", "195501131234")]
    assert value_of(told.identifier, OUR_NUMBERS) == "00000000-0000-0000-0000-000000000007"
