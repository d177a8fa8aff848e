"""Equal questions at the same time are one question."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Who asks what is being asked already gets that answer; one who leaves takes it from nobody else."""

    def __init__(self) -> None:
        self._under_way: dict[K, asyncio.Task[V]] = {}

    async def __call__(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.ensure_future(self._asked(key, ask))
        return await asyncio.shield(task)

    async def _asked(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        try:
            return await ask()
        finally:
            del self._under_way[key]
