"""What asking record systems takes at least: the same requests over bare aiohttp, with answers that nobody looks into.

A page is asked for when the one before it has come, as its address is known from there.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import aiohttp

from integrations.fhir import client

Floor = dict[str, list[list[Any]]]
"""By the address of the record system: the requests of each question, page by page."""


@contextmanager
def recorded() -> Iterator[Floor]:
    """What is asked of record systems meanwhile."""
    floor: Floor = defaultdict(list)
    questions: dict[Any, list[Any]] = {}
    asks = client.exchange

    async def recording(session: Any, request: Any, deadline: Any) -> Any:
        query = [each for each in request.url.query.items() if each[0] not in ("_offset", "_count")]
        key = (str(request.url.origin()), request.url.path, tuple(sorted(query)))
        if key not in questions:
            floor[key[0]].append(questions.setdefault(key, []))
        questions[key].append(request)
        return await asks(session, request, deadline)

    client.exchange = recording  # type: ignore[assignment]
    try:
        yield floor
    finally:
        client.exchange = asks


async def one_round(session: aiohttp.ClientSession, questions: list[list[Any]]) -> float:
    """Seconds that all these questions take, asked at once."""

    async def pages(requests: list[Any]) -> None:
        for request in requests:
            async with session.get(request.url, headers=request.headers) as response:
                await response.read()

    began = perf_counter()
    await asyncio.gather(*(pages(each) for each in questions))
    return perf_counter() - began
