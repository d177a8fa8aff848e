"""What patients said is kept line by line; what stands is the last of each kind."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from domain.audit import Actor, ActorKind
from domain.consent import Consent, ConsentKind
from domain.refusals import RefusalCode, Refused
from domain.tenant import Tenant
from domain.usecases.set_consent import SetConsent
from integrations.store.work import StartSqlWork
from tests.databases import raw
from tests.store.conftest import Stopped
from tests.store.making import NOW, an_id, make_identity, make_tenant

KARI = an_id("kari")
PATIENT = Actor(kind=ActorKind.PATIENT, id=str(KARI), request_id="r1")
TENANT = make_tenant("nord", terms_version="7")


async def kari(start: StartSqlWork, tenant_id: str = "nord") -> Any:
    async with start(tenant_id) as work:
        patient = await work.patients.recognise(tenant_id, make_identity(), KARI)
        await work.commit()
    return patient


def said(kind: ConsentKind, given: bool = True, **more: Any) -> Consent:
    return Consent(tenant_id="nord", patient_id=KARI, kind=kind, given=given, language="nb", **more)


async def rows(start: StartSqlWork, statement: str) -> list[Any]:
    async with raw(start) as connection:
        return list((await connection.execute(text(statement))).all())


def use(start: StartSqlWork) -> SetConsent:
    return SetConsent(start_work=start, clock=Stopped())


async def say(start: StartSqlWork, consent: Consent, tenant: Tenant = TENANT) -> Consent:
    return await use(start)(tenant, PATIENT, consent)


async def test_each_answer_is_a_line_and_the_last_stands(start: StartSqlWork) -> None:
    patient = await kari(start)
    await say(start, said(ConsentKind.SMS))
    await say(start, said(ConsentKind.SMS, False))
    await say(start, said(ConsentKind.PRIVACY, document_version="2026-01"))
    lines = await rows(start, "SELECT kind, number, given FROM consent ORDER BY kind, number")
    assert [(kind, number, bool(given)) for kind, number, given in lines] == [
        ("PRIVACY", 1, True),
        ("SMS", 1, True),
        ("SMS", 2, False),
    ]
    stands = await use(start).all_of(TENANT, patient)
    assert list(stands) == list(ConsentKind)
    assert (stands[ConsentKind.SMS].given, stands[ConsentKind.SMS].at) == (False, NOW)
    assert (stands[ConsentKind.MARKETING].given, stands[ConsentKind.MARKETING].at) == (False, None)
    assert stands[ConsentKind.PRIVACY].document_version == "2026-01"
    assert stands[ConsentKind.PRIVACY].actor is ActorKind.PATIENT


async def test_saying_the_same_again_is_no_news(start: StartSqlWork) -> None:
    await kari(start)
    for _ in range(2):
        await say(start, said(ConsentKind.SMS))
        await say(start, said(ConsentKind.TERMS, document_version="7"))
    assert len(await rows(start, "SELECT 1 FROM consent")) == 2
    await say(start, said(ConsentKind.TERMS, document_version="8"), replace(TENANT, terms_version="8"))
    assert len(await rows(start, "SELECT 1 FROM consent WHERE kind = 'TERMS'")) == 2


@pytest.mark.parametrize(
    ("consent", "code"),
    [
        (said(ConsentKind.TERMS), RefusalCode.TERMS_NOT_ACCEPTED),
        (said(ConsentKind.TERMS, document_version="6"), RefusalCode.TERMS_NOT_ACCEPTED),
        (said(ConsentKind.PRIVACY, document_version="Kari Nordmann bor her"), RefusalCode.INVALID_INPUT),
        (said(ConsentKind.SMS, document_version="x" * 101), RefusalCode.INVALID_INPUT),
    ],
)
async def test_an_agreement_to_no_document_of_the_tenants_is_refused(start, consent: Consent, code: str) -> None:
    await kari(start)
    with pytest.raises(Refused) as refused:
        await say(start, consent)
    assert [each.code for each in refused.value.refusals] == [code]
    assert await rows(start, "SELECT 1 FROM consent") == []


async def test_terms_can_be_withdrawn_whatever_their_version(start: StartSqlWork) -> None:
    await kari(start)
    await say(start, said(ConsentKind.TERMS, document_version="7"))
    assert not (await say(start, said(ConsentKind.TERMS, False))).given


async def test_an_answer_and_its_audit_row_are_one_transaction(start: StartSqlWork) -> None:
    await kari(start)
    await say(start, said(ConsentKind.MARKETING))
    await say(start, said(ConsentKind.MARKETING, False))
    found = await rows(
        start, "SELECT action, actor_id, details FROM audit WHERE action LIKE 'consent%' ORDER BY action"
    )
    assert [tuple(row) for row in found] == [
        ("consent.given", str(KARI), '{"kind":"MARKETING"}'),
        ("consent.withdrawn", str(KARI), '{"kind":"MARKETING"}'),
    ]
    async with raw(start) as connection:
        await connection.execute(text("ALTER TABLE audit RENAME TO elsewhere"))
    with pytest.raises(DBAPIError):
        await say(start, said(ConsentKind.SMS))
    assert await rows(start, "SELECT 1 FROM consent WHERE kind = 'SMS'") == []


@pytest.mark.parametrize("table", ["consent", "audit"])
async def test_no_line_can_be_changed(start: StartSqlWork, table: str) -> None:
    await kari(start)
    await say(start, said(ConsentKind.SMS))
    async with raw(start) as connection:
        with pytest.raises(DBAPIError, match="append_only"):
            await connection.execute(text(f"UPDATE {table} SET tenant_id = tenant_id"))


async def test_another_tenants_patient_has_said_nothing(start: StartSqlWork) -> None:
    await kari(start)
    other = await kari(start, "syd")
    await say(start, said(ConsentKind.SMS))
    stands = await use(start).all_of(make_tenant("syd"), other)
    assert not any(each.given for each in stands.values())


async def test_a_patient_who_was_erased_meanwhile_says_nothing(start: StartSqlWork) -> None:
    with pytest.raises(Refused):
        await say(start, said(ConsentKind.SMS))
    assert await rows(start, "SELECT 1 FROM consent") == []
