"""The way out to one client: in turn, and watched only while something waits."""

import asyncio
from typing import Any

from api.outlet import Outlet
from tests.living import until


async def test_messages_wait_for_each_other() -> None:
    begun: list[Any] = []
    taken = asyncio.Event()

    async def send(message: Any) -> None:
        begun.append(message)
        await taken.wait()

    out = Outlet(send, 60, lambda: None)
    sending = [asyncio.create_task(out.send({"n": number})) for number in range(3)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert begun == [{"n": 0}]
    taken.set()
    await asyncio.gather(*sending)
    assert begun == [{"n": number} for number in range(3)]
    out.close()


async def test_who_takes_nothing_is_noticed_once() -> None:
    stalled: list[int] = []
    out = Outlet(lambda message: asyncio.Event().wait(), 0.01, lambda: stalled.append(1))  # type: ignore[arg-type]
    sending = asyncio.create_task(out.send({}))

    async def noticed() -> bool:
        return bool(stalled)

    await until(noticed)
    await asyncio.sleep(0.05)
    assert stalled == [1]
    sending.cancel()
    out.close()


async def test_who_takes_everything_is_never_taken_for_gone() -> None:
    stalled: list[int] = []

    async def send(message: Any) -> None: ...

    out = Outlet(send, 0.01, lambda: stalled.append(1))
    for _ in range(20):
        await out.send({})
        await asyncio.sleep(0.005)
    assert not stalled
    out.close()


async def test_a_message_that_was_given_up_leaves_the_way_free() -> None:
    block = [True]

    async def send(message: Any) -> None:
        if block:
            await asyncio.Event().wait()

    out = Outlet(send, 60, lambda: None)
    given_up = asyncio.create_task(out.send({}))
    await asyncio.sleep(0)
    given_up.cancel()
    block.clear()
    await out.send({})
    out.close()
