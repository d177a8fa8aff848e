"""Everything a process needs, opened and closed together."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from api.app import House
from api.auth import WhoAsks, cookie_name
from api.bootstrap.issuers import Issuers, TenantTokens
from api.bootstrap.shared import Shared, redis_ready, shared_by
from api.bootstrap.wiring import sealing_by, use_cases
from api.callers import Callers
from api.cross_site import CrossSite
from api.limits import Limits
from api.origins import Origins
from api.settings import Settings
from api.signing import Signer
from api.tenants import TenantDirectory
from domain.ports import NameTaken, Unsealable
from domain.usecases import UseCases
from domain.usecases.sign_in import SignIn
from integrations.clock import SystemClock
from integrations.fhir.ehrs import FhirEhrs
from integrations.oidc.bearer import IdentityProviderUnavailable, TokenRefused
from integrations.store.api_keys import SqlKeyReads
from integrations.store.booking_reads import SqlBookingReads
from integrations.store.catalogue import SqlCatalogue
from integrations.store.engine import StoreUnreachable, open_engine
from integrations.store.jobs import SqlJobReads
from integrations.store.migrate import current_is_head
from integrations.store.roles import OwnerWrong, RoleTooStrong, check_role
from integrations.store.seed import SeedInvalid
from integrations.store.tenant_keys import KeyProof


class Unready(Exception):
    """The database is there but not as this version needs it; one line says what to do."""


class KeysShut(Exception):
    """The master keys that are set do not open all tenants' keys; one line says whose and which."""


class NoSuchJob(Exception):
    """There is nothing to be tried again by that id; one line says so."""


class NoSuchTenant(Exception):
    """No tenant goes by that name; one line says so."""


class NotSure(Exception):
    """What cannot be undone was not confirmed; one line says so."""


class KeyNotMade(Exception):
    """What was ordered of keys cannot be done; one line says why."""


EXPECTED = (
    *(StoreUnreachable, SeedInvalid, Unready, RoleTooStrong, NoSuchJob, NoSuchTenant, Unsealable, KeyNotMade),
    *(KeysShut, OwnerWrong, NameTaken, NotSure),
)
"""Failures of the surroundings: told in one line, without a traceback."""


def open_house(settings: Settings) -> House:
    """Opens nothing yet: connections are made when first needed. `House.close` ends them."""
    engine = open_engine(settings.database_url, pool_size=settings.database_pool)
    shared, clock, catalogue = shared_by(settings), SystemClock(), SqlCatalogue(engine)
    ehrs = FhirEhrs(os.environ, shared.pace)
    use = use_cases(engine, ehrs, clock, settings, shared)
    tenants = TenantDirectory(catalogue)
    connections = (ehrs.close, *(redis.aclose for redis in shared.clients), engine.dispose)
    return House(
        settings=settings,
        catalogue=catalogue,
        reads=SqlBookingReads(engine, sealing_by(settings)),
        jobs=SqlJobReads(engine),
        api_keys=SqlKeyReads(engine),
        clock=clock,
        use=use,
        signer=Signer(settings.secret.encode()),
        tenants=tenants,
        who_asks=_who_asks(
            settings, use.sign_in, TenantTokens(Issuers(settings, catalogue, os.environ), clock), tenants
        ),
        **_at_the_door(settings, shared, use, tenants),
        **_standing(engine, settings, shared, catalogue),
        close=partial(_close, use.watch_slots.close, use.know_client.close, *connections),
    )


def _at_the_door(settings: Settings, shared: Shared, use: UseCases, tenants: TenantDirectory) -> dict[str, Any]:
    """What is looked at before anything is done: how much is asked for, by whom, and from whose pages."""
    origins = Origins(everywhere=settings.listed_origins, https=settings.is_https, of_keys=use.key_origins)
    cross_site = CrossSite(origins=origins, cookie=cookie_name(settings.is_https))
    limits = Limits(shared.limiter, settings)
    return {"limits": limits, "cross_site": cross_site, "callers": Callers(tenants, use.know_client, limits)}


def _standing(engine: AsyncEngine, settings: Settings, shared: Shared, catalogue: SqlCatalogue) -> dict[str, Any]:
    """What is asked of all that we stand on, at the start and by health checks."""
    proof = KeyProof(engine, sealing_by(settings))

    async def shut_keys() -> Sequence[str]:
        return await proof.shut(sorted(tenant.id for tenant in await catalogue.tenants()))

    return {
        "database_ready": partial(current_is_head, engine),
        "check_role": partial(check_role, engine),
        "shut_keys": shut_keys,
        "redis_ready": partial(redis_ready, next(iter(shared.clients), None)),
    }


async def _close(*each: Callable[[], Awaitable[object]]) -> None:
    """In that order: what is still being done, then what it is done over."""
    for close in each:
        await close()


def _who_asks(settings: Settings, sign_in: SignIn, tokens: TenantTokens, tenants: TenantDirectory) -> WhoAsks:
    return WhoAsks(
        sign_in=sign_in,
        bearer=tokens,
        tenants=tenants,
        refused=TokenRefused,
        unavailable=IdentityProviderUnavailable,
        https=settings.is_https,
    )


async def check_keys(house: House) -> None:
    """Raises `KeysShut` where some tenant's people could not be read, or would be lost by the next key."""
    if shut := await house.shut_keys():
        raise KeysShut("; ".join(shut))


@asynccontextmanager
async def ready_house(settings: Settings) -> AsyncIterator[House]:
    """Closed at the end. Raises `Unready` for a database that is not migrated, `StoreUnreachable` for none.

    `RoleTooStrong` where nothing would keep tenants apart.
    """
    house = open_house(settings)
    try:
        if not await house.database_ready():
            raise Unready("the database is not migrated: run `python -m api migrate` first")
        await house.check_role()
        yield house
    finally:
        await house.close()
