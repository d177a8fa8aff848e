"""A process of ours that dies of itself, at a suspension of our choice: no `finally` runs, nothing is told."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

from tests.proof.ground import Place, engine_at


class _Counted(Coroutine[Any, Any, Any]):
    """A coroutine that tells whenever it waits."""

    def __init__(self, inner: Coroutine[Any, Any, Any], waits: Callable[[], None]) -> None:
        self._inner, self._waits = inner, waits

    def send(self, value: Any) -> Any:
        waited_for = self._inner.send(value)
        self._waits()
        return waited_for

    def throw(self, *error: Any) -> Any:
        waited_for = self._inner.throw(*error)
        self._waits()
        return waited_for

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()


class _Dying:
    """SIGKILL at the `after`-th wait of any task."""

    def __init__(self, after: int) -> None:
        self._left = after

    def waits(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def task(self, loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
        return asyncio.Task(_Counted(work, self.waits), loop=loop, **more)


def died(place: Place, work: Callable[[], Awaitable[Any]], after: int) -> bool:
    """Do the work in a child; False when it came to its end before it was to die. `place` must be closed.

    An open database would be taken along by the fork, with locks that the child only believes to have.
    """
    child = os.fork()
    if child == 0:
        os._exit(_child(place, work, after))
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.waitstatus_to_exitcode(status) == 0, "the work failed by itself"
    return False


def _child(place: Place, work: Callable[[], Awaitable[Any]], after: int) -> int:
    try:
        with asyncio.Runner() as runner:
            place.runner = runner
            engine_at.cache_clear()  # a process that has just begun is also interrupted in getting to know its database
            place.open()
            runner.get_loop().set_task_factory(_Dying(after).task)
            runner.run(_done(work))
    except BaseException:
        return 1
    return 0


async def _done(work: Callable[[], Awaitable[Any]]) -> None:
    await work()
