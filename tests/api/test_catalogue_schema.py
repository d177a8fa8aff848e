"""The catalogue through GraphQL: what is described, found, paged, hidden, and in how many statements."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import time, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid5

import pytest
import strawberry
from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLInterfaceType, GraphQLObjectType
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from strawberry.schema.config import StrawberryConfig

from api.errors import Schema
from api.loaders import Loaders
from api.reading import Reads
from api.return_to import return_to_allowed
from api.schema.ids import global_id
from api.schema.root_catalogue import CatalogueQueries
from api.schema.scalars import SCALARS
from api.signing import Signer, to_text
from domain.catalogue import CatalogueImport, Seed
from domain.client import OWN_CLIENT
from domain.clinic import Address, Area, Clinic, GeoPoint, Image, OpeningHours, Weekday
from domain.endpoint import Dialect, Endpoint
from domain.offer import Offer, Price
from domain.practitioner import Practitioner
from domain.rules import RuleValues
from domain.tenant import DisplaySettings, IdentityProvider, PriceDisplay, Tenant
from domain.timing import Timing
from domain.treatment import Treatment
from domain.usecases.see_sources import SeeSources
from integrations.clock import SystemClock
from integrations.fhir.ehrs import FhirEhrs
from integrations.store.booking_reads import SqlBookingReads
from integrations.store.catalogue import SqlCatalogue
from integrations.store.engine import open_engine
from integrations.store.migrate import upgrade
from integrations.store.sealing import Sealing
from integrations.store.work import StartSqlWork

T = "tannhelse"
SIZE = 3


def uid(name: str) -> UUID:
    return uuid5(UUID(int=7), name)


TENANT = Tenant(
    id=T,
    slug=T,
    name="Tannhelse",
    identity_providers=(
        IdentityProvider(id="bankid", name={"nb": "BankID", "en": "BankID (Norway)"}, market="NO"),
        IdentityProvider(id="other", name={"nb": "Annen"}),
    ),
    return_to=("https://tannhelse.example/app",),
    rules=RuleValues(minimum_notice_minutes=1440, minimum_age=16),
)
AREA = Area(tenant_id=T, id=uid("area"), name={"nb": "Oslo og omegn", "en": "Oslo"}, sort_key=1)


def clinic(n: int) -> Clinic:
    return Clinic(
        tenant_id=T,
        id=uid(f"clinic{n}"),
        endpoint_id="ehr",
        ehr_id=f"hs{n}",
        slug=f"klinikk-{n}",
        name=f"Klinikk {n}",
        time_zone="Europe/Oslo",
        area_id=AREA.id,
        address=Address(street=f"Gata {n}", postal_code="0155", city="Oslo", country_code="NO"),
        position=GeoPoint(latitude=59.9 + n / 100, longitude=10.7),
        phone="+4722334455",
        opening_hours=(OpeningHours(weekday=Weekday.MONDAY, opens=time(8), closes=time(16)),),
        about={"nb": "Om oss", "en": "About us"},
        rules=RuleValues(minimum_notice_minutes=60),
    )


def treatment(n: int) -> Treatment:
    return Treatment(tenant_id=T, id=uid(f"treatment{n}"), code=f"T{n}", title={"nb": f"Kontroll {n}"}, sort_key=n)


def practitioner(n: int) -> Practitioner:
    photo = Image(url="https://img.example/p.jpg", width=200, height=200, alt_text={"en": "A portrait"})
    return Practitioner(
        tenant_id=T,
        id=uid(f"practitioner{n}"),
        endpoint_id="ehr",
        ehr_id=f"pr{n}",
        clinic_id=uid(f"clinic{n}"),
        name=f"Kari {n}",
        photo=photo,
    )


def offer(c: int, t: int) -> Offer:
    return Offer(
        tenant_id=T,
        id=uid(f"offer{c}.{t}"),
        endpoint_id="ehr",
        clinic_id=uid(f"clinic{c}"),
        treatment_id=uid(f"treatment{t}"),
        practitioner_id=uid(f"practitioner{c}"),
        duration=timedelta(minutes=45),
        price=Price(text={"nb": "fra 450 kr"}, amount=Decimal("450.00"), currency="NOK"),
    )


N = range(1, SIZE + 1)
IMPORT = CatalogueImport(
    endpoint_id="ehr",
    clinics=[clinic(n) for n in N],
    treatments=[treatment(n) for n in N],
    practitioners=[practitioner(n) for n in N],
    offers=[offer(c, t) for c in N for t in N],
)
Query = strawberry.type(type("Query", (CatalogueQueries,), {}), description="Everything that can be asked.")
SCHEMA = Schema(Query, config=StrawberryConfig(scalar_map=SCALARS))


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    url = f"sqlite:///{tmp_path / 'itb.db'}"
    await upgrade(url)
    engine = open_engine(url)
    endpoint = Endpoint(tenant_id=T, id="ehr", dialect=Dialect.R4, base_url="http://ehr.example")
    async with StartSqlWork(engine, Sealing("s" * 32))(T) as work:
        await work.catalogue.put_seed(Seed(tenant=TENANT, endpoints=[endpoint], areas=[AREA]))
        await work.catalogue.merge(T, IMPORT)
        await work.commit()
    yield engine
    await engine.dispose()


class Api:
    """Asks the schema, over the store, and counts the statements that it takes."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.catalogue, self.reads = SqlCatalogue(engine), SqlBookingReads(engine)
        self.see_sources = SeeSources(
            catalogue=self.catalogue, ehrs=FhirEhrs(), clock=SystemClock(), timing=Timing(look_up=5.0)
        )
        self.statements = 0
        event.listen(engine.sync_engine, "before_cursor_execute", self._count)

    def _count(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self.statements += statement.lstrip().upper().startswith(("SELECT", "WITH"))

    async def __call__(self, query: str, tenant: Tenant = TENANT, language: str = "en", **variables: Any) -> Any:
        self.statements = 0
        context: Any = SimpleNamespace(
            caller=OWN_CLIENT,
            tenant=tenant,
            languages=(language, "nb"),
            catalogue=self.catalogue,
            loaders=Loaders(self.catalogue, self.reads, self.see_sources, tenant.id),
            signer=Signer(b"secret"),
            public_url="https://api.example",
            request_id="r1",
        )
        context.reads = Reads(context)
        return await SCHEMA.execute(query, variables, context_value=context)

    async def data(self, query: str, **more: Any) -> Any:
        result = await self(query, **more)
        assert not result.errors, result.errors
        return result.data

    async def code(self, query: str, **more: Any) -> str:
        result = await self(query, **more)
        assert result.errors, result.data
        return str(result.errors[0].extensions["code"])


@pytest.fixture
async def api(engine: AsyncEngine) -> Api:
    return Api(engine)


async def test_the_overview_of_clinics_is_told_in_the_readers_language(api: Api) -> None:
    query = """{ clinics { totalCount nodes { name about address { formatted } openingHours { weekday opens }
        rules { minimumNotice minimumAge cancellation { combination } } area { name } phone timeZone booking } } }"""
    told = (await api.data(query))["clinics"]
    assert told["totalCount"] == SIZE
    assert told["nodes"][0] == {
        "name": "Klinikk 1",
        "about": "About us",
        "address": {"formatted": "Gata 1, 0155 Oslo"},
        "openingHours": [{"weekday": "MONDAY", "opens": "08:00:00"}],
        "rules": {"minimumNotice": "PT1H", "minimumAge": 16, "cancellation": {"combination": "ANY"}},
        "area": {"name": "Oslo"},
        "phone": "+4722334455",
        "timeZone": "Europe/Oslo",
        "booking": "ONLINE",
    }
    assert (await api.data(query, language="nb"))["clinics"]["nodes"][0]["about"] == "Om oss"


async def test_a_list_is_counted_only_when_asked(api: Api) -> None:
    await api.data("{ clinics { nodes { name } } }")
    assert api.statements == 1
    await api.data("{ clinics { nodes { name } totalCount } }")
    assert api.statements == 2


async def test_what_hangs_on_many_clinics_is_one_statement_a_field(api: Api) -> None:
    query = """{ clinics { nodes { area { name }
        treatments { totalCount edges { duration price { text amount { amount currencyCode } } node { code } } }
        practitioners { totalCount nodes { name clinic { slug } } }
        offers { totalCount nodes { id clinic { name } treatment { title } practitioner { name } } } } } }"""
    first = (await api.data(query))["clinics"]["nodes"][0]
    assert first["treatments"]["totalCount"] == SIZE
    price = {"text": "fra 450 kr", "amount": {"amount": "450.00", "currencyCode": "NOK"}}
    assert first["treatments"]["edges"][0] == {"duration": "PT45M", "price": price, "node": {"code": "T1"}}
    assert first["practitioners"]["nodes"] == [{"name": "Kari 1", "clinic": {"slug": "klinikk-1"}}]
    assert first["offers"]["totalCount"] == SIZE
    # clinics, areas, three lists, three counts, and the clinics, treatments and practitioners that those lead to
    assert api.statements <= 11


async def test_the_whole_relation_is_four_statements(api: Api) -> None:
    query = "{ offers(first: 1000) { nodes { clinic { name } treatment { code } practitioner { name } } } }"
    assert len((await api.data(query))["offers"]["nodes"]) == SIZE * SIZE
    assert api.statements == 4


async def test_clinics_asked_for_differently_are_a_statement_each(api: Api) -> None:
    query = """{ clinics { nodes { a: offers(first: 1) { nodes { id } } b: offers(first: 2) { nodes { id } } } } }"""
    await api.data(query)
    assert api.statements == 3


async def test_aliases_and_nodes_are_batched(api: Api) -> None:
    await api.data('{ a: clinic(slug: "klinikk-1") { name } b: clinic(slug: "klinikk-2") { name } }')
    assert api.statements == 1
    ids = [global_id("Clinic", uid(f"clinic{n}")) for n in N]
    told = await api.data("query ($ids: [ID!]!) { nodes(ids: $ids) { id ... on Clinic { slug } } }", ids=ids)
    assert [node["slug"] for node in told["nodes"]] == [f"klinikk-{n}" for n in N]
    assert api.statements == 1


async def test_a_list_is_paged_through_both_ways(api: Api) -> None:
    query = """query ($first: Int, $after: String, $last: Int, $before: String) {
        clinics(first: $first, after: $after, last: $last, before: $before) {
        edges { cursor node { slug } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
    page = (await api.data(query, first=2))["clinics"]
    assert [edge["node"]["slug"] for edge in page["edges"]] == ["klinikk-1", "klinikk-2"]
    assert page["pageInfo"]["hasNextPage"]
    assert page["pageInfo"]["endCursor"] == page["edges"][-1]["cursor"]
    rest = (await api.data(query, first=2, after=page["pageInfo"]["endCursor"]))["clinics"]
    assert [edge["node"]["slug"] for edge in rest["edges"]] == ["klinikk-3"]
    assert not rest["pageInfo"]["hasNextPage"]
    back = (await api.data(query, last=2, before=rest["pageInfo"]["startCursor"]))["clinics"]
    assert back["edges"] == page["edges"]
    empty = (await api.data(query, first=0))["clinics"]
    assert empty["edges"] == []
    assert empty["pageInfo"]["startCursor"] is None


async def test_a_cursor_of_one_clinics_list_is_not_taken_by_another(api: Api) -> None:
    query = """query ($slug: String!, $after: String) {
        clinic(slug: $slug) { offers(after: $after) { pageInfo { endCursor } } } }"""
    cursor = (await api.data(query, slug="klinikk-1"))["clinic"]["offers"]["pageInfo"]["endCursor"]
    assert (await api(query, slug="klinikk-1", after=cursor)).errors is None
    assert await api.code(query, slug="klinikk-2", after=cursor) == "BAD_USER_INPUT"


async def test_the_nearest_come_first_and_tell_how_far(api: Api) -> None:
    near = {"latitude": 59.93, "longitude": 10.7}
    query = """query ($near: GeoPointInput) { clinics(near: $near, first: 2) { pageInfo { endCursor }
        nodes { slug distance(near: $near) nowhere: distance } } }"""
    told = (await api.data(query, near=near))["clinics"]
    assert [node["slug"] for node in told["nodes"]] == ["klinikk-3", "klinikk-2"]
    assert told["nodes"][0] == {"slug": "klinikk-3", "distance": 0, "nowhere": None}
    cursor = told["pageInfo"]["endCursor"]
    elsewhere = "query ($after: String) { clinics(after: $after, near: {latitude: 1, longitude: 1}) { totalCount } }"
    assert await api.code(elsewhere, after=cursor) == "BAD_USER_INPUT"


async def test_prices_and_photos_are_hidden_where_the_tenant_says_so(api: Api) -> None:
    query = """{ offers { nodes { price(campaignCode: "SUMMER") { text campaignText } practitioner { photo { url
        altText } } } } clinics { nodes { treatments { edges { price { text } } } } } }"""
    shown = await api.data(query)
    assert shown["offers"]["nodes"][0] == {
        "price": {"text": "fra 450 kr", "campaignText": None},
        "practitioner": {"photo": {"url": "https://img.example/p.jpg", "altText": "A portrait"}},
    }
    display = DisplaySettings(prices_on_treatments=PriceDisplay.NEVER, practitioner_photos=False)
    hidden = await api.data(query, tenant=replace(TENANT, display=display))
    assert hidden["offers"]["nodes"][0] == {"price": None, "practitioner": {"photo": None}}
    assert hidden["clinics"]["nodes"][0]["treatments"]["edges"][0]["price"] is None


async def test_nodes_answer_null_for_what_is_not_the_tenants(api: Api) -> None:
    ids = [
        global_id(kind, uid("nobody")) for kind in ("Clinic", "Area", "Treatment", "Practitioner", "Offer", "Tenant")
    ]
    assert (await api.data("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=ids))["nodes"] == [None] * 6
    query = "query ($id: ID!) { node(id: $id) { id __typename } }"
    mine = global_id("Clinic", uid("clinic1"))
    assert (await api.data(query, id=mine))["node"] == {"id": mine, "__typename": "Clinic"}
    assert (await api.data(query, id=mine, tenant=replace(TENANT, id="other")))["node"] is None


async def test_the_tenant_is_a_node_too(api: Api) -> None:
    id = (await api.data("{ tenant { id } }"))["tenant"]["id"]
    told = await api.data("query ($id: ID!) { node(id: $id) { ... on Tenant { name } } }", id=id)
    assert told["node"] == {"name": "Tannhelse"}


NOT_IDS = ["", "x", "Clinic:1", to_text(b"Clinic:1"), to_text(f"Planet:{uid('x')}".encode()), "Q2xpbmlj====", "æ"]


@pytest.mark.parametrize("id", NOT_IDS)
async def test_what_is_no_id_is_bad_input(api: Api, id: str) -> None:
    assert await api.code("query ($id: ID!) { node(id: $id) { id } }", id=id) == "BAD_USER_INPUT"


@pytest.mark.parametrize(
    "field",
    [
        "clinics(first: 501) { totalCount }",
        "clinics(first: -1) { totalCount }",
        'clinics(filter: {areaIds: ["%s"]}) { totalCount }' % global_id("Clinic", uid("x")),  # noqa: UP031
        'clinics(filter: {search: "' + "x" * 101 + '"}) { totalCount }',
        "clinics(near: {latitude: 91, longitude: 0}) { totalCount }",
        "clinics { nodes { distance(near: {latitude: 0, longitude: 181}) } }",
        "offers(first: 1001) { totalCount }",
        "treatments(filter: {clinicIds: [" + ",".join(f'"{n}"' for n in range(201)) + "]}) { totalCount }",
        "nodes(ids: [" + ",".join(f'"{n}"' for n in range(101)) + "]) { id }",
        'clinic(slug: "") { id }',
        'treatment(code: "' + "x" * 201 + '") { id }',
        'tenant { identityProviders { loginUrl(returnTo: "https://evil.example") } }',
        'tenant { identityProviders { loginUrl(returnTo: "no url") } }',
    ],
)
async def test_arguments_that_cannot_be_meant_are_bad_input(api: Api, field: str) -> None:
    assert await api.code(f"{{ {field} }}") == "BAD_USER_INPUT"


async def test_filters_narrow_and_empty_ones_do_not(api: Api) -> None:
    clinic_id = global_id("Clinic", uid("clinic1"))
    query = """query ($id: ID!) { offers(filter: {clinicIds: [$id], treatmentIds: []}) { totalCount }
        practitioners(filter: {clinicIds: [$id]}) { totalCount nodes { name } }
        treatments(filter: {search: "  kontroll 2 "}) { nodes { code } }
        clinics(filter: {booking: [EXTERNAL], search: null}) { totalCount } }"""
    told = await api.data(query, id=clinic_id)
    assert told["offers"]["totalCount"] == SIZE
    assert told["practitioners"] == {"totalCount": 1, "nodes": [{"name": "Kari 1"}]}
    assert [node["code"] for node in told["treatments"]["nodes"]] == ["T2"]
    assert told["clinics"]["totalCount"] == 0


async def test_a_way_to_sign_in_says_whose_people_it_is_for(api: Api) -> None:
    told = await api.data("{ tenant { identityProviders { id countryCode } } }")
    assert told["tenant"]["identityProviders"] == [
        {"id": "bankid", "countryCode": "NO"},
        {"id": "other", "countryCode": None},
    ]


async def test_a_login_link_brings_the_hold_along(api: Api) -> None:
    query = """{ tenant { identityProviders { id name
        loginUrl(returnTo: "https://tannhelse.example/app?step=2", holdToken: "h&1") } } }"""
    provider = (await api.data(query))["tenant"]["identityProviders"][0]
    link = urlsplit(provider["loginUrl"])
    assert provider["name"] == "BankID (Norway)"
    assert f"{link.scheme}://{link.netloc}{link.path}" == "https://api.example/login/bankid"
    assert parse_qs(link.query) == {
        "tenant": [T],
        "returnTo": ["https://tannhelse.example/app?step=2"],
        "holdToken": ["h&1"],
    }


LISTED = replace(TENANT, return_to=("https://clinic.example", "https://other.example/app", "example.clinic.app"))


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://clinic.example", True),
        ("https://clinic.example/", True),
        ("https://clinic.example:8443/x", True),
        ("https://clinic.example?a=b", True),
        ("https://other.example/app/done#x", True),
        ("example.clinic.app:/signed-in", True),
        ("https://clinic.example.attacker.test", False),
        ("https://clinic.example@attacker.test/", False),
        ("https://clinic.example:x@attacker.test/", False),
        ("https://clinic.example:443@attacker.test/", False),
        ("https://clinic.example\\@attacker.test", False),
        ("https://clinic.example/\r\nSet-Cookie: a=b", False),
        ("https://other.example/apple", False),
        ("https://other.example/app/../admin", False),
        ("https://other.example/app/%2e%2e/admin", False),
        ("https://other.example", False),
        ("HTTPS://clinic.example.attacker.test", False),
        ("http://clinic.example", False),
        ("//clinic.example", False),
        ("javascript:alert(1)", False),
        ("", False),
    ],
)
def test_a_login_ends_only_where_the_tenant_says(url: str, allowed: bool) -> None:
    assert return_to_allowed(LISTED, url) is allowed


def test_a_tenant_that_lists_nothing_lets_no_login_end_anywhere() -> None:
    assert not return_to_allowed(replace(TENANT, return_to=("",)), "https://clinic.example")


def described() -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    for name, kind in SCHEMA._schema.type_map.items():
        if name.startswith("__") or name in ("String", "Int", "Float", "Boolean", "ID"):
            continue
        found.append((name, kind.description))
        if isinstance(kind, GraphQLEnumType):
            found += [(f"{name}.{value}", told.description) for value, told in kind.values.items()]
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            for field, told in kind.fields.items():
                found.append((f"{name}.{field}", told.description))
                found += [(f"{name}.{field}.{a}", x.description) for a, x in getattr(told, "args", {}).items()]
    return found


@pytest.mark.parametrize(("place", "description"), described())
def test_everything_is_described_by_more_than_its_name(place: str, description: str | None) -> None:
    assert description, f"{place} has no description"
    name = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", place.replace("_", ""))}
    words = {word.lower() for word in re.findall(r"\w+", description)} - {"the", "a", "an", "of", "its", "this"}
    assert len(words - name) >= 3, f"{place}: {description!r} says little more than the name"
    assert description.endswith((".", ")")), f"{place}: {description!r} is no sentence"


def test_the_printed_schema_keeps_to_the_sketch() -> None:
    printed = str(SCHEMA)
    assert "directive @cost(weight: String!) on" in printed
    assert '@listSize(assumedSize: Int = 20, slicingArguments: [String!] = ["first", "last"]' in printed
    assert re.search(r"\): ClinicConnection! @listSize @cost", printed)
    assert re.search(r"\): ClinicTreatmentConnection! @listSize @requiresScope", printed)
    assert "= null" not in printed
    assert printed.count("@specifiedBy") == printed.count("\nscalar ")
