"""Which sessions end when a provider says that one of its own, or all those of a subject, are over."""

from typing import Any

import pytest

from domain.patient import LogoutToken, ProviderLogin
from domain.ports import Session
from tests.store.making import NOW, TENANTS, an_id, make_identity

ISSUER = "https://id.example"
TIMES = dict.fromkeys(("authenticated_at", "created_at", "last_seen_at", "expires_at"), NOW)
LOGINS = {
    "phone": ("kari", "sid-1"),
    "laptop": ("kari", "sid-2"),
    "untold": ("kari", None),
    "empty": ("kari", ""),
    "other": ("ola", "sid-3"),
    "other's untold": ("ola", None),
}


@pytest.fixture
async def signed_in(start: Any) -> Any:
    """The same sessions at both tenants, and one each at another provider, where they happen to be called the same."""
    for tenant_id in TENANTS:
        async with start(tenant_id) as work:
            for subject in ("kari", "ola"):
                who = make_identity(subject, national_id=None)
                await work.patients.recognise(tenant_id, who, an_id(subject))
            for name, (subject, sid) in LOGINS.items():
                await add(work, tenant_id, name, subject, sid, ISSUER)
                await add(work, tenant_id, f"{name} elsewhere", subject, sid, "https://elsewhere.example")
            await work.commit()
    return start


async def add(work: Any, tenant_id: str, name: str, subject: str, sid: str | None, issuer: str) -> None:
    session = Session(tenant_id=tenant_id, id=name, patient_id=an_id(subject), **TIMES)
    await work.sessions.add(session, ProviderLogin(provider="p", issuer=issuer, subject=subject, sid=sid))


async def there(start: Any, tenant_id: str) -> set[str]:
    names = [*LOGINS, *(f"{name} elsewhere" for name in LOGINS)]
    async with start(tenant_id) as work:
        return {name for name in names if await work.sessions.get(tenant_id, name)}


@pytest.mark.parametrize(
    ("sid", "subject", "ended"),
    [
        ("sid-1", None, {"phone"}),
        ("sid-1", "kari", {"phone", "untold", "empty"}),
        ("sid-2", "kari", {"laptop", "untold", "empty"}),
        ("sid-9", "kari", {"untold", "empty"}),
        ("sid-9", None, set()),
        (None, "kari", {"phone", "laptop", "untold", "empty"}),
        (None, "nobody", set()),
        ("kari", "sid-1", set()),
    ],
)
async def test_a_logout_token_ends_the_session_it_names_or_all_of_its_subject(
    signed_in: Any, sid: str | None, subject: str | None, ended: set[str]
) -> None:
    """Of a session whose login told no `sid` nobody knows which it is: it ends with any of its subject's."""
    before = await there(signed_in, "nord")
    token = LogoutToken(issuer=ISSUER, jti="1", sid=sid, subject=subject, expires_at=NOW)
    async with signed_in("nord") as work:
        assert await work.sessions.end_told("nord", token) == ([an_id("kari")] if ended else [])
        await work.commit()
    assert before - await there(signed_in, "nord") == ended
    assert await there(signed_in, "syd") == before
