"""GraphQL over server-sent events, one operation a request (graphql-sse, "distinct connections mode")."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from api.accept import EVENTS
from api.context import Context
from api.errors import CodedError
from api.operations import Results, failed
from api.outlet import Outlet
from api.standing import Still, everybody_stays, what_ended, what_ended_before

log = logging.getLogger(__name__)

# Lines end in LF alone: urql looks for two of them in a row, and never finds an event among CRLFs.
COMPLETE = b"event: complete\ndata:\n\n"
COMMENT = b":\n\n"


@dataclass(frozen=True, kw_only=True)
class StreamRules:
    """In seconds: how long a line may be silent, a client not read, and a signed-in one not be looked at again; and how
    long a stream may last: it then ends as if it were cut, and the client comes back."""

    heartbeat: float = 12
    send_timeout: float = 10
    recheck: float = 20
    longest: float = 8 * 3600
    still: Still = everybody_stays


class EventStream(Response):
    """Each result as `next`, then `complete`. Whatever ends it, the results are closed before it is over.

    A request that is refused before execution is told as `next` too, with status 200, as graphql-sse demands: with any
    other status its client takes the answer for a failure of the network and reads no errors. urql shows both alike.
    """

    media_type = EVENTS

    def __init__(
        self,
        results: Results,
        context: Context,
        headers: Mapping[str, str],
        rules: StreamRules,
        leave: Callable[[], None] = lambda: None,
        *,
        lasting: bool = True,
    ) -> None:
        """`leave` is called when all is over. What is not `lasting` has one result and is soon over by itself: it is
        told as over JSON, whoever has ended meanwhile, for what a mutation has done is done.
        """
        self.status_code = 200
        self.background = None
        self.init_headers({**headers, "Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._results = results
        self._context = context
        self._rules = rules
        self._leave = leave
        self._lasting = lasting
        self._stalled = False
        self._sending: asyncio.Task[None] | None = None
        self._ended_before: asyncio.Future[CodedError | None] = asyncio.get_running_loop().create_future()

    def stop(self) -> None:
        """Without `complete`, so that the client comes back: to another server, when this one is told to end."""
        if self._lasting:
            self._cut()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._run(receive, send)
        finally:
            self._leave()

    async def _run(self, receive: Receive, send: Send) -> None:
        out = Outlet(send, self._rules.send_timeout, self._give_up)
        self._sending = asyncio.create_task(self._send_results(out))
        tasks = [self._sending, asyncio.create_task(self._beat(out)), asyncio.create_task(_gone(receive))]
        try:
            await asyncio.wait(tasks, timeout=self._rules.longest, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            out.close()
            await self._results.aclose()
        if not self._stalled:
            await send({"type": "http.response.body", "body": b""})

    def _give_up(self) -> None:
        self._stalled = True
        self._cut()

    def _cut(self) -> None:
        if self._sending:
            self._sending.cancel()

    async def _send_results(self, out: Outlet) -> None:
        # Who is there before the first result is who has to be there later.
        ended = await what_ended_before(self._rules.still, self._context) if self._lasting else None
        self._ended_before.set_result(ended)
        await out.send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await out.send(_chunk(COMMENT))  # some clients do not believe that they are connected before the first byte
        try:
            async for result in self._results:
                await out.send(_chunk(_next(result.body)))
        except Exception as failure:
            await out.send(_chunk(_next(failed(failure, self._context).body)))
        await out.send(_chunk(COMPLETE))

    async def _beat(self, out: Outlet) -> None:
        """Keeps proxies from taking silence for the end; ends when the client's session or key has."""
        ended, now, rules = await self._ended_before, asyncio.get_running_loop().time, self._rules
        to_look, to_speak = now() + rules.recheck if self._lasting else inf, now() + rules.heartbeat
        while ended is None:
            await asyncio.sleep(min(to_look, to_speak) - now())
            if now() >= to_look:
                to_look = now() + rules.recheck
                ended = await what_ended(rules.still, self._context)
            if ended is None and now() >= to_speak:
                to_speak = now() + rules.heartbeat
                await out.send(_chunk(COMMENT))
        await out.send(_chunk(_next(failed(ended, self._context).body) + COMPLETE))


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


def _next(body: bytes) -> bytes:
    return b"event: next\ndata: " + body + b"\n\n"


def _chunk(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}
