"""What a patient asks for while something on the way goes wrong, and what must have become of it in the end."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from api.app import House
from api.bootstrap import open_house
from tests.living import Town, in_process, sign_in
from tests.system.journey import HELD, Journey, apart, at, key
from tests.system.test_journey import appointments, decoded, shown
from tests.system.test_settling import Place, is_free

Slot = dict[str, Any]
State = tuple[str, datetime] | None
NOWHERE: tuple[State, State] = (None, None)


@dataclass(frozen=True)
class Later:
    """A clock that is ahead, so that nobody has to wait for what is due."""

    ahead: timedelta

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass(frozen=True)
class Scene:
    """A patient and a record system; `house` is a worker that works when it is told to."""

    town: Town
    place: Place
    journey: Journey
    house: House

    async def look_too_early(self) -> None:
        """Within the settling time, which is two minutes, though as often as it takes to believe a void."""
        for seconds in (20, 40, 60):
            await self._look(timedelta(seconds=seconds))

    async def look_into_it(self) -> None:
        """Settle whatever was asked: hours after, with every lease and settling time over."""
        for hours in (1, 2, 3):
            await self._look(timedelta(hours=hours))

    async def _look(self, after: timedelta) -> None:
        await replace(self.house.use.reconcile, clock=Later(after))()

    async def tidy_up(self) -> None:
        while await self.house.use.run_jobs():
            await self.house.use.run_jobs.stop(60)

    async def seen(self) -> tuple[State, State]:
        """The one booking, as the patient sees it and as the record system has it."""
        mine = await self.journey.mine("ALL")
        if not mine:
            return NOWHERE
        [own] = mine
        there = appointments(self.place.ehr(self.town), self.place.person).get(decoded(own["id"]))
        return (own["status"], at(own["start"])), shown(there) if there else None

    def appointments(self) -> int:
        return len(appointments(self.place.ehr(self.town), self.place.person))


@asynccontextmanager
async def scene(town: Town, place: Place, *, api: str, worker: str, **changes: Any) -> AsyncIterator[Scene]:
    """`api` and `worker` are the ways of both to the one database."""
    house = open_house(town.settings(worker, **changes))
    async with in_process(town.settings(api, **changes)) as (client, _):
        yield Scene(town, place, Journey(client, place.clinic, token=await sign_in(town, place.login)), house)
    await house.close()


@dataclass(frozen=True)
class Asked:
    """One operation, ready to be asked for as often as one likes under one key.

    `done` and `void` are what patient and record system see in the end where it was carried out, and where it was not;
    `untouched`, where it was never even tried. Of the `times` concerned some are taken then.
    """

    ask: Callable[[], Awaitable[dict[str, Any]]]
    done: tuple[State, State]
    void: tuple[State, State]
    untouched: tuple[State, State]
    times: Sequence[Slot]
    taken_if_done: Sequence[Slot]
    taken_if_void: Sequence[Slot]
    hold: str = ""

    async def check_taken(self, scene: Scene, taken: Sequence[Slot]) -> None:
        """By what strangers are offered, and can hold."""
        for slot in self.times:
            assert await is_free(scene.journey, slot) == (slot not in taken)

    async def check_end(self, scene: Scene, *, done: bool) -> None:
        assert await scene.seen() == (self.done if done else self.void)
        await scene.tidy_up()
        await self.check_taken(scene, self.taken_if_done if done else self.taken_if_void)


Operation = Callable[[Scene], Awaitable[Asked]]


async def confirm(scene: Scene) -> Asked:
    journey, same = scene.journey, key()
    slot = (await journey.slots())[0]
    hold = (await journey.hold(slot["id"]))["hold"]["token"]
    start = at(slot["start"])
    return Asked(
        ask=lambda: journey.confirm(hold, idempotencyKey=same),
        done=(("BOOKED", start), ("booked", start)),
        void=(("FAILED", start), None),
        untouched=NOWHERE,
        times=[slot],
        taken_if_done=[slot],
        taken_if_void=[],
        hold=hold,
    )


async def reschedule(scene: Scene) -> Asked:
    journey, same = scene.journey, key()
    old, new = apart(await journey.slots(), 2)
    booked = await journey.booked(old["id"])
    hold = (await journey.hold(new["id"], movingBookingId=booked["id"]))["hold"]["token"]
    before = ("BOOKED", at(old["start"])), ("booked", at(old["start"]))
    return Asked(
        ask=lambda: journey.reschedule(booked, hold, idempotencyKey=same),
        done=(("BOOKED", at(new["start"])), ("booked", at(new["start"]))),
        void=before,
        untouched=before,
        times=[old, new],
        taken_if_done=[new],
        taken_if_void=[old],
        hold=hold,
    )


async def cancel(scene: Scene) -> Asked:
    journey, same = scene.journey, key()
    slot = (await journey.slots())[0]
    booked, start = await journey.booked(slot["id"]), at(slot["start"])
    before = ("BOOKED", start), ("booked", start)
    return Asked(
        ask=lambda: journey.cancel(booked, idempotencyKey=same),
        done=(("CANCELLED", start), ("cancelled", start)),
        void=before,
        untouched=before,
        times=[slot],
        taken_if_done=[],
        taken_if_void=[slot],
    )


async def is_held(scene: Scene, asked: Asked) -> bool:
    """Is what was to be confirmed or moved to still the patient's to try again?"""
    token = scene.journey.token
    return bool(asked.hold) and bool((await scene.journey.client(HELD, token, token=asked.hold))["hold"])
