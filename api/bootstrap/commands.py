"""What the commands do: serve, work, import, migrate, and put up the demo's surroundings."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from api.app import House, create_app
from api.audit import Asked, check_action, lines
from api.bootstrap.house import NoSuchJob, NoSuchTenant, NotSure, check_keys, open_house, ready_house
from api.bootstrap.issuers import Issuers, TenantTokens
from api.calendar import calendar_route
from api.exports import export_route
from api.health import KeysOpen, health_routes
from api.jobs import MOST_DEAD, told
from api.login import Login
from api.logout import BackChannel, Logout
from api.metrics import metrics_route
from api.settings import Settings
from api.system_token import token_routes
from api.webhooks import webhook_route
from api.worker import work_forever
from integrations.fhir.audit_event import ACTIONS, audit_event
from integrations.oidc.attempts import LoginAttempt
from integrations.oidc.bearer import IdentityProviderUnavailable, TokenRefused
from integrations.oidc.login import BrowserLogin, LoginFailed
from integrations.sandbox.ehr import create_ehr
from integrations.sandbox.identity import create_identity_provider
from integrations.sandbox.identity_clients import APP, web_client
from integrations.sandbox.people import as_ehr_patients
from integrations.sandbox.world_no import NORWAY
from integrations.sandbox.world_se import SWEDEN
from integrations.store.migrate import check_owner, upgrade
from integrations.store.roles import grant
from integrations.store.seed import read_seed


async def build_app(settings: Settings) -> Starlette:
    """The whole API. Raises as `ready_house` and `check_keys` do."""
    async with ready_house(settings) as house:
        await check_keys(house)
    house = open_house(settings)
    keys_open = KeysOpen(house.shut_keys, settings.key_seconds)
    health = health_routes(house.database_ready, keys_open, house.redis_ready, partial(_dead_jobs, house))
    metrics = metrics_route(house.jobs, house.reads.unknown, house.use.run_jobs.tally, house.clock)
    routes = [
        *_signing_in(house),
        calendar_route(house.context),
        export_route(house.context),
        webhook_route(house.use, house.limits),
        *token_routes(house.callers, house.use, house.limits),
        *health,
        metrics,
    ]
    return create_app(house, routes)


def _signing_in(house: House) -> Sequence[BaseRoute]:
    """Tenants are looked up at every login: one that comes later can be signed in to as well."""
    issuers, browser = Issuers(house.settings, house.catalogue, os.environ), BrowserLogin(house.clock)
    shared: dict[str, Any] = {
        "browser": browser,
        "settings_for": issuers.for_login,
        "failed": LoginFailed,
        "tenants": house.tenants,
        "use": house.use,
        "signer": house.signer,
        "limits": house.limits,
        "base_url": house.settings.base_url,
        "https": house.settings.is_https,
    }
    tokens = TenantTokens(issuers, house.clock)
    told = BackChannel(
        read=tokens.logout,
        refused=TokenRefused,
        unavailable=IdentityProviderUnavailable,
        tenants=house.tenants,
        limits=house.limits,
        hear=house.use.hear_logout,
    )
    login = Login(**shared, attempt=LoginAttempt)
    return [*Logout(**shared).routes(), told.route(), login.route()]


async def import_seed(settings: Settings, places: Mapping[str, str]) -> Mapping[str, str]:
    """Import the seed file's catalogue; returns the endpoints that gave none, and why.

    Raises `SeedInvalid`, `NameTaken`, or as `ready_house` does.
    """
    async with ready_house(settings) as house:
        return await house.use.import_catalogue(read_seed(Path(settings.seed), places=places))


def migrate(settings: Settings) -> None:
    """Bring the database to this version, let the server's role use it, and seal what earlier ones kept in the clear.

    Raises `StoreUnreachable`, `OwnerWrong`, or as `ready_house` does.
    """

    async def run() -> None:
        owner = settings.database_owner_url or settings.database_url
        await check_owner(owner, settings.database_url)
        await upgrade(owner)
        await grant(owner, settings.database_url)
        await _sealed(settings, _silent)

    asyncio.run(run())


def _silent(_: str) -> None:
    return


async def _sealed(settings: Settings, say: Callable[[str], None]) -> None:
    async with ready_house(settings) as house:
        await house.use.rotate_keys.seal_all([tenant.id for tenant in await house.catalogue.tenants()], say)


async def seal(settings: Settings, order: str, tenant_id: str, say: Callable[[str], None]) -> None:
    """`rotate` the keys of one tenant or of all, or `rewrap` them by another master key.

    Raises `NoSuchTenant`, `Unsealable`, or as `ready_house` and `check_keys` do: no key is made or wrapped while a
    master key is in use that is not the one it seems to be.
    """
    async with ready_house(settings) as house:
        known = [tenant.id for tenant in await house.catalogue.tenants()]
        if tenant_id and tenant_id not in known:
            raise NoSuchTenant(f"there is no tenant {tenant_id}")
        await check_keys(house)
        rotate = house.use.rotate_keys
        work = rotate if order == "rotate" else rotate.rewrap
        await work([tenant_id] if tenant_id else known, say)


async def forget_keys(settings: Settings, tenant_id: str, sure: Callable[[str], bool]) -> str:
    """The end of a tenant, once `sure` of its slug; a line on what is gone.

    Raises `NoSuchTenant`, `NotSure`, or as `ready_house` does.
    """
    async with ready_house(settings) as house:
        slugs = {tenant.id: tenant.slug for tenant in await house.catalogue.tenants()}
        if tenant_id not in slugs:
            raise NoSuchTenant(f"there is no tenant {tenant_id}")
        if not sure(slugs[tenant_id]):
            raise NotSure(f"nothing is done: that is not the slug of {tenant_id}")
        gone, emptied = await house.use.forget_keys(tenant_id)
    rows = ", ".join(f"{count} of {table}" for table, count in emptied.items())
    return f"{tenant_id}: {gone} keys deleted; for ever gone is who and what was sealed in: {rows}"


async def work(settings: Settings, started: Callable[[], None]) -> None:
    """The worker alone, until it is cancelled; `started` is called when all is well."""
    async with ready_house(settings) as house:
        await check_keys(house)
        started()
        await work_forever(house.use, settings.look_for_jobs)


async def _dead_jobs(house: House) -> int:
    return sum(each.count for each in await house.jobs.depth(house.clock.now()) if each.state == "dead")


async def tell_jobs(settings: Settings) -> Sequence[str]:
    """Lines on the queue and on what was given up. Raises as `ready_house` does."""
    async with ready_house(settings) as house:
        now = house.clock.now()
        return list(told(await house.jobs.depth(now), await house.jobs.dead(MOST_DEAD), now))


async def tell_audit(settings: Settings, asked: Asked, tell: Callable[[str], None]) -> None:
    """The tenant's trail, line by line. Raises `OrderUnclear`, `NoSuchTenant`, or as `ready_house` does."""
    check_action(asked, ACTIONS)
    async with ready_house(settings) as house:
        if asked.tenant_id not in {tenant.id for tenant in await house.catalogue.tenants()}:
            raise NoSuchTenant(f"no tenant has the id {asked.tenant_id}")
        async for line in lines(house.use.read_audit, asked, audit_event):
            tell(line)


async def retry_job(settings: Settings, id: UUID) -> None:
    """Have a dead job tried again. Raises `NoSuchJob`, or as `ready_house` does."""
    async with ready_house(settings) as house:
        if not await house.use.retry_job(id):
            raise NoSuchJob(f"no job was given up by the id {id}")


def sandbox_apps(settings: Settings) -> dict[int, Starlette]:
    """The demo's surroundings by port: two record systems and an identity provider, keeping their state on disk."""
    kept = Path(settings.demo_dir)
    back_to = [f"{settings.base_url}/", *(f"http://{name}:{settings.port}/" for name in ("127.0.0.1", "localhost"))]
    return {
        settings.demo_ehr_no_port: create_ehr(NORWAY, state=kept / "ehr-no.json", people=as_ehr_patients("NO")),
        settings.demo_ehr_se_port: create_ehr(SWEDEN, state=kept / "ehr-se.json", people=as_ehr_patients("SE")),
        settings.demo_oidc_port: create_identity_provider(
            issuer=settings.oidc_issuer, key_file=kept / "identity-key.json", clients=(APP, web_client(*back_to))
        ),
    }
