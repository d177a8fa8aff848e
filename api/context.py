"""What a resolver may reach: one of these for each operation."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from api.errors import Unauthenticated
from api.loaders import Loaders
from api.reading import Reads
from api.signing import Signer
from domain.audit import Actor, ActorKind
from domain.availability import Search
from domain.client import OWN_CLIENT, Client
from domain.ports import BookingReads, Catalogue, Clock
from domain.shares import Owner
from domain.tenant import Tenant
from domain.usecases import UseCases
from domain.usecases.sign_in import Standing, Viewer

if TYPE_CHECKING:
    from api.schema.slot_changes import Shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """How a browser's session is ended: the secret that it goes by, and what takes its cookie away."""

    secret: str | None = field(default=None, repr=False)
    forget: Callable[[], None] = lambda: None


STEP_UP_AFTER = timedelta(minutes=30)


def _nobody_asks(_: Search) -> None:
    return


async def _always() -> bool:
    return True


async def _nobody_in_particular() -> Any:
    raise Unauthenticated


@dataclass(kw_only=True)
class Context:
    """`languages` are best first; `public_url` has no slash at its end.

    `visitor` tells an unnamed caller from others as well as can be, and `owner` is whose share of all watched searches
    counts; `caller` is the client that speaks for them, and `caller_stands` looks anew whether its key or token still
    opens anything. `may_hold` counts one more hold, of a patient, or of whoever shows that hold, or of nobody known.
    `watches` hears which search a subscription is about; `shown` is what it is to show, where that is known already.
    `is_behind`: the last event that a subscription had could not be shown in full, so that its client is where nobody
    knows. A login that is older than `step_up_after` is too old for what asks for a fresh one. `reads` is what the
    audit trail is to say of the answer.
    """

    tenant: Tenant
    languages: tuple[str, ...]
    public_url: str
    catalogue: Catalogue
    booking_reads: BookingReads
    loaders: Loaders
    signer: Signer
    clock: Clock
    use: UseCases
    visitor: str
    owner: Owner
    request_id: str
    find_viewer: Callable[[], Awaitable[Viewer | None]]
    standing: Callable[[], Awaitable[Standing | None]]
    may_hold: Callable[[UUID | None, UUID | None], Awaitable[bool]]
    caller: Client = OWN_CLIENT
    caller_stands: Callable[[], Awaitable[bool]] = _always
    leaving: Leaving = Leaving()
    step_up_after: timedelta = STEP_UP_AFTER
    watches: Callable[[Search], None] = _nobody_asks
    shown: "Shown | None" = None
    is_behind: bool = False
    was_signed_in: bool | None = field(default=None, init=False)
    signed_in_as: UUID | None = field(default=None, init=False)
    reads: Reads = field(init=False)
    _viewer: asyncio.Future[Viewer | None] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.reads = Reads(self)

    async def viewer(self) -> Viewer | None:
        """Who is signed in, looked up at most once and only when somebody asks; who asks meanwhile waits along."""
        if self._viewer is None:
            self._viewer = asyncio.ensure_future(self.find_viewer())
        return await self._viewer

    async def actor(self) -> Actor:
        """The patient, also where an agency asks for them; without one the agency, or somebody not yet known.

        Through the key that was brought, whoever it is.
        """
        viewer = await self.viewer()
        by = partial(Actor, request_id=self.request_id, through=self.caller.key)
        if viewer is None and not self.caller.is_own:
            return by(kind=ActorKind.AGENCY, id=self.caller.id)
        return by(kind=ActorKind.PATIENT, id=str(viewer.patient.id) if viewer else None)

    @property
    def viewer_class(self) -> Hashable:
        """What an answer depends on, where it does not depend on who asks."""
        return self.tenant.id, self.languages, self.public_url, self.caller.scopes

    def renew_loaders(self) -> None:
        """A subscription lives for hours: what it showed before must not be remembered for its next event."""
        self.loaders = self.loaders.anew()

    def for_everybody(self, **changes: Any) -> "Context":
        """For an answer that many are sent: nobody's in particular, so that nobody is in it."""
        return replace(
            self,
            **{
                "loaders": self.loaders.anew(),
                "find_viewer": _nobody_in_particular,
                "standing": _nobody_in_particular,
                "caller": replace(self.caller, id="nobody", key_id=None),
                "caller_stands": _always,
                "request_id": uuid4().hex,
                "watches": _nobody_asks,
                "leaving": Leaving(),
                **changes,
            },
        )
