"""A commit that nobody heard of may have happened or not: asked again with the same key, everything is done once.

A proxy meets one COMMIT. Either its answer is dropped, after the database has carried it out, or the connection is cut
before the database hears of it.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import make_url, text

from tests import databases
from tests.databases import raw
from tests.living import TopLevelErrors, Town
from tests.proxy import HOST, FaultProxy
from tests.system import on_the_wire
from tests.system.journey import codes, key
from tests.system.on_the_wire import Asked, Operation, Scene, cancel, confirm, is_held, reschedule
from tests.system.test_settling import IHE, Place, both_ehrs, is_free

DONE, UNDONE = "drop_reply", "cut"
INTENT, ANSWER = 1, 2
"""The commits of a request, with the record system's answer between them. Who is seen for the first time, or otherwise
than before, has another one ahead of them."""

INTERNALS = ("asyncpg", "sqlalchemy", "postgres", "connection", "commit", "closed", "reset", "traceback", HOST)
operations = pytest.mark.parametrize("operation", [confirm, reschedule, cancel])


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """SQLite has no wire to go wrong."""
    yield from databases._postgres_copy(request, request.getfixturevalue("filled_postgres"))


@asynccontextmanager
async def behind_a_proxy(town: Town, database: str, place: Place = IHE) -> AsyncIterator[tuple[FaultProxy, Scene]]:
    """The API reaches the database through the proxy, the worker past it."""
    url = make_url(database)
    async with FaultProxy(url.port or 5432) as proxy:
        through = url.set(host=HOST, port=proxy.port).render_as_string(hide_password=False)
        async with on_the_wire.scene(town, place, api=through, worker=database) as scene:
            yield proxy, scene


class LostCommit:
    """The n-th one from now, in whichever connection."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, sent: bytes) -> bool:
        is_commit = b"COMMIT;" in sent  # a transaction begins with READ COMMITTED
        self.left -= is_commit
        return is_commit and self.left == 0


async def fails_masked(asking: Any, proxy: FaultProxy, mode: str, number: int) -> None:
    """The client learns that something broke, and nothing about what."""
    lost = LostCommit(number)
    await proxy.switch(mode, when=lost)
    with pytest.raises(TopLevelErrors) as told:
        await asking()
    await proxy.switch("pass")
    assert lost.left == 0
    [error] = told.value.errors
    assert error["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert not [word for word in INTERNALS if word in str(error).lower()]


async def statuses(database: str) -> list[str]:
    """Of every row, straight from the table."""
    async with raw(database) as connection:
        return [row[0] for row in await connection.execute(text("SELECT status FROM booking ORDER BY created_at"))]


@pytest.mark.parametrize("mode", [DONE, UNDONE])
@pytest.mark.parametrize("signed_in", [True, False], ids=["patient", "visitor"])
async def test_a_hold_is_there_once_and_is_found_again_by_its_key(
    town: Town, database: str, mode: str, signed_in: bool
) -> None:
    async with behind_a_proxy(town, database) as (proxy, scene):
        journey, same = scene.journey, key()
        journey.token = journey.token if signed_in else None
        if signed_in:
            await journey.mine()  # known from now on
        slot = (await journey.slots())[0]
        await fails_masked(lambda: journey.hold(slot["id"], idempotencyKey=same), proxy, mode, INTENT)
        assert await statuses(database) == (["HELD"] if mode == DONE else [])
        again = await journey.hold(slot["id"], idempotencyKey=same)
        assert again["hold"]["slot"]["start"] == slot["start"]
        assert await statuses(database) == ["HELD"]
        assert not await is_free(journey, slot)
        repeated = await journey.hold(slot["id"], idempotencyKey=same)
        assert repeated["hold"]["expiresAt"] == again["hold"]["expiresAt"]


def writes(scene: Scene) -> int:
    return scene.town.calls(scene.place.ehr(scene.town)).get(scene.place.write, 0)


async def rename_the_patient(database: str) -> None:
    """By writing the name where it stood before names were sealed."""
    async with raw(database) as connection:
        renamed = await connection.execute(
            text("UPDATE patient SET name = 'As It Was Before', person_sealed = NULL RETURNING id")
        )
        assert len(renamed.all()) == 1


@pytest.mark.parametrize("mode", [DONE, UNDONE])
async def test_a_sign_in_that_nobody_heard_of_is_as_if_nobody_had_asked(town: Town, database: str, mode: str) -> None:
    async with behind_a_proxy(town, database) as (proxy, scene):
        asked = await confirm(scene)
        before = writes(scene)
        await rename_the_patient(database)  # so that the sign-in has something to write
        await fails_masked(asked.ask, proxy, mode, 1)
        await check_it_is_as_if_nobody_had_asked(scene, asked, before)


@operations
async def test_an_intent_that_nobody_heard_of_is_found_not_to_have_been_carried_out(
    town: Town, database: str, operation: Operation
) -> None:
    async with behind_a_proxy(town, database) as (proxy, scene):
        asked = await operation(scene)
        before = writes(scene)
        await fails_masked(asked.ask, proxy, DONE, INTENT)
        assert codes(await asked.ask()) == ["IN_PROGRESS"]
        await scene.look_too_early()
        await asked.check_taken(scene, asked.times)
        assert writes(scene) == before

        await scene.look_into_it()
        await asked.check_end(scene, done=False)
        assert (await asked.ask())["booking"] is None
        assert writes(scene) == before


@operations
async def test_an_intent_that_was_never_written_down_is_as_if_nobody_had_asked(
    town: Town, database: str, operation: Operation
) -> None:
    async with behind_a_proxy(town, database) as (proxy, scene):
        asked = await operation(scene)
        before = writes(scene)
        await fails_masked(asked.ask, proxy, UNDONE, INTENT)
        await check_it_is_as_if_nobody_had_asked(scene, asked, before)


async def check_it_is_as_if_nobody_had_asked(scene: Scene, asked: Asked, writes_before: int) -> None:
    assert await scene.seen() == asked.untouched
    assert await is_held(scene, asked) == bool(asked.hold)
    assert writes(scene) == writes_before

    assert (await asked.ask())["errors"] == []
    await asked.check_end(scene, done=True)
    assert writes(scene) == writes_before + 1


@both_ehrs
@operations
async def test_an_answer_that_was_written_down_is_given_when_asked_again(
    town: Town, database: str, place: Place, operation: Operation
) -> None:
    async with behind_a_proxy(town, database, place) as (proxy, scene):
        asked = await operation(scene)
        before = writes(scene)
        await fails_masked(asked.ask, proxy, DONE, ANSWER)
        assert await scene.seen() == asked.done
        await check_it_is_answered(scene, asked, before)


@both_ehrs
@operations
async def test_an_answer_that_was_never_written_down_is_read_back(
    town: Town, database: str, place: Place, operation: Operation
) -> None:
    async with behind_a_proxy(town, database, place) as (proxy, scene):
        asked = await operation(scene)
        before = writes(scene)
        await fails_masked(asked.ask, proxy, UNDONE, ANSWER)
        assert (await scene.seen())[1] == asked.done[1]
        assert codes(await asked.ask()) == ["IN_PROGRESS"]
        for slot in asked.taken_if_done:
            assert not await is_free(scene.journey, slot)

        await scene.look_into_it()
        await check_it_is_answered(scene, asked, before)


async def check_it_is_answered(scene: Scene, asked: Asked, writes_before: int) -> None:
    """By the booking that it was about, and without another word to the record system."""
    [own] = await scene.journey.mine("ALL")
    again = await asked.ask()
    assert (again["booking"]["id"], again["errors"]) == (own["id"], [])
    assert writes(scene) == writes_before + 1
    await asked.check_end(scene, done=True)
