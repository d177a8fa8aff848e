"""What patients may say about their own data, as their frontend says it: consents, contact details, export, erasure."""

import json
import sqlite3
import time
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from integrations.sandbox.identity import create_identity_provider
from integrations.store.tables import PATIENT as PATIENT_TABLE
from tests.databases import raw
from tests.living import Client, Town, in_process, sign_in
from tests.oidc.serving import served, tokens_of
from tests.system.journey import Journey, codes, key

ERRORS = "errors { code path message }"
CONSENTS = "{ viewer { consents { id kind given documentVersion at } } }"
SET_CONSENT = f"""mutation($input: SetConsentInput!) {{ setConsent(input: $input) {{
    consent {{ id kind given documentVersion at }} {ERRORS} }} }}"""
CONTACT = f"""mutation($input: UpdateContactDetailsInput!) {{ updateContactDetails(input: $input) {{
    patient {{ name birthDate maskedPhone email language }} {ERRORS} }} }}"""
EXPORT = f"mutation($input: RequestDataExportInput!) {{ requestDataExport(input: $input) {{ downloadUrl {ERRORS} }} }}"
ERASE = f"mutation($input: EraseMyDataInput!) {{ eraseMyData(input: $input) {{ erased notErased {ERRORS} }} }}"
PATIENT = "{ viewer { patient { id name maskedPhone email language } } }"

NORWAY, SWEDEN = "grunerlokka-legesenter", "sodermalms-vardcentral"


def settings(town: Town, url: str, **more: Any) -> Any:
    return town.settings(url, public_url="http://127.0.0.1", **more)


async def say(client: Client, document: str, token: str, **given: Any) -> dict[str, Any]:
    [answer] = (await client(document, token, input=given)).values()
    assert isinstance(answer, dict)
    return answer


async def consents(client: Client, token: str) -> Mapping[str, Any]:
    return {each["kind"]: each for each in (await client(CONSENTS, token))["viewer"]["consents"]}


async def fetched(client: Client, url: str, token: str | None, **more: str) -> httpx2.Response:
    return await client.http.get(url, headers={**({"Authorization": f"Bearer {token}"} if token else {}), **more})


async def test_a_booking_notes_the_terms_and_the_wish_for_messages(town: Town, sqlite_filled_url: str) -> None:
    token = await sign_in(town, "kari")
    async with in_process(settings(town, sqlite_filled_url)) as (client, _):
        before = await consents(client, token)
        assert list(before) == ["TERMS", "PRIVACY", "SMS", "MARKETING"]
        assert not any(each["given"] or each["at"] for each in before.values())
        journey = Journey(client, NORWAY, token=token)
        await journey.booked()
        after = await consents(client, token)
        assert after["TERMS"]["given"] and after["TERMS"]["documentVersion"] == journey.known["tenant"]["termsVersion"]
        assert after["SMS"]["given"] and not after["MARKETING"]["given"]
        assert {kind: each["id"] for kind, each in after.items()} == {k: each["id"] for k, each in before.items()}
        no = await say(client, SET_CONSENT, token, kind="SMS", given=False)
        assert not no["consent"]["given"] and no["errors"] == []
        held = await journey.hold((await journey.slots())[-1]["id"])
        assert (await journey.confirm(held["hold"]["token"], smsConfirmation=False))["booking"]
        assert not (await consents(client, token))["SMS"]["given"]


async def test_terms_other_than_the_tenants_are_refused(town: Town, sqlite_filled_url: str) -> None:
    token = await sign_in(town, "kari")
    async with in_process(settings(town, sqlite_filled_url)) as (client, _):
        wrong = await say(client, SET_CONSENT, token, kind="TERMS", given=True, documentVersion="0")
        assert (wrong["consent"], codes(wrong)) == (None, ["TERMS_NOT_ACCEPTED"])
        odd = await say(client, SET_CONSENT, token, kind="PRIVACY", given=True, documentVersion="to ord")
        assert codes(odd) == ["INVALID_INPUT"] and odd["errors"][0]["path"] == ["input", "documentVersion"]


async def test_what_a_patient_typed_outlives_the_next_login(town: Town, sqlite_filled_url: str) -> None:
    token = await sign_in(town, "kari")
    async with in_process(settings(town, sqlite_filled_url)) as (client, _):
        before = (await client(PATIENT, token))["viewer"]["patient"]
        assert before["maskedPhone"] and before["maskedPhone"] != "••• 321"
        typed = await say(client, CONTACT, token, phone="+4740654321", email="kari@øy.example", language="sv")
        assert typed["errors"] == [] and typed["patient"]["name"] == before["name"]
        after = (await client(PATIENT, await sign_in(town, "kari")))["viewer"]["patient"]
        assert (after["maskedPhone"], after["email"], after["language"]) == ("••• 321", "kari@øy.example", "sv")
        await say(client, CONTACT, token, phone=None)
        gone = (await client(PATIENT, await sign_in(town, "kari")))["viewer"]["patient"]
        assert (gone["maskedPhone"], gone["email"]) == (None, "kari@øy.example")


async def test_everything_wrong_with_contact_details_is_told_at_once(town: Town, sqlite_filled_url: str) -> None:
    token = await sign_in(town, "kari")
    async with in_process(settings(town, sqlite_filled_url)) as (client, _):
        before = (await client(PATIENT, token))["viewer"]["patient"]
        for email in ("kari", "kari@", "kari@a", "a b@c.no", "kari@x.no\0", f"{'k' * 65}@x.no", "Kari <k@x.no>"):
            wrong = await say(client, CONTACT, token, phone="+47123", email=email, language="de")
            assert [each["path"][-1] for each in wrong["errors"]] == ["phone", "email", "language"], email
        assert (await client(PATIENT, token))["viewer"]["patient"] == before


async def test_an_export_is_the_patients_own_and_holds_all_of_it(town: Town, filled_url: str) -> None:
    kari, astrid = await sign_in(town, "kari"), await sign_in(town, "astrid")
    async with in_process(settings(town, filled_url)) as (client, _):
        journey = Journey(client, NORWAY, token=kari)
        slot = (await journey.slots())[0]
        held = await journey.hold(slot["id"])
        booking = (await journey.confirm(held["hold"]["token"], comment="Jeg har vondt"))["booking"]
        same = key()
        url = (await say(client, EXPORT, kari, idempotencyKey=same))["downloadUrl"]
        assert (await say(client, EXPORT, kari, idempotencyKey=same))["downloadUrl"] == url
        answer = await fetched(client, url, kari)
        assert answer.headers["cache-control"] == "no-store" and "attachment" in answer.headers["content-disposition"]
        told = json.loads(answer.content)
        assert told["complete"] and told["patient"]["national_number"]["country"] == "NO"
        [row] = told["booking"]
        assert (row["reference"], row["comment"]) == (booking["reference"], "Jeg har vondt")
        assert len(told["booking_step"]) == len(booking["history"])
        assert {each["kind"] for each in told["consent"]} == {"TERMS", "SMS"}
        assert {"booking.confirm", "patient.export"} <= {each["action"] for each in told["audit"]}
        assert "journaler" in told["notes"][0]
        assert [(await fetched(client, url, stranger)).status_code for stranger in (None, astrid)] == [401, 404]
        assert (await fetched(client, url, kari, **{"X-Tenant": "annan"})).status_code in (400, 401, 404)
        newer = (await say(client, EXPORT, kari, idempotencyKey=key()))["downloadUrl"]
        assert (await fetched(client, url, kari)).status_code == 404 and newer != url


async def test_an_export_expires(town: Town, sqlite_filled_url: str) -> None:
    token = await sign_in(town, "kari")
    async with in_process(settings(town, sqlite_filled_url, export_seconds=0.001)) as (client, _):
        same = key()
        url = (await say(client, EXPORT, token, idempotencyKey=same))["downloadUrl"]
        assert (await fetched(client, url, token)).status_code == 404
        assert (await say(client, EXPORT, token, idempotencyKey=same))["downloadUrl"] == url


async def test_the_export_at_rest_tells_nothing(town: Town, sqlite_filled_url: str) -> None:
    token = await sign_in(town, "kari")
    async with in_process(settings(town, sqlite_filled_url)) as (client, _):
        await say(client, EXPORT, token, idempotencyKey=key())
        name = (await client(PATIENT, token))["viewer"]["patient"]["name"]
    path = sqlite_filled_url.removeprefix("sqlite:///")
    [(sealed,)] = sqlite3.connect(path).execute("SELECT sealed FROM data_export").fetchall()
    assert name.split()[0].encode() not in sealed and b"itb-own-data" not in sealed


@pytest.mark.parametrize("clinic", [NORWAY, SWEDEN], ids=["ihe", "r4"])
async def test_an_erased_patient_is_told_what_is_left_and_is_signed_in_no_more(
    town: Town, filled_url: str, clinic: str
) -> None:
    token = await sign_in(town, "kari" if clinic == NORWAY else "astrid")
    async with in_process(settings(town, filled_url)) as (client, _):
        journey = Journey(client, clinic, token=token)
        slot = (await journey.slots())[0]
        booking = await journey.booked(slot["id"])
        url = (await say(client, EXPORT, token, idempotencyKey=key()))["downloadUrl"]
        erased = await say(client, ERASE, token, idempotencyKey=key())
        assert erased["erased"] and erased["errors"] == []
        [standing, *others] = erased["notErased"]
        assert booking["start"][11:13] in standing and len(others) == 3
        assert (await client("{ viewer { id } }", token))["viewer"] is None
        assert (await client.raw(ERASE, token, input={"idempotencyKey": key()}))["errors"]
        assert (await fetched(client, url, token)).status_code == 401
        assert slot["id"] not in {each["id"] for each in await Journey(client, clinic).slots()}


async def test_no_token_from_before_an_erasure_counts_and_a_login_after_it_is_somebody_new(
    town: Town, filled_url: str
) -> None:
    """Nor one that was renewed since, which is no login."""
    provider = create_identity_provider()
    keys = provider.state.provider.keys
    with served(provider) as issuer:
        async with in_process(settings(town, filled_url, oidc_issuer=issuer)) as (client, _):
            given = keys.claims((await tokens_of(issuer, "kari"))["access_token"])
            begun = given["iat"] - 60
            old = keys.sign("at+jwt", {**given, "auth_time": begun, "iat": begun})
            before = (await client(PATIENT, old))["viewer"]["patient"]
            assert (await say(client, ERASE, old, idempotencyKey=key()))["erased"]

            later = int(time.time()) + 1
            renewed = keys.sign("at+jwt", {**given, "auth_time": begun, "iat": later})
            for token in (old, renewed):
                assert (await client(PATIENT, token))["viewer"] is None
                assert codes_of(await client.raw(EXPORT, token, input={"idempotencyKey": key()})) == ["UNAUTHENTICATED"]
            async with raw(filled_url) as connection:
                assert (await connection.execute(select(PATIENT_TABLE.c.id))).all() == []

            again = keys.sign("at+jwt", {**given, "auth_time": later, "iat": later})
            after = (await client(PATIENT, again))["viewer"]["patient"]
            assert after["name"] == before["name"] and after["id"] != before["id"]
            for token in (old, renewed):
                assert codes_of(await client.raw(PATIENT, token)) == ["UNAUTHENTICATED"]


def codes_of(body: Mapping[str, Any]) -> list[str]:
    return [error["extensions"]["code"] for error in body.get("errors", ())]


async def test_nobody_but_a_patient_may_ask(town: Town, sqlite_filled_url: str) -> None:
    asked = {
        SET_CONSENT: {"kind": "SMS", "given": True},
        CONTACT: {"language": "nb"},
        EXPORT: {"idempotencyKey": key()},
        ERASE: {"idempotencyKey": key()},
    }
    async with in_process(settings(town, sqlite_filled_url)) as (client, _):
        for document, given in asked.items():
            [error] = (await client.raw(document, input=given))["errors"]
            assert error["extensions"]["code"] == "UNAUTHENTICATED"
