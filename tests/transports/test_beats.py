"""When an event stream speaks and when it looks who is there, by a clock that leaps from one due time to the next."""

import asyncio
import selectors
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import pytest

from api.operations import Result
from api.sse import COMMENT, EventStream, StreamRules


class Leaping(selectors.DefaultSelector):
    """Waits for nobody: the time that it was to wait for has passed at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += max(timeout or 0, 0)
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.clock = Leaping()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


async def beats(heartbeat: float, recheck: float, looks: int) -> tuple[list[float], list[float]]:
    """At what times it looked, until it had done so so often, and at what times it spoke."""
    looked: list[float] = []
    spoke: list[float] = []
    now, never = asyncio.get_running_loop().time, asyncio.Event()

    async def still(_: Any) -> bool:
        looked.append(now())
        return len(looked) < looks

    async def receive() -> Any:
        await never.wait()

    async def send(message: Any) -> None:
        if message.get("body") == COMMENT:
            spoke.append(now())

    async def results() -> AsyncGenerator[Result, None]:
        await never.wait()
        yield Result(b"")

    rules = StreamRules(heartbeat=heartbeat, recheck=recheck, still=still)
    context: Any = SimpleNamespace(request_id="r1", languages=("en",))
    await EventStream(results(), context, {}, rules)({}, receive, send)
    return looked, spoke


@pytest.mark.parametrize(("heartbeat", "recheck"), [(12, 20), (12, 30), (12, 12), (20, 12), (12, 12.5), (50, 20)])
def test_both_come_when_they_are_due(heartbeat: float, recheck: float) -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        looked, spoke = runner.run(beats(heartbeat, recheck, looks=11))
    assert looked == pytest.approx([recheck * number for number in range(11)])
    due = [heartbeat * number for number in range(1000) if heartbeat * number < looked[-1]]
    assert spoke == pytest.approx(due)
