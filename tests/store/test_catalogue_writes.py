"""Seeds and imports come again and again: what is the same stays the same, byte for byte."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update

from domain.catalogue import ClinicFilter, OfferFilter, PractitionerFilter, Seed, TreatmentFilter
from domain.clinic import Address
from domain.endpoint import Dialect, Endpoint
from domain.pages import PageRequest
from domain.ports import NameTaken
from integrations.store.catalogue import SqlCatalogue
from integrations.store.tables import TENANT, metadata
from integrations.store.tables_catalogue import CLINIC, OFFER, TREATMENT
from tests.databases import raw
from tests.store.making import (
    an_id,
    make_clinic,
    make_import,
    make_offer,
    make_practitioner,
    make_seed,
    make_tenant,
    make_treatment,
)

ALL = PageRequest(size=500)


@pytest.fixture
def catalogue(engine) -> SqlCatalogue:
    return SqlCatalogue(engine)


async def seed(start, *seeds: Seed) -> None:
    for each in seeds:
        async with start(each.tenant.id) as work:
            await work.catalogue.put_seed(each)
            await work.commit()


async def merge(start, tenant_id: str, *imports: Any) -> None:
    async with start(tenant_id) as work:
        for each in imports:
            await work.catalogue.merge(tenant_id, each)
        await work.commit()


async def edit(start, table, id_column, id, edited: Sequence[str], **values: Any) -> None:
    """What the back office does."""
    async with start("nord") as work:
        change = update(table).where(table.c.tenant_id == "nord", id_column == id)
        await work._connection.execute(change.values(edited=tuple(edited), **values))
        await work.commit()


async def dump(engine) -> dict[str, list[Any]]:
    """Every byte of every table, and on PostgreSQL which transaction wrote it."""
    version = ", xmin::text" if engine.dialect.name == "postgresql" else ""
    async with raw(engine) as connection:
        rows = {}
        for table in metadata.sorted_tables:
            names = ", ".join(f'"{column.name}"' for column in table.c)
            order = ", ".join(f'"{column.name}"' for column in table.primary_key)
            found = await connection.execute(text(f'SELECT {names}{version} FROM "{table.name}" ORDER BY {order}'))
            rows[table.name] = [tuple(row) for row in found]
        return rows


async def test_a_second_merge_changes_no_byte(start, engine):
    await seed(start, make_seed("nord"), make_seed("syd"))
    await merge(start, "nord", make_import("nord"))
    before = await dump(engine)
    await seed(start, make_seed("nord"))
    await merge(start, "nord", make_import("nord"), make_import("nord"))
    assert await dump(engine) == before
    assert before["offer"]


async def test_a_merge_touches_no_other_tenant(start, engine):
    await seed(start, make_seed("nord"), make_seed("syd"))
    await merge(start, "syd", make_import("syd"))
    before = await dump(engine)
    await merge(start, "nord", make_import("nord", clinics=1), make_import("nord", clinics=0))

    def of_syd(rows: list[Any]) -> list[Any]:
        return [row for row in rows if row[0] == "syd"]

    assert {t: of_syd(r) for t, r in (await dump(engine)).items()} == {t: of_syd(r) for t, r in before.items()}


async def test_what_the_ehr_changes_is_changed(start, catalogue):
    await seed(start, make_seed("nord"))
    before = make_import("nord")
    address = Address(street="Nygata 2", postal_code=None, city="Bodø", country_code="NO")
    changed = replace(
        before,
        clinics=[replace(before.clinics[0], name="Ærlig", address=address, position=None), before.clinics[1]],
        offers=[replace(before.offers[0], duration=timedelta(minutes=55), price=None), *before.offers[1:]],
    )
    await merge(start, "nord", before, changed)
    assert (await catalogue.clinics("nord", ClinicFilter(search="bodø"), ALL)).items == [changed.clinics[0]]
    assert (await catalogue.clinics("nord", ClinicFilter(), ALL)).items[-1].name == "Ærlig"
    offer_id = changed.offers[0].id
    assert await catalogue.offers_by_id("nord", [offer_id]) == {offer_id: changed.offers[0]}


async def test_edited_fields_survive_and_the_others_follow_the_ehr(start, catalogue):
    await seed(start, make_seed("nord"))
    await merge(start, "nord", make_import("nord"))
    a, offer_id = an_id("C00"), an_id("C00/t00/C00 P0")
    await edit(start, CLINIC, CLINIC.c.id, a, ["name", "address", "about"], name="Ours", street="Vår vei", about={})
    await edit(start, OFFER, OFFER.c.id, offer_id, ["price"], price_amount=None)
    found = make_import("nord")
    address = Address(street="Theirs", postal_code="1", city="Theirs", country_code="NO")
    clinic = replace(found.clinics[0], name="Theirs", address=address, phone="+47 1", about={"nb": "Theirs"})
    offers = [replace(offer, duration=timedelta(minutes=5), price=None) for offer in found.offers]
    await merge(start, "nord", replace(found, clinics=[clinic, found.clinics[1]], offers=offers))
    after = (await catalogue.clinics_by_id("nord", [a]))[a]
    assert (after.name, after.address.street, after.about, after.phone) == ("Ours", "Vår vei", {}, "+47 1")
    offer = (await catalogue.offers_by_id("nord", [offer_id]))[offer_id]
    assert (offer.duration, offer.price.text, offer.price.amount) == (timedelta(minutes=5), {"nb": "390 kr"}, None)
    found_by = await catalogue.clinics("nord", ClinicFilter(search="vår vei"), ALL)
    assert [each.id for each in found_by.items] == [a], "what is searched follows what is shown"


async def test_what_is_gone_is_withdrawn_and_comes_back_as_it_was(start, engine, catalogue):
    await seed(start, make_seed("nord"))
    whole = make_import("nord")
    await merge(start, "nord", whole)
    await merge(start, "nord", make_import("nord", clinics=1, treatments=2))
    assert [c.name for c in (await catalogue.clinics("nord", ClinicFilter(), ALL)).items] == ["C00"]
    assert [t.code for t in (await catalogue.treatments("nord", TreatmentFilter(), ALL)).items] == ["t00", "t01"]
    assert await catalogue.count_practitioners("nord", PractitionerFilter()) == 2
    assert await catalogue.count_offers("nord", OfferFilter()) == 4
    assert await catalogue.clinics_by_slug("nord", [whole.clinics[1].slug]) == {}
    assert await catalogue.treatments_by_code("nord", ["t02"]) == {}
    assert await catalogue.offers_by_id("nord", [whole.offers[-1].id]) == {}
    kept = await catalogue.clinics_by_id("nord", [an_id("C01")])
    assert kept == {an_id("C01"): whole.clinics[1]}, "bookings still refer to it"
    assert set(await catalogue.treatments_by_id("nord", [an_id("t02")])) == {an_id("t02")}
    await merge(start, "nord", whole)
    assert list((await catalogue.clinics("nord", ClinicFilter(), ALL)).items) == list(whole.clinics)
    assert await catalogue.count_offers("nord", OfferFilter()) == len(whole.offers)


async def test_what_the_back_office_switched_off_stays_off(start, catalogue):
    await seed(start, make_seed("nord"))
    await merge(start, "nord", make_import("nord"))
    await edit(start, TREATMENT, TREATMENT.c.id, an_id("t00"), ["active"], active=False)
    await merge(start, "nord", make_import("nord"))
    assert [t.code for t in (await catalogue.treatments("nord", TreatmentFilter(), ALL)).items] == ["t01", "t02"]
    assert {o.treatment.code for o in await catalogue.offerings("nord", OfferFilter())} == {"t01", "t02"}


async def test_two_ehrs_share_a_treatment_and_neither_takes_the_others_words(start, engine, catalogue):
    def at_malar(**more: Any) -> Any:
        return replace(
            make_import("nord", clinics=0, treatments=0),
            endpoint_id="malar",
            clinics=[make_clinic("nord", "Solna", endpoint_id="malar", **more)],
            treatments=[make_treatment("nord", "t00", title={"sv": "Besök", "fi": "Käynti"})],
            practitioners=[make_practitioner("nord", "Åsa", "Solna", endpoint_id="malar")],
            offers=[make_offer("nord", "Solna", "t00", "Åsa", endpoint_id="malar")],
        )

    fjord = make_import("nord", treatments=1)
    fjord = replace(fjord, treatments=[make_treatment("nord", "t00", title={"nb": "Time"})])
    await seed(start, make_seed("nord"))
    await merge(start, "nord", fjord, at_malar())
    before = await dump(engine)
    await merge(start, "nord", fjord, at_malar(), fjord)
    assert await dump(engine) == before
    titles = (await catalogue.treatments_by_code("nord", ["t00"]))["t00"].title
    assert titles == {"nb": "Time", "sv": "Besök", "fi": "Käynti"}
    await merge(start, "nord", make_import("nord", clinics=0, treatments=0))
    assert await catalogue.count_treatments("nord", TreatmentFilter()) == 1, "still offered at the other one"
    await merge(start, "nord", replace(at_malar(), clinics=[], treatments=[], practitioners=[], offers=[]))
    assert await catalogue.treatments_by_code("nord", ["t00"]) == {}


async def test_a_withdrawn_clinic_gives_its_slug_free(start, catalogue):
    await seed(start, make_seed("nord"))
    old, new = make_clinic("nord", "Old", slug="here"), make_clinic("nord", "New", slug="here")
    empty = make_import("nord", clinics=0, treatments=0)
    await merge(start, "nord", replace(empty, clinics=[old]), replace(empty, clinics=[new]))
    assert (await catalogue.clinics_by_slug("nord", ["here"]))["here"].name == "New"


async def test_an_import_cannot_write_into_another_tenant(start):
    await seed(start, make_seed("nord"), make_seed("syd"))
    async with start("nord") as work:
        with pytest.raises(ValueError, match="not all of tenant nord"):
            await work.catalogue.merge("nord", make_import("syd"))


async def test_a_changed_seed_changes_all_but_what_was_edited(start, catalogue):
    await seed(start, make_seed("nord"))
    await edit(start, TENANT, TENANT.c.tenant_id, "nord", ["name"], name="Ours")
    endpoint = Endpoint(tenant_id="nord", id="fjord", dialect=Dialect.IHE, base_url="http://127.0.0.1:1234")
    changed = make_tenant("nord", name="Theirs", phone="+47 2", hosts=("Www.Nord.example", "new.example"))
    await seed(start, make_seed("nord", tenant=changed, endpoints=[endpoint]))
    tenant = await catalogue.tenant(slug="nord")
    assert (tenant.name, tenant.phone) == ("Ours", "+47 2")
    assert tenant.hosts == ("www.nord.example", "new.example")
    assert (await catalogue.endpoints("nord"))[0].base_url == "http://127.0.0.1:1234"


async def test_ids_of_one_tenant_are_free_in_another(start, engine):
    await seed(start, make_seed("nord"), make_seed("syd"))
    await merge(start, "nord", make_import("nord"))
    await merge(start, "syd", make_import("syd"))
    async with raw(engine) as connection:
        pairs = (await connection.execute(select(CLINIC.c.tenant_id, CLINIC.c.id))).all()
    assert len(pairs) == 4 and len({id for _, id in pairs}) == 2


async def test_a_slug_is_another_clinics_by_what_people_edited_too(start, engine):
    """And one that is withdrawn for good is in nobody's way."""
    await seed(start, make_seed("nord"))
    await merge(start, "nord", make_import("nord"))
    here = make_clinic("nord", "M", endpoint_id="malar")
    for slug in ("c00", "ours"):
        await edit(start, CLINIC, CLINIC.c.id, an_id("C01"), ["slug"], slug="ours")
        theirs = replace(make_import("nord", 0, 0, 0), endpoint_id="malar", clinics=[replace(here, slug=slug)])
        with pytest.raises(NameTaken, match=f"hs-C0. of fjord and hs-M of malar would both have the slug {slug}:"):
            await merge(start, "nord", theirs)
    more = make_import("nord")
    await merge(start, "nord", replace(more, clinics=[*more.clinics, make_clinic("nord", "N", slug="c01")]))
    await edit(start, CLINIC, CLINIC.c.id, an_id("C01"), ["slug", "active"], slug="ours", active=False)
    await merge(start, "nord", theirs)
    await merge(start, "nord", make_import("nord"))


async def test_two_clinics_of_one_record_system_with_one_slug_are_told(start):
    await seed(start, make_seed("nord"))
    twins = [make_clinic("nord", name, slug="same") for name in ("A", "B")]
    with pytest.raises(NameTaken, match="hs-A of fjord and hs-B of fjord"):
        await merge(start, "nord", replace(make_import("nord", 0, 0, 0), clinics=twins))
