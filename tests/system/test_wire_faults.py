"""Whatever happens on the wire while a record system is written to, nobody is told what is not certain.

Reads come through: the fault meets one write of an operation.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.living import Town, fill, seeds
from tests.proxy import HOST, MODES, FaultProxy
from tests.system import on_the_wire
from tests.system.journey import codes
from tests.system.on_the_wire import Asked, Operation, Scene, cancel, confirm, is_held, reschedule
from tests.system.test_settling import IHE, R4, Place, both_ehrs

SHORT = {"book_deadline": 1.0}
"""Only where somebody is silent, who would be for ever. Nothing else comes near the deadlines, which are long."""

DELAY = 0.3


@dataclass(frozen=True)
class Write:
    """A request that changes something there.

    `decides`: it is what the operation is about. `asked_about`: where it is not answered, the record system is asked
    at once what became of it.
    """

    begins: bytes
    holds: bytes = b""
    decides: bool = True
    asked_about: bool = False

    def __call__(self, sent: bytes) -> bool:
        return sent.startswith(self.begins) and self.holds in sent


BOOK = Write(b"POST /Appointment/$book ")
TAKE = Write(b"PUT /Slot/", b'"status":"busy"', decides=False, asked_about=True)
CREATE = Write(b"POST /Appointment ")
CHANGE = Write(b"PUT /Appointment/", asked_about=True)
GIVE_BACK = Write(b"PUT /Slot/", b'"status":"free"')

FIRST = [
    pytest.param(IHE, confirm, BOOK, id="ihe-confirm"),
    pytest.param(IHE, reschedule, BOOK, id="ihe-reschedule"),
    pytest.param(IHE, cancel, BOOK, id="ihe-cancel"),
    pytest.param(R4, confirm, TAKE, id="r4-confirm-slot"),
    pytest.param(R4, reschedule, TAKE, id="r4-reschedule-slot"),
    pytest.param(R4, cancel, CHANGE, id="r4-cancel"),
]
SECOND = [
    pytest.param(R4, confirm, CREATE, id="r4-confirm-appointment"),
    pytest.param(R4, reschedule, CHANGE, id="r4-reschedule-appointment"),
]
first_write = pytest.mark.parametrize(("place", "operation", "write"), FIRST)
every_write = pytest.mark.parametrize(("place", "operation", "write"), [*FIRST, *SECOND])


@asynccontextmanager
async def behind_a_proxy(
    town: Town, database_url: str, place: Place, **changes: Any
) -> AsyncIterator[tuple[FaultProxy, Scene]]:
    async with FaultProxy(place.ehr(town).server.port) as proxy:
        behind = replace(place.ehr(town), url=f"http://{HOST}:{proxy.port}")
        own, _ = seeds(replace(town, norway=behind) if place is IHE else replace(town, sweden=behind))
        await fill(town, database_url, own)
        async with on_the_wire.scene(town, place, api=database_url, worker=database_url, **changes) as scene:
            yield proxy, scene


async def asked_under(mode: str, proxy: FaultProxy, asked: Asked, write: Write) -> dict[str, Any]:
    """The answer to the operation while such writes go wrong; all is well on the wire afterwards."""
    met = 0

    def concerned(sent: bytes) -> bool:
        nonlocal met
        met += write(sent)
        return write(sent)

    await proxy.switch(mode, when=concerned, seconds=DELAY)
    answer = await asked.ask()
    await proxy.switch("pass")
    assert bool(met) == (mode != "full")
    return answer


@every_write
@pytest.mark.parametrize("mode", ["swallow", "hang", "drop_reply", "reset"])
async def test_what_is_not_answered_is_neither_claimed_nor_denied_before_it_is_known(
    town: Town, sqlite_filled_url: str, place: Place, operation: Operation, write: Write, mode: str
) -> None:
    short = SHORT if mode in ("swallow", "hang") else {}
    async with behind_a_proxy(town, sqlite_filled_url, place, **short) as (proxy, scene):
        asked = await operation(scene)
        answer = await asked_under(mode, proxy, asked, write)
        assert answer["errors"] == []
        if write.asked_about and mode in ("drop_reply", "reset"):
            assert answer["booking"]["status"] == (asked.done[0] or ("",))[0]
            return await asked.check_end(scene, done=True)
        await check_it_is_open(scene, asked, answer)
        if mode == "swallow":
            await scene.look_too_early()
            await check_it_is_open(scene, asked, answer)
        await scene.look_into_it()
        await asked.check_end(scene, done=write.decides and mode != "swallow")


async def check_it_is_open(scene: Scene, asked: Asked, answer: dict[str, Any]) -> None:
    """Nothing that was there or may be there is anybody else's, and asking again does not ask the record system."""
    assert answer["booking"]["status"] == "UNKNOWN"
    await asked.check_taken(scene, asked.times)
    before = dict(scene.town.calls(scene.place.ehr(scene.town)))
    again = await asked.ask()
    assert (again["booking"]["id"], again["booking"]["status"]) == (answer["booking"]["id"], "UNKNOWN")
    assert scene.town.calls(scene.place.ehr(scene.town)) == before


@first_write
async def test_what_could_not_be_sent_has_changed_nothing_and_is_done_by_asking_again(
    town: Town, sqlite_filled_url: str, place: Place, operation: Operation, write: Write
) -> None:
    async with behind_a_proxy(town, sqlite_filled_url, place) as (proxy, scene):
        asked = await operation(scene)
        before = scene.appointments()
        assert codes(await asked_under("full", proxy, asked, write)) == ["UPSTREAM_UNAVAILABLE"]
        assert await scene.seen() == asked.untouched
        assert scene.appointments() == before
        assert await is_held(scene, asked) == (operation is not cancel)
        await asked.check_taken(scene, asked.times)

        assert (await asked.ask())["errors"] == []
        await asked.check_end(scene, done=True)
        assert scene.appointments() == before + (operation is confirm)


@pytest.mark.parametrize("operation", [confirm, reschedule])
async def test_a_time_taken_for_nothing_that_cannot_be_given_back_is_not_forgotten(
    town: Town, sqlite_filled_url: str, operation: Operation
) -> None:
    """Neither the second write nor the taking back could be sent, but the first one was."""
    async with behind_a_proxy(town, sqlite_filled_url, R4) as (proxy, scene):
        asked = await operation(scene)
        full: list[asyncio.Task[None]] = []

        def no_more(sent: bytes) -> bool:
            if TAKE(sent):
                full.append(asyncio.create_task(proxy.switch("full")))
            return False

        await proxy.switch("pass", when=no_more)
        answer = await asked.ask()
        assert full
        await proxy.switch("pass")
        await check_it_is_open(scene, asked, answer)
        await scene.look_into_it()
        await asked.check_end(scene, done=False)


@pytest.mark.parametrize("operation", [reschedule, cancel])
@pytest.mark.parametrize("mode", ["cut", "drop_reply"])
async def test_a_time_that_could_not_be_given_back_is_given_back_later(
    town: Town, sqlite_filled_url: str, operation: Operation, mode: str
) -> None:
    async with behind_a_proxy(town, sqlite_filled_url, R4) as (proxy, scene):
        asked = await operation(scene)
        answer = await asked_under(mode, proxy, asked, GIVE_BACK)
        assert answer["booking"]["status"] == (asked.done[0] or ("",))[0]
        await asked.check_end(scene, done=True)


@first_write
async def test_an_answer_that_is_late_but_in_time_is_an_answer(
    town: Town, sqlite_filled_url: str, place: Place, operation: Operation, write: Write
) -> None:
    async with behind_a_proxy(town, sqlite_filled_url, place) as (proxy, scene):
        asked = await operation(scene)
        answer = await asked_under("delay", proxy, asked, write)
        assert answer["booking"]["status"] == (asked.done[0] or ("",))[0]
        await asked.check_end(scene, done=True)


TOLD = {
    "pass": "BOOKED",
    "delay": "BOOKED",
    "close_idle": "BOOKED",
    "refuse": "UPSTREAM_UNAVAILABLE",
    "full": "UPSTREAM_UNAVAILABLE",
    "blackhole": "UNKNOWN",
    "swallow": "UNKNOWN",
    "cut": "UNKNOWN",
    "hang": "UNKNOWN",
    "drop_reply": "UNKNOWN",
    "reset": "UNKNOWN",
}


@pytest.mark.parametrize("mode", MODES)
async def test_only_what_could_not_be_connected_counts_as_not_sent(
    town: Town, sqlite_filled_url: str, mode: str
) -> None:
    """Booking by `$book` begins with the write, so that every mode of the wire meets it."""
    short = SHORT if mode in ("blackhole", "swallow", "hang") else {}
    async with behind_a_proxy(town, sqlite_filled_url, IHE, **short) as (proxy, scene):
        asked = await confirm(scene)
        await proxy.switch(mode, when=BOOK, seconds=DELAY)
        answer = await asked.ask()
        await proxy.switch("pass")
        told = answer["booking"]["status"] if answer["booking"] else codes(answer)[0]
        assert told == TOLD[mode]
        assert await is_held(scene, asked) == (told == "UPSTREAM_UNAVAILABLE")


@both_ehrs
async def test_a_connection_that_was_closed_while_it_was_kept_leaves_nothing_in_doubt(
    town: Town, sqlite_filled_url: str, place: Place
) -> None:
    """Thirty writes, each sent right after the record system has closed what the read before it came through."""
    async with behind_a_proxy(town, sqlite_filled_url, place) as (proxy, scene):
        journey, before = scene.journey, scene.appointments()
        slots = await journey.slots()
        await proxy.switch("close_idle")
        for _ in range(15):
            booked = await journey.booked(slots[0]["id"])
            assert booked["status"] == "BOOKED"
            assert scene.appointments() == (before := before + 1)
            assert (await journey.cancel(booked))["booking"]["status"] == "CANCELLED"
