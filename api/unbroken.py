"""What goes on to its end once it has begun, whoever waits for it and leaves."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class GoingOn:
    """Whatever of the kind this process has begun and not ended. The loop alone would let go of such tasks."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """For a server that has waited as long as it may: what is still going on is cut, as any request then is."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Unbroken(Generic[T]):
    """Results that are produced in a task of their own: who waits for one may be cancelled, and `aclose` waits for all.

    So a connection that has ended is over, and its place given back, when what was begun on it is.
    """

    def __init__(self, results: AsyncGenerator[T, None], going_on: GoingOn) -> None:
        self._results = results
        self._going_on = going_on
        self._task: asyncio.Task[list[T]] | None = None
        self._told: Iterator[T] = iter(())

    def __aiter__(self) -> "Unbroken[T]":
        return self

    async def __anext__(self) -> T:
        if self._task is None:
            self._task = self._going_on.begin(self._all())
            self._told = iter(await asyncio.shield(self._task))
        for result in self._told:
            return result
        raise StopAsyncIteration

    async def aclose(self) -> None:
        if self._task:
            await asyncio.wait([self._task])
        await self._results.aclose()

    async def _all(self) -> list[T]:
        return [result async for result in self._results]
