"""Both adapters, each against an installation of its dialect over real HTTP."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from domain.endpoint import Dialect, Endpoint
from domain.national_id import NationalId, NationalIdKind
from domain.patient import Patient
from domain.ports import Ehr, Found, Visit, Wanted
from domain.slot import FoundTime, Span
from integrations.fhir.ehrs import FhirEhrs
from integrations.sandbox.ehr import EhrServer, create_ehr
from integrations.sandbox.world import World
from integrations.sandbox.world_no import NORWAY
from integrations.sandbox.world_se import SWEDEN

NOW = datetime(2026, 12, 1, 6, tzinfo=UTC)
WEEK = Span(start=NOW, end=NOW + timedelta(days=7))
WORLDS = {Dialect.IHE: NORWAY, Dialect.R4: SWEDEN}
PATIENCE = 8.0
"""For calls that are to succeed: long, since machines are busy."""

KARI = Patient(
    tenant_id="t",
    id=UUID(int=1),
    name="Kari Nordmann",
    birth_date=date(1955, 1, 13),
    national_id=NationalId(
        country="NO", number="13815512300", kind=NationalIdKind.FODSELSNUMMER, birth_date=date(1955, 1, 13)
    ),
    phone="+4799900009",
    email="kari@example.org",
    language="nb",
)


@dataclass
class Lab:
    """One record system, its adapter, and the sandbox's own controls."""

    world: World
    url: str
    endpoint: Endpoint
    admin: httpx2.Client
    ehrs: FhirEhrs = field(default_factory=FhirEhrs)

    @property
    def ehr(self) -> Ehr:
        return self.ehrs.at(self.endpoint)

    @property
    def write(self) -> str:
        """The operation that makes an Appointment."""
        return "book" if self.endpoint.dialect is Dialect.IHE else "appointment-write"

    @property
    def search(self) -> str:
        return "find" if self.endpoint.dialect is Dialect.IHE else "slot-search"

    def set(self, **changes: Any) -> None:
        self.endpoint = replace(self.endpoint, **changes)

    def fault(self, kind: str, operation: str | None = None, **more: Any) -> None:
        asked = {"kind": kind, **({"operation": operation} if operation else {}), **more}
        assert self.admin.post("/_sandbox/faults", json=asked).status_code == 204

    def heal(self) -> None:
        self.admin.delete("/_sandbox/faults")

    def forget_calls(self) -> None:
        self.admin.delete("/_sandbox/calls")

    def calls(self, operation: str, counted: str = "counts") -> int:
        count: int = self.admin.get("/_sandbox/calls").json()[counted].get(operation, 0)
        return count

    def appointments(self) -> list[dict[str, Any]]:
        entries = self.admin.get("/Appointment", params={"_count": 500}).json().get("entry", ())
        return [each["resource"] for each in entries]

    def booked(self) -> list[dict[str, Any]]:
        return [each for each in self.appointments() if each["status"] == "booked"]

    def kept_slots(self, booking_id: UUID) -> list[dict[str, Any]]:
        """Slots that carry our number."""
        asked = {"identifier": f"{self.endpoint.booking_system}|{booking_id}"}
        entries = self.admin.get("/Slot", params=asked).json().get("entry", ())
        return [each["resource"] for each in entries]

    def wanted(self, code: str = "skin-check") -> list[Wanted]:
        length = timedelta(minutes=self.world.treatment_by_code[code].minutes)
        return [
            Wanted(
                practitioner_ehr_id=role.id,
                clinic_ehr_id=role.clinic,
                schedule_ids=(role.schedule,),
                service_code=code,
                duration=length,
            )
            for role in self.world.roles
            if code in role.treatments
        ]

    async def find(
        self, code: str = "skin-check", span: Span = WEEK, deadline: float = PATIENCE, moving: Visit | None = None
    ) -> Found:
        return await self.ehr.find(self.wanted(code), span, deadline, moving=moving)

    async def times(self, code: str = "skin-check", moving: Visit | None = None) -> Sequence[FoundTime]:
        found = await self.find(code, moving=moving)
        assert found.trouble is None, found.trouble.reason
        assert found.times
        return found.times

    def visit(self, time: FoundTime, **changes: Any) -> Visit:
        role = self.world.role_by_id[time.practitioner_ehr_id]
        visit = Visit(
            booking_id=uuid4(),
            ehr_id=None,
            patient=KARI,
            practitioner_ehr_id=role.id,
            practitioner_name=role.name,
            clinic_ehr_id=role.clinic,
            clinic_name=self.world.clinic_by_id[role.clinic].name,
            service_code=time.service_code,
            service_title=time.service_code,
            reference=time.reference,
            start=time.start,
            end=time.end,
            resources=time.resources,
        )
        return replace(visit, **changes)

    async def free_visit(self, code: str = "skin-check", **changes: Any) -> Visit:
        return self.visit((await self.times(code))[0], **changes)

    async def booked_visit(self, code: str = "skin-check") -> Visit:
        visit = await self.free_visit(code)
        return replace(visit, ehr_id=(await self.ehr.book(visit, PATIENCE)).ehr_id)

    async def is_free(self, visit: Visit) -> bool:
        times = await self.times(visit.service_code)
        return any((t.practitioner_ehr_id, t.start) == (visit.practitioner_ehr_id, visit.start) for t in times)


def pair_a_quarter_apart(times: Sequence[FoundTime]) -> tuple[FoundTime, FoundTime]:
    """Two free times of one practitioner that overlap all but a quarter of an hour."""
    by_place = {(each.practitioner_ehr_id, each.start): each for each in times}
    for (role, start), first in by_place.items():
        if later := by_place.get((role, start + timedelta(minutes=15))):
            return first, later
    raise AssertionError("no such pair")


def launch(world: World, **options: Any) -> tuple[EhrServer, threading.Thread]:
    person = {"system": KARI.national_id.system, "value": "13815512300", "name": KARI.name, "phone": "+47 999 00 001"}  # type: ignore[union-attr]
    server = EhrServer(create_ehr(world, now=lambda: NOW, people=[person], **options))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    give_up = time.monotonic() + 20
    while not server.started and time.monotonic() < give_up:
        time.sleep(0.005)
    return server, thread


@pytest.fixture
def running() -> Iterator[list[tuple[EhrServer, threading.Thread]]]:
    servers: list[tuple[EhrServer, threading.Thread]] = []
    yield servers
    for server, thread in servers:
        server.should_exit = True
        thread.join(5)


async def lab_for(
    dialect: Dialect, running: list[tuple[EhrServer, threading.Thread]], **options: Any
) -> AsyncIterator[Lab]:
    running.append(await asyncio.to_thread(partial(launch, WORLDS[dialect], **options)))
    url = f"http://127.0.0.1:{running[-1][0].port}"
    endpoint = Endpoint(tenant_id="t", id="e", dialect=dialect, base_url=url)
    with httpx2.Client(base_url=url, timeout=10) as admin:
        lab = Lab(world=WORLDS[dialect], url=url, endpoint=endpoint, admin=admin)
        yield lab
        await lab.ehrs.close()


@pytest.fixture(params=list(Dialect))
async def lab(request: pytest.FixtureRequest, running: list[tuple[EhrServer, threading.Thread]]) -> AsyncIterator[Lab]:
    """Once for each adapter."""
    async for each in lab_for(request.param, running):
        yield each


@pytest.fixture
async def ihe(running: list[tuple[EhrServer, threading.Thread]]) -> AsyncIterator[Lab]:
    async for each in lab_for(Dialect.IHE, running):
        yield each


@pytest.fixture
async def r4(running: list[tuple[EhrServer, threading.Thread]]) -> AsyncIterator[Lab]:
    async for each in lab_for(Dialect.R4, running):
        yield each
