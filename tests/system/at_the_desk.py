"""People who ring their clinic: visits that record systems know of, and this service does not."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any
from uuid import UUID

from api.signing import from_text
from integrations.sandbox.people import crowd
from tests.living import Town
from tests.sandbox.conftest import Installation
from tests.system.watching import at_the_clinic, role_of

SHOWN = """id reference status version start end title comment createdAt calendarUrl
    clinic { slug } practitioner { name } treatment { code } price { text }
    cancellation { allowed until refusal message } rescheduling { allowed until refusal message }
    history { status actor start }"""
LIST = f"""query($when: BookingPeriod!, $first: Int, $after: String, $last: Int, $before: String) {{ viewer {{
    bookings(when: $when, first: $first, after: $after, last: $last, before: $before) {{
      nodes {{ {SHOWN} }} sources {{ state asOf reason clinics {{ slug }} }}
      pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }} }}"""
NODE = f"query($id: ID!) {{ node(id: $id) {{ ... on Booking {{ {SHOWN} }} }} }}"

_places: Iterator[int] = count(60)
"""Past those whom the record systems know; the identity provider has five hundred."""


@dataclass(frozen=True)
class Caller:
    """Somebody whom no other test knows."""

    login: str
    identifier: dict[str, str]


def somebody() -> Caller:
    person = crowd(next(_places) + 1)[-1]
    assert person.number
    return Caller(person.login, {"system": str(person.number_system), "value": person.number})


def rings(town: Town, ehr: Installation, caller: Caller, slot: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The clinic books that time for them; the Appointment as it stands there."""
    start, end = (datetime.fromisoformat(slot[name]) for name in ("start", "end"))
    asked = {
        "role": role_of(town, ehr, slot["practitioner"]["name"]),
        "start": slot["start"],
        "minutes": round((end - start).total_seconds() / 60),
        "patient": caller.identifier,
        "silent": True,
    }
    return at_the_clinic(ehr, "phone-bookings", **{**asked, **more})


def held_by(ehr: Installation, caller: Caller) -> list[dict[str, Any]]:
    """All that the record system has of somebody."""
    asked = {"patient.identifier": "|".join(caller.identifier.values()), "_count": 100}
    return [entry["resource"] for entry in ehr.get("/Appointment", params=asked).get("entry", ())]


def number(booking: dict[str, Any]) -> UUID:
    return UUID(from_text(booking["id"]).decode().partition(":")[2])
