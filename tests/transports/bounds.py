"""How soon something ends, counted in what the server answers meanwhile: a busy machine is slow in both.

A patience of a minute would take a closing that came from the settings' defaults, of half a minute, for one in time.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import httpx2

T = TypeVar("T")

SHORT = 0.2
"""Seconds; what is looked at so often has to end within SOON turns."""

SOON = 50
LONG = 30
"""Turns of a tenth of a second and an answer: on a quiet machine 5 s, half of the least default, and 15 times SHORT."""


async def ends_soon(url: str, ending: Coroutine[Any, Any, T]) -> T:
    """What comes of it; the server is the one at that URL."""
    task = asyncio.create_task(ending)
    assert await _ends(url, task, SOON), "it goes on"
    return await task


async def goes_on(url: str, ending: Coroutine[Any, Any, object]) -> None:
    """That it does not end for a long time."""
    task = asyncio.create_task(ending)
    assert not await _ends(url, task, LONG), f"it ended: {task}"


async def _ends(url: str, task: "asyncio.Task[Any]", turns: int) -> bool:
    """Within so many turns; what does not is given up."""
    try:
        async with httpx2.AsyncClient(base_url=url, timeout=120) as http:
            for _ in range(turns):
                await asyncio.wait([task], timeout=0.1)
                if task.done():
                    return True
                assert (await http.get("/")).status_code == 200
        return False
    finally:
        task.cancel()
        await asyncio.wait([task])
