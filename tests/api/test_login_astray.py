"""A login that comes back where, or when, nobody waits for it: refused, and shown a way on."""

import httpx2

from tests.api.test_login import HOME, begin, house
from tests.living import Town


async def test_a_login_comes_back_at_its_own_providers_address_alone(town: Town, sqlite_filled_url: str) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        for path in ("/login/callback/vipps", "/login/callback/nobody", "/login/callback"):
            back = httpx2.URL((await begin(client, "kari", to=f"{HOME}?step=2")).headers["location"])
            answer = await client.http.get(back.copy_with(path=path))
            assert (answer.status_code, answer.headers["location"]) == (303, f"{HOME}?step=2&login=failed")
            assert not client.http.cookies  # neither signed in, nor to be tried again
