"""The ground that proofs are made on: real record systems over HTTP, a real store, and a clock that only we move."""

import asyncio
import os
import shutil
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from api.bootstrap.shared import shared_by
from api.bootstrap.wiring import use_cases
from api.settings import Settings
from domain.audit import Actor, ActorKind
from domain.availability import Search
from domain.booking import Booking
from domain.endpoint import News
from domain.national_id import national_id
from domain.patient import Identity, Patient
from domain.ports import EVERY_TENANT
from domain.slot import Slot
from domain.tenant import Tenant
from domain.usecases import UseCases
from domain.usecases.changing import ChangeRequest
from domain.usecases.confirm_booking import ConfirmRequest
from domain.usecases.take_hold import HoldRequest
from integrations.fhir.ehrs import FhirEhrs
from integrations.sandbox.calendar import Calendar
from integrations.sandbox.people import PEOPLE, as_ehr_patients
from integrations.sandbox.world_no import NORWAY
from integrations.sandbox.world_se import SWEDEN
from integrations.store.booking_reads import SqlBookingReads
from integrations.store.booking_rows import booking_of
from integrations.store.catalogue import SqlCatalogue
from integrations.store.engine import Reads, open_engine
from integrations.store.seed import read_seed
from integrations.store.tables_bookings import BOOKING
from tests.living import ROOT, SECRET
from tests.sandbox.conftest import Installation, launch

T = TypeVar("T")

MORNING = datetime(2026, 12, 1, 6, tzinfo=UTC)
"""A Tuesday, before anybody is at work."""

LOGINS = ("kari", "ola", "astrid")
CLINICS = {"ihe": "sentrum-legesenter", "r4": "vasastans-vardcentral"}
TREATMENT = "skin-check"
BOOKING_SYSTEM = "https://itb.example/identifiers/booking"


@dataclass
class MovedClock:
    """Goes on only when it is moved, but for a microsecond at every look: no two things happen at once."""

    moment: datetime = MORNING

    def now(self) -> datetime:
        self.moment += timedelta(microseconds=1)
        return self.moment


@dataclass
class Ground:
    """Both record systems, under one clock."""

    clock: MovedClock
    ihe: Installation
    r4: Installation

    def ehr(self, dialect: str) -> Installation:
        return self.ihe if dialect == "ihe" else self.r4

    def sandbox(self, dialect: str) -> Any:
        return self.ehr(dialect).server.config.app.state.sandbox  # type: ignore[union-attr]

    def reset(self) -> None:
        self.clock.moment = MORNING
        for ehr in (self.ihe, self.r4):
            assert ehr.http.post("/_sandbox/reset").status_code == 204

    def keep(self, folder: Path) -> None:
        """Both calendars as they are, in the files that record systems keep over a restart."""
        for dialect in CLINICS:
            self._on_disk(dialect, folder, lambda calendar: calendar.write())

    def bring_back(self, folder: Path, moment: datetime) -> None:
        """As both were when they were kept, at that moment."""
        self.reset()
        self.clock.moment = moment
        for dialect in CLINICS:
            self._on_disk(dialect, folder, lambda calendar: calendar._load())

    def _on_disk(self, dialect: str, folder: Path, work: Callable[[Calendar], None]) -> None:
        calendar = self.sandbox(dialect).calendar
        calendar.path = folder / f"{dialect}.json"
        work(calendar)
        calendar.path = None

    def fall_silent(self) -> None:
        """Until all is carried out that a process sent before it died, and nobody but us has a connection."""
        for ehr in (self.ihe, self.r4):
            state = ehr.server.server_state
            while True:
                for _ in range(2):  # whoever connected before us is known of by then
                    ehr.get("/_sandbox/calls")
                if len(state.connections) == 1 and not state.tasks:
                    break

    def fault(self, dialect: str, kind: str, operation: str, times: int = 1) -> None:
        sandbox = self.sandbox(dialect)
        sandbox.faults.add({"kind": kind, "operation": operation, "times": times}, sandbox.calendar)

    def after_one(self, dialect: str, kind: str, operation: str) -> None:
        """The fault happens to the second such call."""
        self.fault(dialect, "slow", operation)
        waiting = self.sandbox(dialect).faults.waiting
        waiting[-1].seconds = 0.0
        self.fault(dialect, kind, operation)

    def calm(self) -> None:
        for dialect in CLINICS:
            self.sandbox(dialect).faults.clear()

    def appointments(self, dialect: str) -> list[dict[str, Any]]:
        return list(self.sandbox(dialect).calendar.appointments.values())

    def numbered(self, dialect: str, status: str = "booked") -> dict[UUID, list[dict[str, Any]]]:
        """What stands in the record system under numbers of ours."""
        found: dict[UUID, list[dict[str, Any]]] = {}
        for each in self.appointments(dialect):
            if each["status"] == status and (number := number_on(each)):
                found.setdefault(number, []).append(each)
        return found

    def taken_numbers(self, dialect: str) -> dict[UUID, list[Any]]:
        """Times that are occupied under numbers of ours, whatever Appointment goes with them."""
        found: dict[UUID, list[Any]] = {}
        for each in self.sandbox(dialect).calendar.everything_taken():
            if each.visit:
                found.setdefault(UUID(each.visit), []).append(each)
        return found


def number_on(appointment: dict[str, Any]) -> UUID | None:
    values = [e["value"] for e in appointment.get("identifier", ()) if e.get("system") == BOOKING_SYSTEM]
    return UUID(values[0]) if values else None


def prepared(holds: timedelta | None = None) -> Iterator[Ground]:
    """For a session's fixture: the servers live as long as the test process. `holds`: how long a held time is kept."""
    clock = MovedClock()
    ihe = launch(NORWAY, now=clock.now, people=as_ehr_patients("NO", PEOPLE), holds=holds)
    r4 = launch(SWEDEN, now=clock.now, people=as_ehr_patients("SE", PEOPLE))
    yield Ground(clock, ihe, r4)
    ihe.stop()
    r4.stop()


def settings(url: str, **changes: Any) -> Settings:
    """Real deadlines are long: nothing here is decided by them, for whatever is lost is told at once."""
    remembers_nothing = {"fresh_seconds": 0.0, "stale_seconds": 0.0, "silence_seconds": 0.0}
    return Settings(
        **{
            "secret": SECRET,
            "oidc_issuer": "http://127.0.0.1:9",
            "database_url": url,
            "database_pool": 4,
            "synthetic_people": True,
            "find_deadline": 20.0,
            "look_up_deadline": 20.0,
            **remembers_nothing,
            **changes,
        }
    )


@cache
def engine_at(url: str) -> AsyncEngine:
    """One for each address, kept though its connections are not: what it has compiled, the next life need not."""
    return open_engine(url, pool_size=4)


@dataclass
class Place:
    """The use cases of one process over one database, as a server has them; `reopened` is another process."""

    ground: Ground
    url: str
    runner: asyncio.Runner
    use: UseCases = field(init=False)
    tenant: Tenant = field(init=False)
    people: list[Patient] = field(default_factory=list)

    def open(self) -> None:
        self.engine = engine_at(self.url)
        self._ehrs = FhirEhrs(os.environ)
        chosen = settings(self.url)
        self.use = use_cases(self.engine, self._ehrs, self.ground.clock, chosen, shared_by(chosen))
        self.reads, self.catalogue = SqlBookingReads(self.engine), SqlCatalogue(self.engine)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def close(self) -> None:
        async def close() -> None:
            await self.use.watch_slots.close()
            await self._ehrs.close()
            await self.engine.dispose()

        self.run(close())

    def restart(self) -> None:
        self.close()
        self.open()

    async def know(self) -> None:
        """Who is here, once the database is filled. From now on the record systems are listened to."""
        await self.use.follow_ehrs()
        [tenant] = await self.catalogue.tenants()
        self.tenant = tenant
        known = {person.login: person for person in PEOPLE}
        self.people = [
            (await self.use.sign_in.recognise(tenant, identity_of(known[login], self.ground.clock.now()), "r1")).patient
            for login in LOGINS
        ]
        self.clinics = {d: (await self.catalogue.clinics_by_slug(tenant.id, [s]))[s] for d, s in CLINICS.items()}
        self.treatment = (await self.catalogue.treatments_by_code(tenant.id, [TREATMENT]))[TREATMENT]

    def knows(self, other: "Place") -> None:
        """The same people and clinics as another place over a copy of the same database."""
        self.tenant, self.people, self.clinics, self.treatment = (
            other.tenant,
            other.people,
            other.clinics,
            other.treatment,
        )

    def actor(self, patient: Patient | None) -> Actor:
        return Actor(kind=ActorKind.PATIENT, id=str(patient.id) if patient else None, request_id="proof")

    async def free(self, dialect: str, days: int = 1, moving: Booking | None = None, **more: Any) -> list[Slot]:
        """What a patient is shown; every record system must have answered."""
        today = self.ground.clock.now().date() + timedelta(days=1)
        search = Search(
            treatment_id=self.treatment.id,
            clinic_ids=(self.clinics[dialect].id,),
            first_day=today,
            last_day=today + timedelta(days=days - 1),
            moving=moving,
            **more,
        )
        found = await self.use.find_slots(self.tenant, search, wait_for_fresh=True)
        assert found.complete, found.sources
        return list(found.slots)

    async def hold(self, patient: Patient | None, slot: Slot, **more: Any) -> Booking:
        key = more.pop("key", None) or str(uuid4())
        request = HoldRequest(
            slot=slot,
            scope=str(patient.id) if patient else "anonymous",
            key=key,
            input_hash=more.pop("input_hash", key),
            may_hold=_always,
            **more,
        )
        return await self.use.hold_slot(self.tenant, self.actor(patient), patient, request)

    async def confirm(self, patient: Patient, hold_id: UUID, key: str) -> Booking:
        request = ConfirmRequest(
            hold_id=hold_id,
            scope=str(patient.id),
            key=key,
            input_hash=key,
            terms_version=self.tenant.terms_version,
            sms=False,
        )
        return await self.use.confirm_booking(self.tenant, self.actor(patient), patient, request)

    async def reschedule(self, patient: Patient, booking: Booking, hold_id: UUID, key: str) -> Booking:
        request = self.change(patient, booking, key, hold_id=hold_id)
        return await self.use.reschedule_booking(self.tenant, self.actor(patient), patient, request)

    def change(self, patient: Patient, booking: Booking, key: str, **more: Any) -> ChangeRequest:
        return ChangeRequest(
            booking_id=booking.id,
            expected_version=booking.version,
            scope=str(patient.id),
            key=key,
            input_hash=key,
            **more,
        )

    async def cancel(self, patient: Patient, booking: Booking, key: str) -> Booking:
        request = self.change(patient, booking, key)
        return await self.use.cancel_booking(self.tenant, self.actor(patient), patient, request)

    async def do_jobs(self) -> None:
        """Every job that is due, to its end."""
        while await self.use.run_jobs():
            await self.use.run_jobs.stop(60)

    async def everything(self) -> list[Booking]:
        """Every hold and booking there is."""
        return [booking_of(row) for row in await Reads(self.engine).rows(EVERY_TENANT, select(BOOKING))]


async def _always() -> bool:
    return True


def identity_of(person: Any, now: datetime) -> Identity:
    known = national_id(person.country, person.number, today=now.date())
    return Identity(
        issuer="https://login.example",
        subject=person.login,
        name=person.name,
        birth_date=date.fromisoformat(str(person.birth_date)),
        national_id=known,
        phone=person.phone_at_login,
        email=None,
        language=None,
        authenticated_at=now,
        expires_at=now + timedelta(days=1),
    )


async def fill(ground: Ground, url: str, *, holds: bool = False) -> None:
    """The catalogue of both record systems. `holds`: they are said to keep held times."""
    places = {"EHR_NO": ground.ihe.url, "EHR_SE": ground.r4.url}
    seed = read_seed(ROOT / "integrations" / "sandbox" / "demo.toml", places)
    seed = replace(seed, endpoints=[replace(each, news=News.POLL, holds=holds) for each in seed.endpoints])
    engine, ehrs, chosen = open_engine(url), FhirEhrs(os.environ), settings(url)
    use = use_cases(engine, ehrs, ground.clock, chosen, shared_by(chosen))
    assert await use.import_catalogue(seed) == {}
    await ehrs.close()
    await engine.dispose()


def copied(template: Path, to: Path) -> str:
    """In place of whatever database was there, what a process that died had not yet put into it included."""
    for rest in ("-wal", "-shm"):
        to.with_name(to.name + rest).unlink(missing_ok=True)
    shutil.copyfile(template, to)
    return f"sqlite:///{to}"
