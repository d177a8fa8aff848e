"""The catalogue from two record systems: filled, enriched, and the same after every further import."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import MetaData, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from api.bootstrap import open_house
from integrations.store.engine import open_engine
from tests.databases import raw
from tests.living import OTHER, Town, in_process, seeds


@pytest.fixture
async def engine(filled_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_engine(filled_url)
    yield engine
    await engine.dispose()


async def dump(engine: AsyncEngine) -> dict[str, list[str]]:
    """Every row of every table, as text, in an order of its own."""
    tables = MetaData()
    async with raw(engine) as connection:
        await connection.run_sync(tables.reflect)
        rows = {name: (await connection.execute(select(table))).all() for name, table in tables.tables.items()}
    return {name: sorted(repr(tuple(row)) for row in found) for name, found in rows.items()}


async def import_again(town: Town, url: str) -> list[dict[str, str]]:
    house = open_house(town.settings(url))
    try:
        return [await house.use.import_catalogue(seed) for seed in seeds(town)]
    finally:
        await house.close()


async def test_a_second_import_changes_no_byte(town: Town, filled_url: str, engine: AsyncEngine) -> None:
    before = await dump(engine)
    assert len(before["offer"]) > 100
    assert await import_again(town, filled_url) == [{}, {}]
    assert await dump(engine) == before


async def test_what_people_edited_is_never_overwritten(town: Town, filled_url: str, engine: AsyncEngine) -> None:
    edit = text("UPDATE clinic SET name = 'Vårt navn', edited = :fields WHERE tenant_id = 'nordhelse' AND slug = :slug")
    fields = '["name"]'
    async with raw(engine) as connection:
        if engine.dialect.name == "postgresql":
            edit = text(str(edit).replace(":fields", "CAST(:fields AS jsonb)"))
        await connection.execute(edit, {"fields": fields, "slug": "fana-legesenter"})
    before = await dump(engine)
    await import_again(town, filled_url)
    assert await dump(engine) == before
    assert sum("Vårt navn" in row for row in before["clinic"]) == 1


async def test_a_silent_record_system_keeps_its_part(town: Town, filled_url: str, engine: AsyncEngine) -> None:
    before = await dump(engine)
    town.fault(town.sweden, "down")
    assert await import_again(town, filled_url) == [{"malar": "HTTP 503"}, {"malar": "HTTP 503"}]
    assert await dump(engine) == before


async def test_both_tenants_have_the_same_ids_and_their_own_catalogue(town: Town, sqlite_filled_url: str) -> None:
    query = "{ tenant { name } clinics(first: 50) { totalCount nodes { id name } } }"
    answers: list[dict[str, Any]] = []
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        for slug in ("nordhelse", OTHER):
            answer = await client.http.post("/graphql", json={"query": query}, headers={"X-Tenant": slug})
            answers.append(answer.json()["data"])
    assert [a["tenant"]["name"] for a in answers] == ["Nordhelse", "Annan vård"]
    assert [a["clinics"]["totalCount"] for a in answers] == [8, 8]
    assert {n["id"] for n in answers[0]["clinics"]["nodes"]} == {n["id"] for n in answers[1]["clinics"]["nodes"]}


async def test_the_world_is_as_large_as_promised(town: Town, sqlite_filled_url: str) -> None:
    query = """{ areas { name } clinics(first: 100) { totalCount } treatments(first: 100) { totalCount }
        practitioners(first: 100) { totalCount nodes { name photo { url } } } }"""
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        data = await client(query)
        assert len(data["areas"]) >= 3
        assert data["clinics"]["totalCount"] >= 8
        assert data["treatments"]["totalCount"] >= 12
        assert data["practitioners"]["totalCount"] >= 20
    photos = [node["photo"]["url"] for node in data["practitioners"]["nodes"] if node["photo"]]
    assert len(photos) == data["practitioners"]["totalCount"]
    shown = town.norway.http.get(next(url for url in photos if url.startswith(town.norway.url)))
    assert (shown.status_code, shown.headers["content-type"].partition(";")[0]) == (200, "image/svg+xml")
