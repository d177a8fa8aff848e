"""The one place that sees every layer: puts the adapters behind the ports."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount

from api.app import House, create_app
from api.auth import WhoAsks
from api.calendar import calendar_route
from api.health import health_routes
from api.login import Login, provider_key
from api.settings import Settings
from api.signing import Signer
from api.tenants import TenantDirectory
from api.worker import work_forever
from domain.ports import Clock, Ehrs
from domain.tenant import Tenant
from domain.timing import Timing
from domain.usecases import UseCases
from domain.usecases.change_booking import CancelBooking, Changing, RescheduleBooking
from domain.usecases.confirm_booking import ConfirmBooking
from domain.usecases.find_slots import FindSlots
from domain.usecases.hold_slot import HoldSlot
from domain.usecases.import_catalogue import ImportCatalogue
from domain.usecases.keep_hold import ReleaseHold, RenewHold
from domain.usecases.reconcile import Reconcile
from domain.usecases.see_sources import SeeSources
from domain.usecases.sign_in import SignIn
from domain.usecases.visits import Visits
from integrations.clock import SystemClock
from integrations.fhir.ehrs import FhirEhrs
from integrations.memory.limiter import MemoryLimiter
from integrations.oidc.attempts import LoginAttempt
from integrations.oidc.bearer import BearerTokens, IdentityProviderUnavailable, TokenRefused
from integrations.oidc.login import BrowserLogin, LoginFailed
from integrations.oidc.provider import OidcSettings
from integrations.redis.limiter import RedisLimiter, answers, open_redis
from integrations.sandbox.ehr import create_ehr
from integrations.sandbox.identity import create_identity_provider
from integrations.sandbox.identity_clients import APP, web_client
from integrations.sandbox.people import as_ehr_patients
from integrations.sandbox.world_no import NORWAY
from integrations.sandbox.world_se import SWEDEN
from integrations.store.booking_reads import SqlBookingReads
from integrations.store.catalogue import SqlCatalogue
from integrations.store.engine import StoreUnreachable, open_engine
from integrations.store.migrate import current_is_head, upgrade
from integrations.store.sealing import Sealing
from integrations.store.seed import SeedInvalid, read_seed
from integrations.store.work import StartSqlWork


class Unready(Exception):
    """The database is there but not as this version needs it; one line says what to do."""


EXPECTED = (StoreUnreachable, SeedInvalid, Unready)
"""Failures of the surroundings: told in one line, without a traceback."""


def open_house(settings: Settings) -> House:
    """Opens nothing yet: connections are made when first needed. `House.close` ends them."""
    engine = open_engine(settings.database_url, pool_size=settings.database_pool)
    ehrs, clock, catalogue = FhirEhrs(os.environ), SystemClock(), SqlCatalogue(engine)
    redis = open_redis(settings.redis_url) if settings.redis_url else None
    use = use_cases(engine, ehrs, clock, settings.timing(), settings.secret)

    async def close() -> None:
        await ehrs.close()
        if redis:
            await redis.aclose()
        await engine.dispose()

    return House(
        settings=settings,
        catalogue=catalogue,
        reads=SqlBookingReads(engine),
        clock=clock,
        use=use,
        signer=Signer(settings.secret.encode()),
        tenants=TenantDirectory(catalogue),
        who_asks=_who_asks(settings, use.sign_in, clock),
        limiter=RedisLimiter(redis, MemoryLimiter()) if redis else MemoryLimiter(),
        database_ready=partial(current_is_head, engine),
        redis_ready=partial(_redis_ready, redis),
        close=close,
    )


async def _redis_ready(redis: Redis | None) -> bool | None:
    return await answers(redis) if redis else None


def _who_asks(settings: Settings, sign_in: SignIn, clock: Clock) -> WhoAsks:
    return WhoAsks(
        sign_in=sign_in,
        bearer=BearerTokens(oidc_settings(settings), clock),
        refused=TokenRefused,
        unavailable=IdentityProviderUnavailable,
        https=settings.is_https,
    )


def use_cases(engine: AsyncEngine, ehrs: Ehrs, clock: Clock, timing: Timing, secret: str) -> UseCases:
    start = StartSqlWork(engine, Sealing(secret), clock)
    stored: dict[str, Any] = {"catalogue": SqlCatalogue(engine), "start_work": start}
    timed: dict[str, Any] = {"clock": clock, "timing": timing}
    reads = SqlBookingReads(engine)
    visits = Visits(**stored, ehrs=ehrs)
    find = FindSlots(catalogue=stored["catalogue"], reads=reads, ehrs=ehrs, visits=visits, **timed)
    hold = HoldSlot(**stored, reads=reads, ehrs=ehrs, visits=visits, find_slots=find, **timed)
    changing = Changing(**stored, visits=visits, **timed)
    return UseCases(
        find_slots=find,
        hold_slot=hold,
        release_hold=ReleaseHold(start_work=start, clock=clock),
        renew_hold=RenewHold(start_work=start, **timed),
        confirm_booking=ConfirmBooking(**stored, visits=visits, hold_slot=hold, **timed),
        reschedule_booking=RescheduleBooking(changing=changing, hold_slot=hold),
        cancel_booking=CancelBooking(changing=changing),
        reconcile=Reconcile(reads=reads, start_work=start, visits=visits, **timed),
        see_sources=SeeSources(catalogue=stored["catalogue"], ehrs=ehrs, **timed),
        sign_in=SignIn(start_work=start, clock=clock),
        import_catalogue=ImportCatalogue(start_work=start, ehrs=ehrs, timing=timing),
    )


def oidc_settings(settings: Settings) -> OidcSettings:
    return OidcSettings(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret or None,
        audience=settings.oidc_audience,
        synthetic_allowed=settings.synthetic_people,
    )


@asynccontextmanager
async def ready_house(settings: Settings) -> AsyncIterator[House]:
    """Closed at the end. Raises `Unready` for a database that is not migrated, `StoreUnreachable` for none."""
    house = open_house(settings)
    try:
        if not await house.database_ready():
            raise Unready("the database is not migrated: run `python -m api migrate` first")
        yield house
    finally:
        await house.close()


async def build_app(settings: Settings) -> Starlette:
    """The whole API. Raises as `ready_house` does."""
    async with ready_house(settings) as looking:
        tenants = await looking.catalogue.tenants()
    house = open_house(settings)
    health = health_routes(house.database_ready, house.redis_ready)
    return create_app(house, [_login(house, tenants), calendar_route(house.context), *health])


def _login(house: House, tenants: Sequence[Tenant]) -> BaseRoute:
    base = oidc_settings(house.settings)
    providers = {
        provider_key(tenant, provider.id): replace(base, kc_idp_hint=provider.hint)
        for tenant in tenants
        for provider in tenant.identity_providers
    }
    login = Login(
        browser=BrowserLogin(providers, house.clock),
        attempt=LoginAttempt,
        failed=LoginFailed,
        tenants=house.tenants,
        use=house.use,
        signer=house.signer,
        base_url=house.settings.base_url,
        secret=house.settings.secret,
        https=house.settings.is_https,
    )
    return Mount("/login", login.app())


async def import_seed(settings: Settings, places: Mapping[str, str]) -> list[str]:
    """Import the seed file's catalogue; returns the endpoints that did not answer.

    Raises `SeedInvalid`, or as `ready_house` does.
    """
    async with ready_house(settings) as house:
        return await house.use.import_catalogue(read_seed(Path(settings.seed), places=places))


def migrate(settings: Settings) -> None:
    """Bring the database to this version. Raises `StoreUnreachable`."""
    asyncio.run(upgrade(settings.database_url))


async def work(settings: Settings, started: Callable[[], None]) -> None:
    """The worker alone, until it is cancelled; `started` is called when all is well."""
    async with ready_house(settings) as house:
        started()
        await work_forever(house.use, settings.check_interval)


def sandbox_apps(settings: Settings) -> dict[int, Starlette]:
    """The demo's surroundings by port: two record systems and an identity provider, keeping their state on disk."""
    kept = Path(settings.demo_dir)
    back_to = f"{settings.base_url}/"
    return {
        settings.demo_ehr_no_port: create_ehr(NORWAY, state=kept / "ehr-no.json", people=as_ehr_patients("NO")),
        settings.demo_ehr_se_port: create_ehr(SWEDEN, state=kept / "ehr-se.json", people=as_ehr_patients("SE")),
        settings.demo_oidc_port: create_identity_provider(
            issuer=settings.oidc_issuer, key_file=kept / "identity-key.json", clients=(APP, web_client(back_to))
        ),
    }
