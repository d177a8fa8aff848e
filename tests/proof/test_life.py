"""No booking lost, doubled or offered in vain: random lives, over the real use cases, store and record systems."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from domain.audit import Actor
from domain.booking import Booking, BookingStatus
from domain.endpoint import Endpoint
from domain.ports import EhrUnavailable
from domain.refusals import RefusalCode
from domain.usecases.confirm_booking import ConfirmBooking
from domain.usecases.reconcile import Reconcile
from integrations.store.roles import check_role
from tests import databases
from tests.proof.ground import Ground, Place, copied
from tests.proof.machine import Broken, Life

LIVES = 500
LIVES_ON_POSTGRES = 30
PARTS = 5
"""Lives are lived in so many tests, for several processes to share."""

_numbers = count(1)
Begin = Callable[[asyncio.Runner], Place]


def on_sqlite(ground: Ground, template: Path, folder: Path) -> Begin:
    """Each life has a copy of the filled database, signed in to already, and record systems that begin afresh."""
    with asyncio.Runner() as runner:
        first = Place(ground, copied(template, folder / "first.db"), runner)
        first.open()
        first.run(first.know())
        first.close()

    def begin(runner: asyncio.Runner) -> Place:
        ground.reset()
        place = Place(ground, copied(folder / "first.db", folder / "life.db"), runner)
        place.open()
        place.knows(first)
        return place

    return begin


@contextmanager
def on_postgres(ground: Ground, server: str, template: str, role: str, worker: str) -> Iterator[Begin]:
    """As the server's role, under row-level security, which is on before a life begins."""
    names: list[str] = []

    def begin(runner: asyncio.Runner) -> Place:
        ground.reset()
        names.append(f"{worker}_life_{next(_numbers)}")
        databases._apart(databases._execute(server, f'CREATE DATABASE "{names[-1]}" TEMPLATE "{template}"'))
        place = Place(ground, databases.as_role(databases._named(server, names[-1]), role), runner)
        place.open()
        place.run(check_role(place.engine))
        place.run(place.know())
        return place

    try:
        yield begin
    finally:  # or a failing life's database would keep its role from being dropped
        for name in names:
            databases._apart(databases._execute(server, f'DROP DATABASE "{name}" WITH (FORCE)'))


def live(begin: Begin, lives: int, number: int = 0, bug: Callable[[Place], None] | None = None) -> None:
    """So many lives of thirty steps each, the same ones whenever the number is the same."""
    own: dict[str, Any] = {"begin": staticmethod(begin)}
    if bug:
        own["bug"] = staticmethod(bug)
    chosen = settings(
        max_examples=lives,
        stateful_step_count=30,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        report_multiple_bugs=False,
    )
    run_state_machine_as_test(seed(number)(type("OneLife", (Life,), own)), settings=chosen)


@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_happens_no_booking_is_lost_or_doubled(
    ground: Ground, sqlite_ground: Path, tmp_path: Path, part: int
) -> None:
    live(on_sqlite(ground, sqlite_ground, tmp_path), LIVES // PARTS, part)


def test_nor_is_any_on_postgresql(
    ground: Ground, postgres_server: str, postgres_ground: str, server_role: str, worker_name: str
) -> None:
    with on_postgres(ground, postgres_server, postgres_ground, server_role, worker_name) as begin:
        live(begin, LIVES_ON_POSTGRES, number=PARTS)


class ReleasesOnTimeout(ConfirmBooking):
    """A fault: no answer is taken for a no."""

    async def _unanswered(self, booking: Booking, outage: EhrUnavailable, actor: Actor) -> Booking:
        failed = booking.answered(BookingStatus.FAILED, failure=RefusalCode.SLOT_TAKEN.value)
        return await self._settle(failed, actor)


class BelievesAtOnce(Reconcile):
    """A fault: finding nothing is believed the first time, without any settling time."""

    def _void_is_believed(self, booking: Booking, endpoint: Endpoint) -> bool:
        return True


def instead(place: Place, name: str, kind: type[Any]) -> None:
    right = getattr(place.use, name)
    wrong = kind(**{f.name: getattr(right, f.name) for f in fields(right)})
    place.use = type(place.use)(**{f.name: getattr(place.use, f.name) for f in fields(place.use)} | {name: wrong})


@pytest.mark.parametrize(
    ("name", "kind"),
    [("confirm_booking", ReleasesOnTimeout), ("reconcile", BelievesAtOnce)],
    ids=["release the hold on timeout", "no settling time"],
)
def test_such_lives_find_a_fault_of_ours(
    ground: Ground, sqlite_ground: Path, tmp_path: Path, name: str, kind: type[Any]
) -> None:
    with pytest.raises(Broken, match="FAILED"):
        live(on_sqlite(ground, sqlite_ground, tmp_path), LIVES, bug=lambda place: instead(place, name, kind))
