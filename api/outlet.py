"""One way out to one client: a message at a time, and no endless waiting for a client that stopped reading."""

import asyncio
from collections.abc import Callable

from starlette.types import Message, Send


class Outlet:
    """Sends in turn, so that what waits for a slow client is one message and not one of each operation."""

    def __init__(self, send: Send, patience: float, stalled: Callable[[], None]) -> None:
        """`stalled` is called when one message has waited for `patience` seconds."""
        self._send = send
        self._patience = patience
        self._stalled = stalled
        self._turn = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._since: float | None = None
        self._alarm: asyncio.TimerHandle | None = None

    async def send(self, message: Message) -> None:
        async with self._turn:
            if self._alarm is None:  # one now and then: a timer for each message would cost more than the sending
                self._alarm = self._loop.call_later(self._patience, self._look)
            self._since = self._loop.time()
            try:
                await self._send(message)
            finally:
                self._since = None

    def close(self) -> None:
        """Nothing is watched any more."""
        if self._alarm:
            self._alarm.cancel()

    def _look(self) -> None:
        self._alarm = None
        if self._since is None:
            return
        left = self._since + self._patience - self._loop.time()
        if left > 0:
            self._alarm = self._loop.call_later(left, self._look)
        else:
            self._stalled()
