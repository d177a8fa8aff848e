"""Agencies with a key, as an operator makes one."""

from typing import Any

from api.bootstrap import open_house
from api.settings import Settings
from domain.api_key import KeyKind, KeyText
from domain.client import SYSTEM_SCOPES
from domain.usecases.keep_keys import NewKey

TENANT = "nordhelse"


async def minted(settings: Settings, **changes: Any) -> KeyText:
    """A live key with every system scope, unless told otherwise."""
    told: dict[str, Any] = {
        "tenant_id": TENANT,
        "agency": "fysio",
        "kind": KeyKind.LIVE,
        "scopes": SYSTEM_SCOPES,
        "origins": (),
        "rate_per_minute": 600,
    }
    house = open_house(settings)
    try:
        return await house.use.mint_key(NewKey(**{**told, **changes}))
    finally:
        await house.close()


async def revoked(settings: Settings, key: KeyText) -> None:
    house = open_house(settings)
    try:
        assert await house.use.revoke_key(key.key_id) is not None
    finally:
        await house.close()
