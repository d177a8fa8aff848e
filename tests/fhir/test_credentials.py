"""What a record system wants to see before it answers: sent to it with every request, and told nobody else."""

import logging
from dataclasses import replace

import pytest

from domain.endpoint import Dialect, Endpoint
from domain.ports import EhrUnavailable
from integrations.fhir.ehrs import FhirEhrs
from tests.fhir.conftest import KARI, NOW, PATIENCE, WEEK
from tests.fhir.scripted import Scripted, answer, endpoint_at, scripted
from tests.fhir.test_ihe import VISIT, appointment, bundle

SECRET = "Bearer do-not-tell"
VARIABLE = "FJORD_AUTHORIZATION"


def guarded(server: Scripted, dialect: Dialect = Dialect.IHE) -> Endpoint:
    return replace(endpoint_at(server.url, dialect), authorization_variable=VARIABLE)


async def test_every_request_carries_it() -> None:
    async with scripted(answer("{}"), bundle(), bundle(), bundle(appointment())) as (server, _):
        ehrs = FhirEhrs({VARIABLE: f"{SECRET}\n"})
        ehr = ehrs.at(guarded(server))
        await ehr.probe(PATIENCE)
        await ehr.registered_phone(KARI, PATIENCE)
        await ehr.catalogue(PATIENCE)
        await ehr.book(VISIT, PATIENCE)
        await ehrs.close()
    assert [each.headers.get("authorization") for each in server.requests] == [SECRET] * 4


async def test_an_endpoint_that_names_no_variable_is_sent_nothing() -> None:
    async with scripted(answer("{}")) as (server, _):
        ehrs = FhirEhrs({VARIABLE: SECRET, "": SECRET})
        await ehrs.at(endpoint_at(server.url)).probe(PATIENCE)
        await ehrs.close()
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize(
    ("secrets", "why"),
    [
        ({}, "is not set"),
        ({VARIABLE: " "}, "is not set"),
        ({VARIABLE: f"{SECRET}\r\nX: 1"}, "cannot be sent"),
        ({VARIABLE: f"{SECRET}ø"}, "cannot be sent"),
    ],
)
async def test_without_it_nothing_is_sent(dialect: Dialect, secrets: dict[str, str], why: str) -> None:
    async with scripted(answer("{}")) as (server, _):
        ehrs = FhirEhrs(secrets)
        ehr = ehrs.at(guarded(server, dialect))
        for call in (ehr.probe(PATIENCE), ehr.book(VISIT, PATIENCE), ehr.cancel(VISIT, PATIENCE)):
            with pytest.raises(EhrUnavailable) as outage:
                await call
            assert not outage.value.sent
            assert outage.value.reason.startswith(f"the environment variable {VARIABLE} {why}")
            assert "do-not-tell" not in outage.value.reason
        await ehrs.close()
    assert server.requests == []


@pytest.mark.parametrize("said", [b"", answer("", 401), answer("<html>", 500), answer("{")])
async def test_no_error_log_or_repr_tells_it(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with scripted(said) as (server, _):
        endpoint = guarded(server)
        ehrs = FhirEhrs({VARIABLE: SECRET})
        ehr = ehrs.at(endpoint)
        with pytest.raises(EhrUnavailable) as outage:
            await ehr.look_up(VISIT, PATIENCE)
        found = await ehr.find([], WEEK, PATIENCE)
        await ehrs.close()
    logging.getLogger("test").error("at %s", NOW, exc_info=outage.value)
    for text in (caplog.text, repr(outage.value), repr(ehr), repr(ehrs), repr(endpoint), repr(found)):
        assert "do-not-tell" not in text
    assert server.requests[0].headers["authorization"] == SECRET
