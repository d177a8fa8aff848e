"""What `python -m api key …` does."""

from collections.abc import Sequence

from api.app import House
from api.bootstrap.house import KeyNotMade, ready_house
from api.keys import KeyOrder, told_keys
from api.settings import Settings
from domain.api_key import KeyText
from domain.tenant import Tenant
from domain.usecases.keep_keys import NewKey

SHOWN_ONCE = "Keep it now: it is kept here as a digest only, and is not shown again."


async def order_key(settings: Settings, order: KeyOrder) -> Sequence[str]:
    """Lines to print. Raises `KeyNotMade`, or as `ready_house` does."""
    async with ready_house(settings) as house:
        return await {"mint": _mint, "rotate": _rotate, "revoke": _revoke, "list": _list}[order.verb](house, order)


async def _mint(house: House, order: KeyOrder) -> Sequence[str]:
    if order.test and not house.settings.synthetic_people:
        raise KeyNotMade("a test key would open nothing here: ITB_SYNTHETIC_PEOPLE is false")
    wanted = NewKey(
        tenant_id=(await _tenant(house, order)).id,
        agency=order.agency,
        kind=order.kind,
        scopes=order.scopes,
        origins=tuple(dict.fromkeys(order.origin)),
        rate_per_minute=order.rate,
    )
    return _shown(await house.use.mint_key(wanted))


async def _rotate(house: House, order: KeyOrder) -> Sequence[str]:
    if (rotated := await house.use.rotate_key(order.key_id)) is None:
        raise KeyNotMade(f"no key that stands has the id {order.key_id}")
    text, until = rotated
    return (*_shown(text), f"The old key {order.key_id} counts until {until:%Y-%m-%dT%H:%MZ}.")


async def _revoke(house: House, order: KeyOrder) -> Sequence[str]:
    if await house.use.revoke_key(order.key_id) is None:
        raise KeyNotMade(f"no key that is not revoked yet has the id {order.key_id}")
    return (
        f"The key {order.key_id} is revoked, and opens nothing from {house.settings.api_key_seconds:g} s from now on.",
    )


async def _list(house: House, order: KeyOrder) -> Sequence[str]:
    tenant = await _tenant(house, order)
    return list(told_keys(await house.api_keys.of_tenant(tenant.id), house.clock.now()))


async def _tenant(house: House, order: KeyOrder) -> Tenant:
    found = await house.catalogue.tenant(slug=order.tenant)
    if found is None:
        raise KeyNotMade(f"no tenant is called {order.tenant}")
    return found


def _shown(key: KeyText) -> Sequence[str]:
    return key.text, f"The key's id is {key.key_id}. {SHOWN_ONCE}"
