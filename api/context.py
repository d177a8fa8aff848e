"""What a resolver may reach: one of these for each operation."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from api.loaders import Loaders
from api.signing import Signer
from domain.audit import Actor, ActorKind
from domain.ports import BookingReads, Catalogue, Clock
from domain.tenant import Tenant
from domain.usecases import UseCases
from domain.usecases.sign_in import Viewer


@dataclass(kw_only=True)
class Context:
    """`languages` are best first; `public_url` has no slash at its end.

    `visitor` tells an unnamed caller from others as well as can be.
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
    request_id: str
    find_viewer: Callable[[], Awaitable[Viewer | None]]
    may_hold: Callable[[], Awaitable[bool]]
    _viewer: asyncio.Future[Viewer | None] | None = field(default=None, init=False)

    async def viewer(self) -> Viewer | None:
        """Who is signed in, looked up at most once and only when somebody asks; who asks meanwhile waits along."""
        if self._viewer is None:
            self._viewer = asyncio.ensure_future(self.find_viewer())
        return await self._viewer

    async def actor(self) -> Actor:
        viewer = await self.viewer()
        id = str(viewer.patient.id) if viewer else None
        return Actor(kind=ActorKind.PATIENT, id=id, request_id=self.request_id)
