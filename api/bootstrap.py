"""The one place that sees every layer: puts the adapters behind the ports."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
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
from api.webhooks import hook_url, webhook_route
from api.worker import work_forever
from domain.endpoint import Endpoint
from domain.ports import Bus, Clock, Hook, Limiter, Pace, TimesCache
from domain.tenant import Tenant
from domain.usecases import UseCases
from domain.usecases.change_booking import CancelBooking, Changing, RescheduleBooking
from domain.usecases.confirm_booking import ConfirmBooking
from domain.usecases.find_slots import FindSlots
from domain.usecases.follow_ehrs import FollowEhrs
from domain.usecases.free_times import FreeTimes
from domain.usecases.hear_notification import HearNotification
from domain.usecases.hold_slot import HoldSlot
from domain.usecases.import_catalogue import ImportCatalogue
from domain.usecases.keep_hold import ExpireHolds, ReleaseHold, RenewHold
from domain.usecases.news import ForgetChanges, News
from domain.usecases.reconcile import Reconcile
from domain.usecases.see_sources import SeeSources
from domain.usecases.sign_in import SignIn
from domain.usecases.take_in_changes import TakeInChanges
from domain.usecases.visits import Visits
from domain.usecases.watch_bookings import WatchBookings
from domain.usecases.watch_slots import WatchSlots
from integrations.clock import SystemClock
from integrations.fhir.ehrs import FhirEhrs
from integrations.memory.bus import MemoryBus
from integrations.memory.limiter import MemoryLimiter
from integrations.memory.pace import MemoryPace
from integrations.memory.times import MemoryTimes
from integrations.oidc.attempts import LoginAttempt
from integrations.oidc.bearer import BearerTokens, IdentityProviderUnavailable, TokenRefused
from integrations.oidc.login import BrowserLogin, LoginFailed
from integrations.oidc.provider import OidcSettings
from integrations.redis.bus import RedisBus
from integrations.redis.limiter import RedisLimiter
from integrations.redis.pace import RedisPace
from integrations.redis.resting import Resting, answers, open_redis
from integrations.redis.times import RedisTimes
from integrations.sandbox.ehr import create_ehr
from integrations.sandbox.identity import create_identity_provider
from integrations.sandbox.identity_clients import APP, web_client
from integrations.sandbox.people import as_ehr_patients
from integrations.sandbox.world_no import NORWAY
from integrations.sandbox.world_se import SWEDEN
from integrations.store.booking_reads import SqlBookingReads
from integrations.store.catalogue import SqlCatalogue
from integrations.store.changes import SqlChangeLog
from integrations.store.engine import StoreUnreachable, open_engine
from integrations.store.feeds import SqlFeedReads
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
    shared, clock, catalogue = _shared(settings), SystemClock(), SqlCatalogue(engine)
    ehrs = FhirEhrs(os.environ, shared.pace)
    use = use_cases(engine, ehrs, clock, settings, shared)

    async def close() -> None:
        await use.watch_slots.close()
        for each in (ehrs.close, *(redis.aclose for redis in shared.clients), engine.dispose):
            await each()

    return House(
        settings=settings,
        catalogue=catalogue,
        reads=SqlBookingReads(engine),
        clock=clock,
        use=use,
        signer=Signer(settings.secret.encode()),
        tenants=TenantDirectory(catalogue),
        who_asks=_who_asks(settings, use.sign_in, clock),
        limiter=shared.limiter,
        database_ready=partial(current_is_head, engine),
        redis_ready=partial(_redis_ready, next(iter(shared.clients), None)),
        close=close,
    )


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What all processes have together where there is Redis, and each one by itself where there is none."""

    limiter: Limiter
    pace: Pace
    times: TimesCache
    bus: Bus
    clients: Sequence[Redis] = ()


def _shared(settings: Settings) -> Shared:
    limiter, pace, times = MemoryLimiter(), MemoryPace(), MemoryTimes()
    if not settings.redis_url:
        return Shared(limiter=limiter, pace=pace, times=times, bus=MemoryBus())
    redis, listening = open_redis(settings.redis_url), open_redis(settings.redis_url)
    resting, prefix = Resting(redis), settings.redis_prefix
    return Shared(
        limiter=RedisLimiter(resting, limiter, prefix=prefix),
        pace=RedisPace(resting, pace, prefix=prefix),
        times=RedisTimes(resting, times, prefix=prefix),
        bus=RedisBus(resting, listening, prefix=prefix),
        clients=(redis, listening),
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


def use_cases(engine: AsyncEngine, ehrs: FhirEhrs, clock: Clock, settings: Settings, shared: Shared) -> UseCases:
    timing, changes, reads = settings.timing(), SqlChangeLog(engine), SqlBookingReads(engine)
    news = News(shared.times, shared.bus, changes)
    start = StartSqlWork(engine, Sealing(settings.secret), clock, news.spread)
    stored: dict[str, Any] = {"catalogue": SqlCatalogue(engine), "start_work": start}
    timed: dict[str, Any] = {"clock": clock, "timing": timing}
    visits = Visits(**stored, ehrs=ehrs)
    free = FreeTimes(shared.times, ehrs, clock, timing)
    found: dict[str, Any] = {"reads": reads, "ehrs": ehrs, "visits": visits}
    find = FindSlots(catalogue=stored["catalogue"], **found, free_times=free, **timed)
    return UseCases(
        find_slots=find,
        watch_slots=WatchSlots(find, stored["catalogue"], news, timing, settings.most_watches),
        watch_bookings=WatchBookings(reads=reads, changes=changes, news=news, **timed),
        reconcile=Reconcile(reads=reads, start_work=start, visits=visits, **timed),
        see_sources=SeeSources(catalogue=stored["catalogue"], ehrs=ehrs, **timed),
        sign_in=SignIn(start_work=start, clock=clock),
        import_catalogue=ImportCatalogue(start_work=start, ehrs=ehrs, timing=timing),
        news=news,
        forget_changes=ForgetChanges(changes=changes, clock=clock),
        **_booking(stored, found, find, timed),
        **_listening(stored, found, SqlFeedReads(engine), timed, settings),
    )


def _booking(stored: dict[str, Any], found: dict[str, Any], find: FindSlots, timed: dict[str, Any]) -> dict[str, Any]:
    start, clock, visits = stored["start_work"], timed["clock"], found["visits"]
    hold = HoldSlot(**stored, **found, find_slots=find, **timed)
    changing = Changing(**stored, visits=visits, **timed)
    return {
        "hold_slot": hold,
        "release_hold": ReleaseHold(start_work=start, clock=clock),
        "renew_hold": RenewHold(start_work=start, **timed),
        "expire_holds": ExpireHolds(start_work=start, clock=clock),
        "confirm_booking": ConfirmBooking(**stored, visits=visits, hold_slot=hold, **timed),
        "reschedule_booking": RescheduleBooking(changing=changing, hold_slot=hold),
        "cancel_booking": CancelBooking(changing=changing),
    }


def _listening(
    stored: dict[str, Any], found: dict[str, Any], feeds: SqlFeedReads, timed: dict[str, Any], settings: Settings
) -> dict[str, Any]:
    ehrs, signer = found["ehrs"], Signer(settings.secret.encode())
    take_in = TakeInChanges(**stored, reads=found["reads"], visits=found["visits"], **timed)

    def secret(endpoint: Endpoint) -> str:
        return signer.seal(f"hook:{endpoint.tenant_id}", endpoint.id.encode())

    def hook(endpoint: Endpoint, until: datetime) -> Hook:
        url = hook_url(settings.base_url, endpoint.tenant_id, endpoint.id)
        return Hook(url=url, secret=secret(endpoint), until=until)

    return {
        "follow_ehrs": FollowEhrs(**stored, take_in=take_in, ehrs=ehrs, hook=hook, feeds=feeds, **timed),
        "hear_notification": HearNotification(**stored, take_in=take_in, ehrs=ehrs, secret=secret, **timed),
    }


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
    routes = [_login(house, tenants), calendar_route(house.context), webhook_route(house.use), *health]
    return create_app(house, routes)


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
        await work_forever(house.use, settings.rhythm())


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
