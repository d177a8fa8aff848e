"""One request over the wire: what is sent, how often, and what each way of failing is called."""

import asyncio
import inspect
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from fhirpy import AsyncFHIRClient
from fhirpy.base.client import AbstractClient

from domain.ports import EhrUnavailable, Outage
from integrations.fhir import connections
from integrations.fhir.client import FhirClient, asking, path_to, token, under
from integrations.fhir.failures import FhirFailure
from integrations.fhir.paging import every
from integrations.fhir.wire import Appointment, Slot
from tests.fhir.scripted import answer, endpoint_at, scripted

OUTCOME = '{"resourceType":"OperationOutcome","issue":[{"severity":"%s","code":"%s","diagnostics":"%s"}]}'
SLOT = '{"resourceType":"Slot","id":"1"}'


def outcome(code: str, severity: str = "error", text: str = "no") -> str:
    return OUTCOME % (severity, code, text)


def test_fhirpy_still_has_the_private_methods_that_are_overridden() -> None:
    names = ["self", "method", "path", "data", "params", "extra_headers", "returning_status"]
    assert list(inspect.signature(AsyncFHIRClient._do_request).parameters) == names
    assert list(inspect.signature(FhirClient._do_request).parameters) == names
    assert list(inspect.signature(AbstractClient._build_request_url).parameters) == ["self", "path", "params"]
    assert list(inspect.signature(FhirClient._build_request_url).parameters) == ["self", "path", "params"]
    assert list(inspect.signature(AbstractClient._build_request_headers).parameters) == ["self"]


async def test_fhirpys_own_methods_go_through_ours() -> None:
    async with scripted(answer(SLOT)) as (server, client):
        assert (await client.get("Slot", "1"))["id"] == "1"
        assert await client.execute("Slot/$x", data={"resourceType": "Parameters"}) == {
            "resourceType": "Slot",
            "id": "1",
        }
    assert [each.method for each in server.requests] == ["GET", "POST"]
    assert server.requests[1].headers["content-type"] == "application/fhir+json"


async def test_addresses_are_encoded_once_and_headers_are_per_call() -> None:
    async with scripted(answer(SLOT)) as (server, client):
        params = {"start": "2026-12-01T08:00:00+01:00", "x": "a|b"}
        await client.send("GET", path_to("Slot", "a:b/c d+e"), params, headers={"If-Match": 'W/"1"'})
    request = server.requests[0]
    assert request.target == "/fhir/Slot/a:b%2Fc%20d%2Be?start=2026-12-01T08:00:00%2B01:00&x=a%7Cb"
    assert request.headers["if-match"] == 'W/"1"'
    assert request.headers["accept"] == "application/fhir+json"


async def test_reads_share_a_connection_and_writes_open_their_own() -> None:
    async with scripted(answer(SLOT)) as (server, client):
        for _ in range(3):
            await client.read_bytes("Slot/1")
        for method in ("POST", "PUT"):
            await client.send(method, "Slot/1", data={})
        await client.read_bytes("Slot/1")
    assert [each.connection for each in server.requests] == [1, 1, 1, 2, 3, 1]


async def test_a_kept_connection_that_the_server_closed_does_not_matter() -> None:
    async with scripted(answer(SLOT)) as (server, client):
        server.hang_up_after = True
        await client.read_bytes("Slot/1")
        await client.send("POST", "Slot", data={})
        await client.send("PUT", "Slot/1", data={})
    assert [each.method for each in server.requests] == ["GET", "POST", "PUT"]


async def test_a_read_on_a_stale_connection_is_tried_once_more_on_a_new_one() -> None:
    async with scripted(answer(SLOT), b"", answer(SLOT)) as (server, client):
        await client.read_bytes("Slot/1")
        await client.read_bytes("Slot/1")
    assert [each.connection for each in server.requests] == [1, 1, 2]


async def test_a_read_whose_connection_breaks_on_a_stale_one_and_again_is_not_tried_a_third_time() -> None:
    async with scripted(answer(SLOT), b"") as (server, client):
        await client.read_bytes("Slot/1")
        with pytest.raises(EhrUnavailable) as outage:
            await client.read_bytes("Slot/1")
    assert outage.value.sent and outage.value.outage is Outage.OFFLINE
    assert [each.connection for each in server.requests] == [1, 1, 2]


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_write_whose_connection_broke_is_not_repeated(method: str) -> None:
    async with scripted(b"") as (server, client):
        with pytest.raises(EhrUnavailable) as outage:
            await client.send(method, "Slot/1", data={})
    assert outage.value.sent
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("body", ["", "<html>Bad Gateway</html>", outcome("exception"), outcome("transient")])
async def test_a_server_that_broke_gave_no_answer(status: int, body: str) -> None:
    async with scripted(answer(body, status, Retry_After="7")) as (_, client):
        with pytest.raises(EhrUnavailable) as outage:
            await client.send("POST", "Appointment/$book", data={})
    assert outage.value.sent and outage.value.outage is Outage.OFFLINE
    assert outage.value.retry_after == timedelta(seconds=7)


async def test_a_refusal_that_can_be_read_is_believed_even_under_500() -> None:
    async with scripted(answer(outcome("conflict"), 500)) as (_, client):
        with pytest.raises(FhirFailure) as failure:
            await client.send("POST", "Appointment/$book", data={})
    assert failure.value.status == 500


@pytest.mark.parametrize("status", [200, 400, 404, 409, 412, 422])
async def test_a_no_keeps_its_status_headers_and_outcome(status: int) -> None:
    async with scripted(answer(outcome("conflict", text="too late"), status, X_Request_Id="r1")) as (_, client):
        with pytest.raises(FhirFailure) as failure:
            await client.send("PUT", "Slot/1", data={})
    assert failure.value.status == status
    assert failure.value.headers["X-Request-Id"] == "r1"
    assert failure.value.outcome.codes == {"conflict"}
    assert failure.value.outcome.text == "too late"


async def test_information_is_no_failure() -> None:
    async with scripted(answer(outcome("informational", "information"))) as (_, client):
        assert (await client.send("PUT", "Slot/1", data={})).status == 200


async def test_when_to_come_back_is_told_in_three_ways() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    told = [{"Retry_After": "5"}, {"Retry_After": soon}, {"RateLimit": '"default";r=0;t=60'}, {"Retry_After": "soon"}]
    async with scripted(*(answer("", 429, **each) for each in told)) as (_, client):
        waits = []
        for _ in told:
            with pytest.raises(EhrUnavailable) as outage:
                await client.send("POST", "Slot", data={})
            waits.append(outage.value.retry_after)
    assert waits[0] == timedelta(seconds=5)
    assert waits[1] and timedelta(seconds=30) < waits[1] <= timedelta(seconds=90)
    assert waits[2:] == [timedelta(seconds=60), None]


async def test_redirects_are_not_followed() -> None:
    async with scripted(answer("", 302, Location="/fhir/Slot/2"), answer(SLOT)) as (server, client):
        with pytest.raises(EhrUnavailable):
            await client.read_bytes("Slot/1")
    assert len(server.requests) == 1


async def test_half_a_body_is_no_answer() -> None:
    half = answer(SLOT)[:-5]
    async with scripted(half) as (server, client):
        server.hang_up_after = True
        with pytest.raises(EhrUnavailable) as outage:
            await client.send("POST", "Slot", data={})
    assert outage.value.sent


@pytest.mark.parametrize("body", ["<html></html>", "[]", '{"resourceType":"Bundle","entry":', "\xff\xfe", ""])
async def test_a_body_that_is_no_bundle_is_no_answer(body: str) -> None:
    async with scripted(answer(body.encode("latin-1"))) as (_, client):
        with pytest.raises(EhrUnavailable), asking(5):
            [each async for each in every(client, "Slot", {}, Slot)]


async def test_a_body_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LARGEST_BODY", 1000)
    async with scripted(answer("x" * 1001)) as (server, client):
        with pytest.raises(EhrUnavailable, match="more than 1000 bytes"):
            await client.read_bytes("Slot")
    assert len(server.requests) == 1


async def test_silence_after_connecting_may_have_been_heard() -> None:
    async with scripted(b"HTTP/1.1 200 OK\r\n") as (_, client):
        with pytest.raises(EhrUnavailable) as outage, asking(0.4):
            await client.send("POST", "Slot", data={})
    assert (outage.value.outage, outage.value.sent) == (Outage.TIMEOUT, True)


async def test_a_host_that_does_not_exist_heard_nothing() -> None:
    client = FhirClient(endpoint_at("http://no-such-host.invalid/fhir"))
    with pytest.raises(EhrUnavailable) as outage, asking(5):
        await client.send("POST", "Slot", data={})
    assert not outage.value.sent
    await client.close()


async def test_a_connection_that_is_never_accepted_heard_nothing() -> None:
    """TLS never gets past its first step with a server that says nothing."""
    async with scripted(b"") as (server, _):
        silent = await asyncio.start_server(lambda reader, writer: asyncio.sleep(5), "127.0.0.1", 0)
        client = FhirClient(endpoint_at(f"https://127.0.0.1:{silent.sockets[0].getsockname()[1]}"))
        with pytest.raises(EhrUnavailable) as outage, asking(0.3):
            await client.send("POST", "Slot", data={})
        silent.close()
        await client.close()
    assert (outage.value.outage, outage.value.sent) == (Outage.TIMEOUT, False)
    assert server.requests == []


def test_an_address_is_the_servers_own_only_in_front() -> None:
    base = "http://ehr.example/fhir"
    for own in ("/Slot?_offset=20", "?_getpages=abc", "/?_getpages=abc"):
        assert under(base, base + own), own
    for other in (
        "http://evil.example/?to=http://ehr.example/fhir/Slot",
        "http://ehr.example/fhirplace/Slot",
        "http://ehr.example.evil.example/fhir/Slot",
        "http://x@ehr.example/fhir/Slot",
        "https://ehr.example/fhir/Slot",
        "http://ehr.example:8080/fhir/Slot",
        "http://ehr.example/fhir/../admin",
        "http://ehr.example/fhir/%2e%2e/admin",
    ):
        assert not under(base, other), other


@pytest.mark.parametrize("link", ["?page=2", "/fhir/Slot?page=2", "Slot?page=2", "{base}/Slot?page=2"])
async def test_next_links_are_followed_in_every_form(link: str) -> None:
    last = '{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Slot","id":"2"}}]}'
    async with scripted(b"", answer(last)) as (server, client):
        server.answers[0] = answer(_first(link.format(base=server.url)))
        assert [each.id async for each in every(client, "Slot", {"_count": 1}, Slot)] == ["1", "2"]
    assert [each.target for each in server.requests] == ["/fhir/Slot?_count=1", "/fhir/Slot?page=2"]


async def test_a_next_link_may_be_of_the_base_itself() -> None:
    """As HAPI's are."""
    last = '{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Slot","id":"2"}}]}'
    async with scripted(b"", answer(last)) as (server, client):
        server.answers[0] = answer(_first(f"{server.url}?_getpages=abc"))
        assert [each.id async for each in every(client, "Slot", {"_count": 1}, Slot)] == ["1", "2"]
    assert server.requests[-1].target == "/fhir?_getpages=abc"


@pytest.mark.parametrize("link", ["http://evil.example/fhir/Slot?page=2", "//evil.example/fhir/Slot", "file:///etc"])
async def test_next_links_never_lead_away(link: str) -> None:
    async with scripted(answer(_first(link))) as (server, client):
        with pytest.raises(EhrUnavailable, match="leads away"):
            [each async for each in every(client, "Slot", {}, Slot)]
    assert len(server.requests) == 1


async def test_pages_that_go_in_a_circle_come_to_an_end() -> None:
    async with scripted(answer(_first("?page=2"))) as (server, client):
        with pytest.raises(EhrUnavailable, match="no end"):
            [each async for each in every(client, "Slot", {}, Slot)]
    assert len(server.requests) == 2


async def test_one_unreadable_entry_does_not_spoil_the_others_but_is_told() -> None:
    good = '{"resource":{"resourceType":"Appointment","id":"1","start":"2026-12-01T08:00:00+01:00"}}'
    naive = '{"resource":{"resourceType":"Appointment","id":"2","start":"2026-12-01T08:00:00"}}'
    async with scripted(answer(f'{{"resourceType":"Bundle","entry":[{naive},{good}]}}')) as (_, client):
        seen = []
        with pytest.raises(EhrUnavailable):
            async for each in every(client, "Appointment", {}, Appointment):
                seen.append(each.id)
    assert seen == ["1"]


def test_what_would_separate_two_tokens_is_escaped() -> None:
    assert token("urn:x", "a,b|c\\") == r"urn:x|a\,b\|c" + "\\\\"


def _first(link: str) -> str:
    entry = '{"resource":{"resourceType":"Slot","id":"1"}}'
    return f'{{"resourceType":"Bundle","link":[{{"relation":"next","url":"{link}"}}],"entry":[{entry}]}}'
