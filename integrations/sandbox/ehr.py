"""One record system to book against: a world, a calendar, a dialect, and faults on request."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from integrations.sandbox import admin, front_desk, ihe, ihe_holding, r4, reading, subscriptions
from integrations.sandbox.calendar import Calendar
from integrations.sandbox.delivery import Deliveries
from integrations.sandbox.faults import Faults
from integrations.sandbox.ihe_booking import EVERY_NAME
from integrations.sandbox.injection import Calls, FaultInjection
from integrations.sandbox.late import LateRequests
from integrations.sandbox.notices import Notices
from integrations.sandbox.wire import FhirError, not_found, refused
from integrations.sandbox.world import World


@dataclass(slots=True)
class Sandbox:
    """What the routes of one installation share, found at `app.state.sandbox`."""

    calendar: Calendar
    base_url: str | None
    book_parameters: tuple[str, ...]
    proposal_statuses: tuple[str, ...]
    subscriptions: bool = True
    holds: timedelta | None = None
    faults: Faults = field(default_factory=Faults)
    calls: Calls = field(default_factory=Calls)
    late: LateRequests = field(default_factory=LateRequests)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    slot_lists: dict[Any, Any] = field(default_factory=dict)
    deliveries: Deliveries = field(init=False)
    notices: Notices = field(init=False)

    def __post_init__(self) -> None:
        self.deliveries = Deliveries(self.calendar, self.stopping)
        self.notices = Notices(self.calendar, self.deliveries)
        self.calendar.tell = self.notices.hear if self.subscriptions else None

    def start(self) -> None:
        """Begin to serve, perhaps again; to be called in the server's loop."""
        self.stopping.clear()
        if self.subscriptions:
            self.deliveries.start()
            self.notices.start()

    def begin_afresh(self) -> None:
        """As on the first day: nobody is booked or told of anything, nothing is counted, wrong or on its way."""
        self.faults.clear()
        self.calls.clear()
        self.late.forget()
        self.deliveries.forget()
        self.calendar.begin_afresh()

    def stop(self) -> None:
        """End whatever hangs or is being delivered, so that the server can; to be called in the server's loop."""
        self.stopping.set()
        self.deliveries.stop()

    async def stopped(self) -> None:
        """Wait for the last of it, after `stop`."""
        await self.deliveries.ended()


def create_ehr(
    world: World,
    *,
    state: Path | None = None,
    people: Iterable[Mapping[str, str]] = (),
    base_url: str | None = None,
    now: Callable[[], datetime] | None = None,
    book_parameter: str | None = None,
    accepts_proposed: bool = False,
    subscriptions: bool = True,
    holds: timedelta | None = None,
) -> Starlette:
    """An installation as an ASGI application.

    `state` is the file that keeps bookings over a restart; `people` have `system`, `value`, `name`, `birthDate` and
    `phone`; links follow the caller's host without `base_url`. `book_parameter` is the one name `$book` takes its
    Appointment under (both by default); `accepts_proposed` is for the older way to send a new Appointment;
    without `subscriptions` nobody is told of changes, as with many in the field. `holds` is how long `$hold` keeps a
    time; without it, or in plain R4, there is no such operation.
    """
    sandbox = Sandbox(
        calendar=Calendar(world, path=state, people=people, now=now),
        base_url=base_url.rstrip("/") if base_url else None,
        book_parameters=(book_parameter,) if book_parameter else EVERY_NAME,
        proposal_statuses=("pending", "proposed") if accepts_proposed else ("pending",),
        subscriptions=subscriptions,
        holds=holds if world.dialect == "ihe" else None,
    )
    return _application(sandbox)


def _application(sandbox: Sandbox) -> Starlette:
    dialect = ihe if sandbox.calendar.world.dialect == "ihe" else r4
    app = Starlette(
        routes=[
            *admin.routes(),
            *front_desk.routes(),
            *subscriptions.routes(known=sandbox.subscriptions),
            *dialect.routes(),
            *(ihe_holding.routes() if sandbox.holds else ()),
            *reading.routes(),
        ],
        middleware=[Middleware(FaultInjection, sandbox.faults, sandbox.calls, sandbox.late, sandbox.stopping)],
        exception_handlers={FhirError: refused, HTTPException: not_found},
        lifespan=_lifespan,
    )
    app.state.sandbox = sandbox
    return app


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    app.state.sandbox.start()
    yield
    app.state.sandbox.stop()
    await app.state.sandbox.stopped()


class EhrServer(uvicorn.Server):
    """A uvicorn server of one installation that ends hanging answers before it waits for them."""

    def __init__(self, app: Starlette, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._sandbox: Sandbox = app.state.sandbox
        super().__init__(
            uvicorn.Config(
                app, host=host, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=1
            )
        )

    @property
    def port(self) -> int:
        """The port it listens on; known once it has started."""
        address: tuple[str, int] = self.servers[0].sockets[0].getsockname()
        return address[1]

    async def shutdown(self, sockets: Any = None) -> None:
        """Stop hanging, then stop serving."""
        self._sandbox.stop()
        await super().shutdown(sockets)
        await self._sandbox.stopped()
