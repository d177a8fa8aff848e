"""EHRs and areas that are gone from the seed: nothing is offered there, and what was booked is not lost."""

from dataclasses import replace

import pytest

from domain.catalogue import OfferFilter, PractitionerFilter, TreatmentFilter
from domain.pages import PageRequest
from integrations.store.catalogue import SqlCatalogue
from integrations.store.tables_catalogue import AREA, ENDPOINT
from tests.store.making import an_id, make_import, make_offer, make_seed
from tests.store.test_catalogue_writes import dump, edit, merge, seed

ALL = PageRequest(size=500)
WHOLE = make_seed("nord")
FJORD, MALAR = WHOLE.endpoints
OSLO, BERGEN = WHOLE.areas
WITHOUT_FJORD = replace(WHOLE, endpoints=[MALAR])


@pytest.fixture
def catalogue(engine) -> SqlCatalogue:
    return SqlCatalogue(engine)


async def test_what_is_gone_from_the_seed_is_off_and_comes_back(start, engine, catalogue):
    await seed(start, WHOLE, make_seed("syd"))
    before = await dump(engine)
    less = replace(WHOLE, endpoints=[MALAR], areas=[BERGEN])
    await seed(start, less)
    assert await catalogue.endpoints("nord") == [MALAR]
    assert await catalogue.areas("nord") == [BERGEN]
    assert await catalogue.endpoints("syd") == make_seed("syd").endpoints
    assert await catalogue.areas("syd") == make_seed("syd").areas
    off = await dump(engine)
    await seed(start, less)
    assert await dump(engine) == off
    await seed(start, WHOLE)
    assert await catalogue.endpoints("nord") == [FJORD, MALAR]
    assert await catalogue.areas("nord") == [OSLO, BERGEN]
    assert {table: len(rows) for table, rows in before.items()} == {table: len(rows) for table, rows in off.items()}


async def test_what_was_booked_there_still_finds_its_ehr_and_area(start, catalogue):
    await seed(start, WHOLE, replace(WHOLE, endpoints=[], areas=[]))
    found = await catalogue.endpoints_by_id("nord", ["fjord", "malar", "none"])
    assert found == {"fjord": FJORD, "malar": MALAR}
    assert await catalogue.endpoints_by_id("syd", ["fjord"]) == {}
    assert await catalogue.endpoints_by_id("nord", []) == {}
    assert await catalogue.areas_by_id("nord", [OSLO.id]) == {OSLO.id: OSLO}


async def test_what_the_back_office_switched_stays_as_it_is(start, catalogue):
    await seed(start, WHOLE)
    await edit(start, ENDPOINT, ENDPOINT.c.id, "fjord", ["active"], active=True)
    await edit(start, AREA, AREA.c.id, OSLO.id, ["active"], active=False)
    await seed(start, replace(WHOLE, endpoints=[], areas=[]))
    assert await catalogue.endpoints("nord") == [FJORD]
    assert await catalogue.areas("nord") == []
    await seed(start, WHOLE)
    assert await catalogue.endpoints("nord") == [FJORD, MALAR]
    assert await catalogue.areas("nord") == [BERGEN]


async def test_nothing_is_offered_at_an_ehr_that_is_off(start, catalogue):
    await seed(start, WHOLE)
    found = make_import("nord")
    await merge(start, "nord", found)
    clinic, c = an_id("C00"), catalogue

    async def offered() -> set[int]:
        return {
            len((await c.offers("nord", OfferFilter(), ALL)).items),
            await c.count_offers("nord", OfferFilter()),
            len(await c.offers_by_id("nord", [offer.id for offer in found.offers])),
            len(await c.offerings("nord", OfferFilter())),
        }

    async def shown() -> list[int]:
        return [
            len((await c.treatments("nord", TreatmentFilter(), ALL)).items),
            await c.count_treatments("nord", TreatmentFilter()),
            len((await c.treatments_of_clinics("nord", [clinic], ALL))[clinic].items),
            len((await c.practitioners("nord", PractitionerFilter(), ALL)).items),
            await c.count_practitioners("nord", PractitionerFilter()),
            len((await c.practitioners_of_clinics("nord", [clinic], None, ALL))[clinic].items),
            len((await c.offers_of_clinics("nord", [clinic], None, ALL))[clinic].items),
        ]

    assert (await offered(), await shown()) == ({12}, [3, 3, 3, 4, 4, 2, 6])
    await seed(start, WITHOUT_FJORD)
    assert (await offered(), await shown()) == ({0}, [0] * 7)
    assert await c.practitioners_by_id("nord", [an_id("C00 P0")]), "bookings still refer to them"
    assert await c.treatments_by_id("nord", [an_id("t00")])
    await seed(start, WHOLE)
    assert (await offered(), await shown()) == ({12}, [3, 3, 3, 4, 4, 2, 6])


async def test_an_ehr_that_is_off_takes_nothing_from_the_others(start, catalogue):
    await seed(start, WHOLE)
    fjord = make_import("nord", clinics=1, treatments=1, practitioners=1)
    there = {"endpoint_id": "malar"}
    malar = replace(
        fjord,
        endpoint_id="malar",
        clinics=[replace(each, id=an_id("M"), slug="m", name="M", **there) for each in fjord.clinics],
        practitioners=[
            replace(each, id=an_id("M P"), clinic_id=an_id("M"), name="M P", **there) for each in fjord.practitioners
        ],
        offers=[make_offer("nord", "M", "t00", "M P", **there)],
    )
    await merge(start, "nord", fjord, malar)
    await seed(start, WITHOUT_FJORD)
    assert [each.practitioner.name for each in await catalogue.offerings("nord", OfferFilter())] == ["M P"]
    assert [each.name for each in (await catalogue.practitioners("nord", PractitionerFilter(), ALL)).items] == ["M P"]
    assert [each.code for each in (await catalogue.treatments("nord", TreatmentFilter(), ALL)).items] == ["t00"]
