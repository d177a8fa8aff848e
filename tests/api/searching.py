"""Searches for free times as a frontend would send them, and changes to the catalogue that only the store can make."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from sqlalchemy import Table, update

from integrations.store.engine import open_engine
from tests.databases import raw
from tests.living import Client

SLOT = "id start end clinic { id slug timeZone } practitioner { id name }"
FIND = f"""query($search: AvailabilitySearch!, $hold: String) {{
  availability(search: $search, holdToken: $hold) {{
    complete asOf sources {{ state asOf reason clinics {{ slug }} }}
    days {{ date slotCount first {{ id start }} }}
    nextAvailable {{ id start }}
    slots(first: 500) {{ nodes {{ {SLOT} }} pageInfo {{ hasNextPage }} }}
  }} }}"""
IDS = """query($treatment: String!) { treatment(code: $treatment) { id } areas { id name }
    clinics(first: 50) { nodes { id slug } } }"""


def day(days_on: int) -> str:
    return (datetime.now(UTC).date() + timedelta(days=days_on)).isoformat()


async def search_for(
    client: Client,
    treatment: str = "skin-check",
    *clinics: str,
    first: int = 2,
    last: int = 4,
    **more: Any,
) -> dict[str, Any]:
    """A search from so many days on to so many; no clinic named leaves them open."""
    known = await client(IDS, treatment=treatment)
    ids = {clinic["slug"]: clinic["id"] for clinic in known["clinics"]["nodes"]}
    asked = {"treatmentId": known["treatment"]["id"], "from": day(first), "to": day(last)}
    return {**asked, "clinicIds": [ids[slug] for slug in clinics], **more}


async def find(client: Client, search: dict[str, Any], hold: str | None = None) -> dict[str, Any]:
    data = await client(FIND, search=search, hold=hold)
    found: dict[str, Any] = data["availability"]
    return found


def shown(found: dict[str, Any]) -> list[dict[str, Any]]:
    slots: list[dict[str, Any]] = found["slots"]["nodes"]
    return slots


def told(found: dict[str, Any]) -> dict[str, str]:
    """Each clinic's state, as the sources tell it."""
    return {clinic["slug"]: source["state"] for source in found["sources"] for clinic in source["clinics"]}


def in_order(items: list[Any]) -> bool:
    return all(one <= other for one, other in pairwise(items))


async def change(database_url: str, table: Table, where: dict[str, Any], **values: Any) -> None:
    """What the back office or an administrator would do to rows of the first tenant's catalogue."""
    engine = open_engine(database_url)
    matching = (table.c[name] == value for name, value in {"tenant_id": "nordhelse", **where}.items())
    async with raw(engine) as connection:
        changed = await connection.execute(update(table).where(*matching).values(values))
        assert changed.rowcount >= 1
    await engine.dispose()
