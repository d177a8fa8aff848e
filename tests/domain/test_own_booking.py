"""What a patient may do to a visit that was made elsewhere, and where it stands among those made here."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

import pytest

from domain.booking import LONG_AGO, BookingStatus
from domain.clinic import Clinic, ClinicBooking
from domain.endpoint import Dialect, Endpoint
from domain.merging import Place, merged
from domain.offer import Offer
from domain.own_booking import NOT_IN_CATALOGUE, Known, OwnBooking, Stranger
from domain.pages import Page, PageRequest
from domain.patient import Patient
from domain.ports import AppointmentState, EhrAppointment, EhrVisit
from domain.practitioner import Practitioner
from domain.refusals import ChangeRefusal
from domain.rules import RuleValues
from domain.tenant import Tenant
from domain.treatment import Treatment

NOW = datetime(2026, 12, 1, 8, tzinfo=UTC)
START = NOW + timedelta(days=3)
ENDPOINT = Endpoint(tenant_id="nord", id="fjord", dialect=Dialect.IHE, base_url="http://ehr.example")
TENANT = Tenant(id="nord", slug="nord", name="Nord", rules=RuleValues(cancellation_within_hours_of_booking=24))
PATIENT = Patient(
    **{"tenant_id": "nord", "id": UUID(int=9), "name": "Kari", "birth_date": None, "national_id": None},
    **{"phone": None, "email": None, "language": None},
)
CLINIC = Clinic(
    **{"tenant_id": "nord", "id": UUID(int=1), "endpoint_id": "fjord", "ehr_id": "hs-1", "slug": "s", "name": "S"},
    time_zone="Europe/Oslo",
)
TREATMENT = Treatment(tenant_id="nord", id=UUID(int=2), code="skin-check", title={"nb": "Hudsjekk"})
PRACTITIONER = Practitioner(
    **{"tenant_id": "nord", "id": UUID(int=3), "endpoint_id": "fjord", "ehr_id": "r-1", "name": "Ingrid"},
    clinic_id=CLINIC.id,
)
OFFER = Offer(
    **{"tenant_id": "nord", "id": UUID(int=4), "endpoint_id": "fjord", "clinic_id": CLINIC.id},
    **{"treatment_id": TREATMENT.id, "practitioner_id": PRACTITIONER.id, "duration": timedelta(minutes=45)},
)
KNOWN = Known(clinics=[CLINIC], practitioners=[PRACTITIONER], treatments={"skin-check": TREATMENT}, offers=[OFFER])
HELD = EhrAppointment(
    ehr_id="ap:1",
    state=AppointmentState.BOOKED,
    start=START,
    end=START + timedelta(minutes=45),
    practitioner_ehr_id="r-1",
)
VISIT = EhrVisit(held=HELD, clinic_ehr_id="hs-1", service_code="skin-check", title="Kontroll", created=NOW)


def shown(known: Known = KNOWN, endpoint: Endpoint = ENDPOINT, **changes: Any) -> OwnBooking:
    return known.shown(Stranger(endpoint=endpoint, visit=replace(VISIT, **changes)), TENANT, PATIENT)


def cancelling(own: OwnBooking) -> ChangeRefusal | None:
    return own.cancellation(own.booking.rules, NOW).refusal


def test_what_is_known_of_it_is_on_its_clinics_wall() -> None:
    booking = shown().booking
    assert (booking.slot.clinic_id, booking.slot.offer_id) == (CLINIC.id, OFFER.id)
    assert (booking.slot.start, booking.slot.start.hour) == (START, 9)
    assert (booking.made_elsewhere, booking.version, booking.patient_id) == (True, 1, PATIENT.id)


def test_the_same_visit_has_the_same_id_and_no_other_has_it() -> None:
    others = [
        shown(held=replace(HELD, ehr_id="ap:2")),
        shown(endpoint=replace(ENDPOINT, id="malar")),
        shown(endpoint=replace(ENDPOINT, tenant_id="syd")),
    ]
    assert shown().booking.id == shown(held=replace(HELD, start=NOW)).booking.id
    assert len({each.booking.id for each in (shown(), *others)}) == 4


@pytest.mark.parametrize(
    "known",
    [
        replace(KNOWN, offers=[]),
        replace(KNOWN, treatments={}),
        replace(KNOWN, practitioners=[]),
        replace(KNOWN, clinics=[]),
        replace(KNOWN, clinics=[replace(CLINIC, booking=ClinicBooking.EXTERNAL)]),
        replace(KNOWN, practitioners=[replace(PRACTITIONER, endpoint_id="malar")]),
    ],
)
def test_what_is_not_wholly_known_or_not_booked_online_is_the_clinics_to_change(known: Known) -> None:
    own = shown(known)
    assert cancelling(own) is ChangeRefusal.MANAGED_EXTERNALLY
    assert own.rescheduling(own.booking.rules, NOW).refusal is ChangeRefusal.MANAGED_EXTERNALLY
    assert own.elsewhere and own.elsewhere.title == "Kontroll"


def test_a_clinic_that_is_not_named_is_where_its_practitioner_works() -> None:
    assert shown(clinic_ehr_id=None).booking.slot.clinic_id == CLINIC.id
    nowhere = shown(replace(KNOWN, practitioners=[]), clinic_ehr_id=None).booking.slot
    assert (nowhere.clinic_id, nowhere.start.tzinfo) == (NOT_IN_CATALOGUE, START.tzinfo)


def test_the_same_windows_count_as_for_what_was_booked_here() -> None:
    assert cancelling(shown()) is None
    assert cancelling(shown(created=NOW - timedelta(hours=25))) is ChangeRefusal.GRACE_OVER


def test_what_nobody_knows_the_day_of_was_booked_long_ago() -> None:
    own = shown(created=None)
    assert (own.booking.booked_at, own.booking.created_at) == (None, LONG_AGO)
    assert cancelling(own) is ChangeRefusal.GRACE_OVER


def test_what_its_record_system_lets_nobody_change_is_not_changed() -> None:
    own = shown(can_be_cancelled=False)
    assert cancelling(own) is ChangeRefusal.NOT_ALLOWED
    assert own.rescheduling(own.booking.rules, NOW).allowed
    own = shown(can_be_rescheduled=False)
    assert own.rescheduling(own.booking.rules, NOW).refusal is ChangeRefusal.NOT_ALLOWED
    assert own.cancellation(own.booking.rules, NOW).allowed


def test_the_longer_limit_counts_the_visits_or_its_endpoints() -> None:
    day, hour = timedelta(days=1), timedelta(hours=1)
    assert (
        shown(no_change_within=day, endpoint=replace(ENDPOINT, no_change_within=hour)).booking.no_change_within == day
    )
    assert (
        shown(no_change_within=hour, endpoint=replace(ENDPOINT, no_change_within=day)).booking.no_change_within == day
    )


def test_a_silent_record_system_takes_a_right_away_and_no_other_reason() -> None:
    own = replace(shown(), elsewhere=None, is_silent=True)
    assert cancelling(own) is ChangeRefusal.EHR_OFFLINE
    assert own.cancellation(own.booking.rules, NOW).until
    late = replace(own, booking=replace(own.booking, booked_at=LONG_AGO))
    assert cancelling(late) is ChangeRefusal.GRACE_OVER


@pytest.mark.parametrize("state", [AppointmentState.CANCELLED, AppointmentState.FULFILLED, AppointmentState.NO_SHOW])
def test_what_is_over_is_shown_and_not_to_come(state: AppointmentState) -> None:
    stranger = Stranger(endpoint=ENDPOINT, visit=replace(VISIT, held=replace(HELD, state=state)))
    assert not stranger.is_upcoming(NOW)
    own = KNOWN.shown(stranger, TENANT, PATIENT)
    assert own.booking.status is not BookingStatus.BOOKED
    assert cancelling(own) is ChangeRefusal.NOT_ALLOWED


def test_what_has_begun_is_to_come_until_it_ends() -> None:
    stranger = Stranger(endpoint=ENDPOINT, visit=VISIT)
    assert stranger.is_upcoming(HELD.end - timedelta(minutes=1))
    assert not stranger.is_upcoming(HELD.end)


@pytest.mark.parametrize(
    ("descending", "size", "backward"), list(product((False, True), (1, 2, 3, 5, 8, 9), (False, True)))
)
def test_pages_of_two_lists_are_pages_of_one(descending: bool, size: int, backward: bool) -> None:
    places = [Place.at(NOW + timedelta(hours=n // 2), UUID(int=n)) for n in range(8)]  # two at each instant
    ours, others = places[::3], {place: place for place in places if place not in places[::3]}
    whole = sorted(places, reverse=descending)
    request: PageRequest | None = PageRequest(size=size, backward=backward)
    found: list[Place] = []
    while request:
        page = merged(stored(ours, request, descending), others, request, descending=descending)
        found = [*page.items, *found] if backward else [*found, *page.items]
        assert len(found) <= len(whole), "round and round"
        more = page.has_previous if backward else page.has_next
        request = next_of(page, size, backward) if more else None
    assert found == whole


def next_of(page: Page[Place], size: int, backward: bool) -> PageRequest:
    if backward:
        return PageRequest(size=size, before=page.keys[0], backward=True)
    return PageRequest(size=size, after=page.keys[-1])


def stored(ours: list[Place], request: PageRequest, descending: bool) -> Page[Place]:
    """What the store would answer."""
    order = sorted(ours, reverse=descending)
    if request.after:
        order = order[sum(not _beyond(p, Place.of(request.after), descending) for p in order) :]
    if request.before:
        order = [p for p in order if _beyond(Place.of(request.before), p, descending)]
    taken = order[-request.size :] if request.backward else order[: request.size]
    more = len(taken) < len(order)
    return Page(
        items=taken,
        keys=[p.key for p in taken],
        has_next=request.before is not None if request.backward else more,
        has_previous=more if request.backward else request.after is not None,
    )


def _beyond(one: Place, other: Place, descending: bool) -> bool:
    return one < other if descending else one > other


def test_a_page_of_nothing_holds_nothing() -> None:
    others = {Place.at(NOW, UUID(int=1)): "x"}
    for backward in (False, True):
        request = PageRequest(size=0, backward=backward)
        assert merged(Page(items=[], keys=[]), others, request, descending=False).items == []
