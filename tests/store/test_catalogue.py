"""Reading what can be booked: filters, pages and look-ups, each one statement whatever the number of clinics."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from domain.catalogue import ClinicFilter, OfferFilter, PractitionerFilter, TreatmentFilter
from domain.clinic import Address, ClinicBooking, GeoPoint
from domain.offer import Price
from domain.pages import PageRequest
from integrations.store.catalogue import SqlCatalogue
from tests.store.making import (
    TENANTS,
    an_id,
    make_clinic,
    make_import,
    make_offer,
    make_practitioner,
    make_seed,
    make_tenant,
)

ALL = PageRequest(size=500)
OSLO, BERGEN = GeoPoint(latitude=59.91, longitude=10.75), GeoPoint(latitude=60.39, longitude=5.32)


@pytest.fixture
def catalogue(engine) -> SqlCatalogue:
    return SqlCatalogue(engine)


async def fill(start, tenant_id="nord", **changes) -> Any:
    found = make_import(tenant_id)
    found = replace(found, **changes)
    async with start(tenant_id) as work:
        await work.catalogue.put_seed(make_seed(tenant_id))
        await work.catalogue.merge(tenant_id, found)
        await work.commit()
    return found


def every_read(catalogue: SqlCatalogue, clinics: int) -> dict[str, Callable[[], Any]]:
    ids = [an_id(f"C{n:02}") for n in range(clinics)]
    t, page = an_id("t00"), PageRequest(size=3)
    c = catalogue
    return {
        "tenant": lambda: c.tenant(slug="nord"),
        "tenants": lambda: c.tenants(),
        "endpoints": lambda: c.endpoints("nord"),
        "endpoints_by_id": lambda: c.endpoints_by_id("nord", ["fjord"]),
        "areas": lambda: c.areas("nord"),
        "areas_by_id": lambda: c.areas_by_id("nord", [an_id("oslo")]),
        "clinics": lambda: c.clinics("nord", ClinicFilter(treatment_ids=(t,), search="c"), page),
        "clinics near": lambda: c.clinics("nord", ClinicFilter(near=OSLO), page),
        "count_clinics": lambda: c.count_clinics("nord", ClinicFilter()),
        "clinics_by_id": lambda: c.clinics_by_id("nord", ids),
        "clinics_by_slug": lambda: c.clinics_by_slug("nord", ["c00", "c01"]),
        "treatments": lambda: c.treatments("nord", TreatmentFilter(clinic_ids=tuple(ids)), page),
        "count_treatments": lambda: c.count_treatments("nord", TreatmentFilter()),
        "treatments_by_id": lambda: c.treatments_by_id("nord", [t]),
        "treatments_by_code": lambda: c.treatments_by_code("nord", ["t00"]),
        "practitioners": lambda: c.practitioners("nord", PractitionerFilter(treatment_ids=(t,)), page),
        "count_practitioners": lambda: c.count_practitioners("nord", PractitionerFilter()),
        "practitioners_by_id": lambda: c.practitioners_by_id("nord", [an_id("C00 P0")]),
        "practitioners_by_ehr_ids": lambda: c.practitioners_by_ehr_ids("nord", ["fjord"], ["B544:C00 P0"]),
        "offers": lambda: c.offers("nord", OfferFilter(clinic_ids=tuple(ids)), page),
        "count_offers": lambda: c.count_offers("nord", OfferFilter()),
        "offers_by_id": lambda: c.offers_by_id("nord", [an_id("C00/t00/C00 P0")]),
        "treatments_of_clinics": lambda: c.treatments_of_clinics("nord", ids, page),
        "count_treatments_of_clinics": lambda: c.count_treatments_of_clinics("nord", ids),
        "practitioners_of_clinics": lambda: c.practitioners_of_clinics("nord", ids, t, page),
        "count_practitioners_of_clinics": lambda: c.count_practitioners_of_clinics("nord", ids, t),
        "offers_of_clinics": lambda: c.offers_of_clinics("nord", ids, t, page),
        "count_offers_of_clinics": lambda: c.count_offers_of_clinics("nord", ids, t),
        "offerings": lambda: c.offerings("nord", OfferFilter(treatment_ids=(t,)), area_ids=[]),
    }


@pytest.mark.parametrize("clinics", [2, 20])
async def test_every_read_is_one_statement(start, catalogue, statements, clinics):
    async with start("nord") as work:
        await work.catalogue.put_seed(make_seed("nord"))
        await work.catalogue.merge("nord", make_import("nord", clinics=clinics, treatments=4))
        await work.commit()
    for name, read in every_read(catalogue, clinics).items():
        with statements() as seen:
            assert await read(), name
        assert len(seen) == 1, (name, seen)


async def test_what_was_imported_comes_back_whole(start, catalogue):
    found = {tenant_id: await fill(start, tenant_id) for tenant_id in TENANTS}
    for t in TENANTS:
        assert list((await catalogue.clinics(t, ClinicFilter(), ALL)).items) == list(found[t].clinics)
        assert list((await catalogue.treatments(t, TreatmentFilter(), ALL)).items) == list(found[t].treatments)
        assert list((await catalogue.practitioners(t, PractitionerFilter(), ALL)).items) == list(found[t].practitioners)
        offers = (await catalogue.offers(t, OfferFilter(), ALL)).items
        assert {offer.id: offer for offer in offers} == {offer.id: offer for offer in found[t].offers}
        assert await catalogue.areas(t) == make_seed(t).areas
        assert await catalogue.endpoints(t) == make_seed(t).endpoints


async def test_no_read_shows_another_tenants_rows(start, catalogue):
    await fill(start, "syd")
    await fill(start, "nord", clinics=[], treatments=[], practitioners=[], offers=[])
    for name, read in every_read(catalogue, 2).items():
        if name in ("tenant", "tenants", "endpoints", "endpoints_by_id", "areas", "areas_by_id"):
            continue
        answer = await read()
        if hasattr(answer, "values"):
            answer = [each for each in answer.values() if getattr(each, "items", each)]
        assert not getattr(answer, "items", answer), name


async def test_a_tenant_is_found_by_its_slug_and_all_are_told_with_their_hosts(start, catalogue):
    assert await catalogue.tenant(slug="nord") == make_tenant("nord")
    assert await catalogue.tenant(slug="elsewhere") is None
    assert await catalogue.tenants() == [make_tenant("nord"), make_tenant("syd")]


@pytest.mark.parametrize("search", ["GRÜNERLØKKA", "grünerløkka", "Ødegårds GATE", "ÅLESUND", "løkka åle", "100%"])
async def test_search_finds_name_street_and_town_in_any_case(start, catalogue, search):
    address = Address(street="Ødegårds gate 100%", postal_code="6002", city="Ålesund", country_code="NO")
    wanted = make_clinic("nord", "Grünerløkka", address=address)
    await fill(start, clinics=[wanted, make_clinic("nord", "Other")], treatments=[], practitioners=[], offers=[])
    found = await catalogue.clinics("nord", ClinicFilter(search=search), ALL)
    assert found.items == [wanted]
    assert await catalogue.count_clinics("nord", ClinicFilter(search=search)) == 1


@pytest.mark.parametrize("search", ["%", "_", "nowhere", "Oslo Bergen"])
async def test_search_finds_nothing_else(start, catalogue, search):
    await fill(start)
    assert await catalogue.count_clinics("nord", ClinicFilter(search=search)) == 0


async def test_clinics_by_area_booking_and_treatment(start, catalogue):
    base = make_import("nord")
    a = replace(base.clinics[0], area_id=an_id("oslo"), booking=ClinicBooking.EXTERNAL)
    b = replace(base.clinics[1], area_id=an_id("bergen"))
    await fill(start, clinics=[a, b], offers=[o for o in base.offers if o.clinic_id == a.id])

    async def named(**where) -> list[str]:
        page = await catalogue.clinics("nord", ClinicFilter(**where), ALL)
        assert await catalogue.count_clinics("nord", ClinicFilter(**where)) == len(page.items)
        return [clinic.name for clinic in page.items]

    assert await named() == ["C00", "C01"]
    assert await named(area_ids=(an_id("bergen"),)) == ["C01"]
    assert await named(booking=(ClinicBooking.EXTERNAL, ClinicBooking.CLOSED)) == ["C00"]
    assert await named(treatment_ids=(an_id("t01"),)) == ["C00"]
    assert await named(area_ids=(an_id("bergen"),), treatment_ids=(an_id("t01"),)) == []
    offerings = await catalogue.offerings("nord", OfferFilter(), area_ids=[an_id("oslo")])
    assert {offering.clinic.name for offering in offerings} == {"C00"}


async def test_near_sorts_by_distance_and_pages_both_ways(start, catalogue):
    places = {"Fana": GeoPoint(latitude=60.3, longitude=5.3), "Bryggen": BERGEN, "Oslo": OSLO, "Nowhere": None}
    clinics = [make_clinic("nord", name, position=position) for name, position in places.items()]
    await fill(start, clinics=clinics, treatments=[], practitioners=[], offers=[])
    where = ClinicFilter(near=BERGEN)
    whole = await catalogue.clinics("nord", where, ALL)
    assert [clinic.name for clinic in whole.items] == ["Bryggen", "Fana", "Oslo", "Nowhere"]
    first = await catalogue.clinics("nord", where, PageRequest(size=3))
    rest = await catalogue.clinics("nord", where, PageRequest(size=3, after=first.keys[-1]))
    assert (first.has_next, rest.has_next, rest.has_previous) == (True, False, True)
    assert [*first.items, *rest.items] == whole.items
    last = await catalogue.clinics("nord", where, PageRequest(size=2, backward=True))
    assert [clinic.name for clinic in last.items] == ["Oslo", "Nowhere"]
    assert last.has_previous


async def walked(read, size: int, backward: bool) -> list[Any]:
    """A whole list, page by page."""
    items: list[Any] = []
    page = await read(PageRequest(size=size, backward=backward))
    while True:
        assert len(page.items) <= size
        items = [*page.items, *items] if backward else [*items, *page.items]
        if not (page.has_previous if backward else page.has_next):
            return items
        place = {"before": page.keys[0]} if backward else {"after": page.keys[-1]}
        page = await read(PageRequest(size=size, backward=backward, **place))


@pytest.mark.parametrize("backward", [False, True])
async def test_pages_meet_without_gap_or_overlap(start, catalogue, backward):
    async with start("nord") as work:
        await work.catalogue.put_seed(make_seed("nord"))
        found = make_import("nord", clinics=5, treatments=4)
        # Equal names: only the id tells them apart.
        found = replace(found, practitioners=[replace(each, name="Same") for each in found.practitioners])
        await work.catalogue.merge("nord", found)
        await work.commit()
    c, clinic = catalogue, an_id("C03")

    async def of_clinic(read, page, *more) -> Any:
        return (await read("nord", [an_id("C00"), clinic], *more, page))[clinic]

    for read in (
        lambda page: c.clinics("nord", ClinicFilter(), page),
        lambda page: c.treatments("nord", TreatmentFilter(), page),
        lambda page: c.practitioners("nord", PractitionerFilter(), page),
        lambda page: c.offers("nord", OfferFilter(), page),
        lambda page: of_clinic(c.treatments_of_clinics, page),
        lambda page: of_clinic(c.practitioners_of_clinics, page, None),
        lambda page: of_clinic(c.offers_of_clinics, page, None),
    ):
        whole = list((await read(ALL)).items)
        assert len(whole) > 1
        for size in (1, 3):
            assert await walked(read, size, backward) == whole


async def test_a_clinics_treatment_has_the_shortest_duration_and_the_lowest_price(start, catalogue):
    def priced(name: str, amount: str | None, minutes: int) -> Any:
        price = Price(text={"nb": "pris"}, amount=Decimal(amount) if amount else None, currency="NOK")
        return make_offer("nord", "C00", "t00", name, price=price, duration=timedelta(minutes=minutes))

    people = [make_practitioner("nord", f"C00 P{n}", "C00") for n in range(3)]
    offers = [priced("C00 P0", "1000", 30), priced("C00 P1", "400.50", 45), priced("C00 P2", None, 15)]
    await fill(start, practitioners=people, offers=offers)
    pages = await catalogue.treatments_of_clinics("nord", [an_id("C00"), an_id("C01")], ALL)
    (only,) = pages[an_id("C00")].items
    assert only.duration == timedelta(minutes=15)
    assert only.cheapest.price.amount == Decimal("400.50")
    assert only.treatment.code == "t00"
    assert pages[an_id("C01")].items == []
    counts = await catalogue.count_treatments_of_clinics("nord", [an_id("C00"), an_id("C01")])
    assert counts == {an_id("C00"): 1, an_id("C01"): 0}


async def test_practitioners_by_clinic_and_treatment(start, catalogue):
    base = make_import("nord")
    await fill(start, offers=[o for o in base.offers if o.practitioner_id != an_id("C00 P1")])
    where = PractitionerFilter(clinic_ids=(an_id("C00"),), treatment_ids=(an_id("t00"),))
    assert [p.name for p in (await catalogue.practitioners("nord", where, ALL)).items] == ["C00 P0"]
    pages = await catalogue.practitioners_of_clinics("nord", [an_id("C00"), an_id("C01")], an_id("t00"), ALL)
    assert [p.name for p in pages[an_id("C00")].items] == ["C00 P0"]
    assert [p.name for p in pages[an_id("C01")].items] == ["C01 P0", "C01 P1"]
    counts = await catalogue.count_practitioners_of_clinics("nord", list(pages), an_id("t00"))
    assert list(counts.values()) == [1, 2]


async def test_treatments_are_searched_in_every_language_and_offered_somewhere(start, catalogue):
    base = make_import("nord")
    await fill(start, offers=[o for o in base.offers if o.treatment_id != an_id("t02")])

    async def codes(**where) -> list[str]:
        page = await catalogue.treatments("nord", TreatmentFilter(**where), ALL)
        assert await catalogue.count_treatments("nord", TreatmentFilter(**where)) == len(page.items)
        return [treatment.code for treatment in page.items]

    assert await codes() == ["t00", "t01"]
    assert await codes(search="PÅ SVENSKA") == ["t00", "t01"]
    assert await codes(search="t01 NORSK") == ["t01"]
    assert await codes(clinic_ids=(an_id("nowhere"),)) == []


async def test_offerings_carry_all_four(start, catalogue):
    found = await fill(start)
    offerings = await catalogue.offerings("nord", OfferFilter(practitioner_ids=(an_id("C01 P0"),)))
    assert [offering.treatment for offering in offerings] == list(found.treatments)
    for offering in offerings:
        assert offering.clinic == found.clinics[1]
        assert offering.practitioner.name == "C01 P0"
        assert offering.offer in found.offers
