"""What both adapters hear of a record system's changes: when they ask, and by the Subscriptions they make there."""

import hashlib
import hmac
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest

from domain.endpoint import Dialect, Endpoint, News
from domain.ports import AppointmentState, EhrAppointment, EhrChange, EhrListening, EhrUnavailable, Hook, Outage, Visit
from domain.slot import FoundTime, Span
from integrations.fhir.ehrs import FhirEhrs
from tests.fhir.conftest import NOW, PATIENCE, WORLDS, Lab
from tests.fhir.scripted import answer, endpoint_at, scripted
from tests.fhir.test_ihe import appointment, bundle, refusal
from tests.sandbox.conftest import PEOPLE, Installation, launch
from tests.sandbox.receiving import Receiver, receiving, status_of, until

SECRET = "between the two of us"
UNTIL = NOW + timedelta(days=2)
MINUTE = timedelta(minutes=1)


@dataclass
class Desk:
    """A record system whose clock the test moves, what staff do there, and what the adapter hears of it."""

    lab: Lab
    ehr: Installation
    clock: list[datetime]

    @property
    def listening(self) -> EhrListening:
        return self.lab.ehrs.listening(self.lab.endpoint)

    @property
    def kinds(self) -> set[str]:
        return {"Appointment"} if self.lab.endpoint.dialect is Dialect.IHE else {"Appointment", "Slot"}

    def later(self, by: timedelta = MINUTE) -> datetime:
        self.clock[0] += by
        return self.clock[0]

    def staff(self, path: str, **asked: Any) -> dict[str, Any]:
        done = self.ehr.http.post(f"/_sandbox/{path}", json=asked)
        assert done.status_code in (200, 201), done.text
        resource: dict[str, Any] = done.json()
        return resource

    def ring(self, time: FoundTime) -> dict[str, Any]:
        start = time.start.isoformat()
        return self.staff("phone-bookings", role=time.practitioner_ehr_id, start=start, minutes=45)

    async def changes(self, since: datetime) -> Sequence[EhrChange]:
        return (await self.listening.changes(since, PATIENCE)).changes

    async def of_appointments(self, since: datetime) -> list[EhrChange]:
        return [each for each in await self.changes(since) if each.key.startswith("Appointment/")]

    async def of_slots(self, since: datetime) -> list[EhrChange]:
        return [each for each in await self.changes(since) if each.key.startswith("Slot/")]

    async def of_one(self, since: datetime, visit: Visit) -> EhrChange:
        [change] = await self.of_appointments(since)
        assert change.booking_id == visit.booking_id
        assert change.appointment and change.appointment.ehr_id == visit.ehr_id
        return change

    async def hook_up(self, receiver: Receiver, until_: datetime = UNTIL, /, **known: str) -> dict[str, str]:
        hook = Hook(url=receiver.url, secret=SECRET, until=until_)
        ids = dict(await self.listening.hook_up(hook, known, PATIENCE))
        for id in ids.values():
            until(lambda id=id: status_of(self.ehr, id) == "active")  # type: ignore[misc]
        return ids

    def subscription(self, id: str) -> dict[str, Any]:
        kept: dict[str, Any] = self.ehr.get(f"/Subscription/{id}")
        return kept


@asynccontextmanager
async def desk_of(dialect: Dialect, **options: Any) -> AsyncIterator[Desk]:
    clock = [NOW]
    ehr = launch(WORLDS[dialect], now=lambda: clock[0], people=PEOPLE, **options)
    endpoint = Endpoint(tenant_id="t", id="e", dialect=dialect, base_url=ehr.url)
    with httpx2.Client(base_url=ehr.url, timeout=10) as admin:
        desk = Desk(Lab(world=WORLDS[dialect], url=ehr.url, endpoint=endpoint, admin=admin), ehr, clock)
        yield desk
        await desk.lab.ehrs.close()
    ehr.stop()


@pytest.fixture(params=list(Dialect))
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    async with desk_of(request.param) as desk:
        yield desk


@pytest.fixture
async def r4_desk() -> AsyncIterator[Desk]:
    async with desk_of(Dialect.R4) as desk:
        yield desk


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


async def test_a_booking_by_telephone_is_told_with_whom_and_when(desk: Desk) -> None:
    time = (await desk.lab.times())[0]
    since = desk.later()
    visit = desk.ring(time)
    [change] = await desk.of_appointments(since)
    span = Span(start=time.start, end=time.end)
    assert change == EhrChange(
        key=f"Appointment/{visit['id']}/1",
        at=since,
        practitioner_ehr_id=time.practitioner_ehr_id,
        span=span,
        appointment=EhrAppointment(
            ehr_id=visit["id"],
            state=AppointmentState.BOOKED,
            start=span.start,
            end=span.end,
            practitioner_ehr_id=time.practitioner_ehr_id,
        ),
    )


async def test_what_we_booked_is_told_with_our_number_and_its_time(desk: Desk) -> None:
    since = desk.later()
    visit = await desk.lab.booked_visit()
    change = await desk.of_one(since, visit)
    assert change.reference == visit.reference != ""
    assert change.span == Span(start=visit.start, end=visit.end)


async def test_a_cancellation_is_told(desk: Desk) -> None:
    visit = await desk.lab.booked_visit()
    since = desk.later()
    desk.staff(f"appointments/{visit.ehr_id}/cancel")
    change = await desk.of_one(since, visit)
    assert change.appointment and change.appointment.state is AppointmentState.CANCELLED
    assert change.span == Span(start=visit.start, end=visit.end)


async def test_a_move_is_told_with_the_new_time_and_practitioner(desk: Desk) -> None:
    visit = await desk.lab.booked_visit()
    to = next(t for t in reversed(await desk.lab.times()) if t.practitioner_ehr_id != visit.practitioner_ehr_id)
    since = desk.later()
    desk.staff(f"appointments/{visit.ehr_id}/move", start=to.start.isoformat(), role=to.practitioner_ehr_id)
    change = await desk.of_one(since, visit)
    assert change.appointment and change.appointment.state is AppointmentState.BOOKED
    assert (change.span, change.practitioner_ehr_id) == (Span(start=to.start, end=to.end), to.practitioner_ehr_id)
    assert (change.appointment.start, change.appointment.practitioner_ehr_id) == (to.start, to.practitioner_ehr_id)
    if desk.lab.endpoint.dialect is Dialect.R4:
        assert change.reference == to.reference


@pytest.mark.parametrize(
    ("noted", "state"), [("fulfilled", AppointmentState.FULFILLED), ("noshow", AppointmentState.NO_SHOW)]
)
async def test_how_a_visit_ended_is_told(desk: Desk, noted: str, state: AppointmentState) -> None:
    visit = await desk.lab.booked_visit()
    since = desk.later()
    desk.staff(f"appointments/{visit.ehr_id}/outcome", status=noted)
    change = await desk.of_one(since, visit)
    assert change.appointment and change.appointment.state is state


async def test_what_was_changed_before_is_not_told_and_what_was_at_that_instant_is(desk: Desk) -> None:
    times = await desk.lab.times()
    desk.ring(times[0])
    since = desk.later()
    assert await desk.changes(since) == []
    visit = desk.ring(times[-1])
    assert [each.key for each in await desk.of_appointments(since)] == [f"Appointment/{visit['id']}/1"]
    assert await desk.changes(since + MINUTE) == []


async def test_every_change_of_one_visit_has_a_key_of_its_own(desk: Desk) -> None:
    since = desk.later()
    visit = await desk.lab.booked_visit()
    [first] = await desk.of_appointments(since)
    desk.staff(f"appointments/{visit.ehr_id}/cancel")
    [second] = await desk.of_appointments(since)
    assert first.key != second.key
    assert first.key.rpartition("/")[0] == second.key.rpartition("/")[0]


async def test_pages_are_followed_to_the_last(desk: Desk) -> None:
    since = desk.later()
    role = (await desk.lab.times())[0].practitioner_ehr_id
    own = [time for time in await desk.lab.times() if time.practitioner_ehr_id == role]
    apart = [own[0]]
    for time in own:
        if time.start >= apart[-1].end:
            apart.append(time)
    visits = {desk.ring(time)["id"] for time in apart[:4]}
    whole = {each.key for each in await desk.changes(since)}
    desk.lab.set(page_size=3)
    desk.lab.forget_calls()
    assert {each.key for each in await desk.changes(since)} == whole
    assert {key.split("/")[1] for key in whole if key.startswith("Appointment/")} == visits
    assert desk.lab.calls("search") > 1


async def test_a_taken_a_closed_and_a_reopened_slot_are_told_with_schedule_and_time(r4_desk: Desk) -> None:
    """A plain R4 system has Slots that change, also where there is no Appointment to see."""
    time = (await r4_desk.lab.times())[0]
    role = r4_desk.lab.world.role_by_id[time.practitioner_ehr_id]
    since = r4_desk.later()
    r4_desk.ring(time)
    told = {each.key.split("/")[1]: each for each in await r4_desk.of_slots(since)}
    taken = told[time.reference]
    assert (taken.schedule_id, taken.span) == (role.schedule, Span(start=time.start, end=time.end))
    assert (taken.at, taken.appointment, taken.booking_id) == (since, None, None)
    assert {each.schedule_id for each in told.values()} == {role.schedule}
    other = (await r4_desk.lab.times())[-1]
    closing = r4_desk.later()
    asked = {"role": other.practitioner_ehr_id, "start": other.start.isoformat(), "minutes": 45}
    closure = r4_desk.staff("closures", **asked)["id"]
    [closed] = [each for each in await r4_desk.of_slots(closing) if each.key.split("/")[1] == other.reference]
    assert await r4_desk.of_appointments(closing) == []
    opening = r4_desk.later()
    assert r4_desk.ehr.http.delete(f"/_sandbox/closures/{closure}").status_code == 204
    [opened] = [each for each in await r4_desk.of_slots(opening) if each.key.split("/")[1] == other.reference]
    assert opened.key != closed.key and opened.span == closed.span == Span(start=other.start, end=other.end)


async def test_a_server_that_cannot_be_asked_by_last_update_leaves_that_kind_out() -> None:
    refused, told = refusal("not-supported", 400), bundle(appointment())
    for dialect, answers, found in (
        (Dialect.IHE, (refused,), 0),
        (Dialect.R4, (told, refused), 1),
        (Dialect.R4, (refused, refused), 0),
    ):
        async with scripted(*answers) as (server, _):
            ehrs = FhirEhrs()
            one_by_one = replace(endpoint_at(server.url, dialect), max_concurrency=1)
            news = await ehrs.listening(one_by_one).changes(NOW, PATIENCE)
            assert (len(news.changes), news.whole) == (found, True)
            assert all("_lastUpdated=ge2026-12-01T06:00:00Z" in each.target for each in server.requests)
            await ehrs.close()


async def test_one_that_cannot_be_read_does_not_hide_its_neighbours() -> None:
    fine = appointment(id="fine")
    crooked = [appointment(id="a", start="soon"), appointment(id="b", status="dreamt"), appointment(id="c", end=None)]
    undated = appointment(id="undated", meta={"lastUpdated": "yesterday"})
    async with scripted(bundle(*crooked, fine, undated)) as (server, _):
        ehrs = FhirEhrs()
        found = (await ehrs.listening(endpoint_at(server.url)).changes(NOW, PATIENCE)).changes
        await ehrs.close()
    assert [each.key.split("/")[1] for each in found] == ["fine", "undated"]
    assert found[1].at is None


@pytest.mark.parametrize("kind", ["down", "throttled"])
async def test_an_outage_is_not_taken_for_nothing_new(desk: Desk, kind: str) -> None:
    desk.ring((await desk.lab.times())[0])
    desk.lab.fault(kind)
    with pytest.raises(EhrUnavailable):
        await desk.changes(NOW)


async def test_a_server_that_hangs_is_waited_for_until_the_deadline_only(desk: Desk) -> None:
    desk.lab.fault("hang")
    with pytest.raises(EhrUnavailable) as outage:
        await desk.listening.changes(NOW, 0.2)
    assert outage.value.outage is Outage.TIMEOUT
    with pytest.raises(EhrUnavailable):
        await desk.listening.hook_up(Hook(url="http://x.example/n", secret=SECRET, until=UNTIL), {}, 0.2)


async def test_half_of_the_pages_is_not_taken_for_all(desk: Desk) -> None:
    since = desk.later()
    times = await desk.lab.times()
    for time in (times[0], times[-1]):
        desk.ring(time)
    desk.lab.set(page_size=1)
    desk.lab.fault("hang-between-pages")
    for deadline in (1.0, 20.0):  # a machine so busy that the first page misses the first gets the second
        with suppress(EhrUnavailable):
            news = await desk.listening.changes(since, deadline)
            assert news.changes and not news.whole
            return
    raise AssertionError("what could be told in time never was")


@pytest.mark.parametrize("news", [News.REST_HOOK, News.TOPICS])
async def test_subscriptions_are_made_active_and_end_by_themselves(desk: Desk, receiver: Receiver, news: News) -> None:
    desk.lab.set(news=news)
    ids = await desk.hook_up(receiver)
    assert set(ids) == desk.kinds
    for kind, id in ids.items():
        kept = desk.subscription(id)
        topic = f"{desk.lab.endpoint.topics}/{kind.lower()}s"
        assert kept["criteria"] == (topic if news is News.TOPICS else kind)
        assert datetime.fromisoformat(kept["end"]) == UNTIL
        assert kept["channel"]["endpoint"] == receiver.url
        assert "extension" not in kept


async def test_a_known_subscription_is_renewed_in_its_place(desk: Desk, receiver: Receiver) -> None:
    ids = await desk.hook_up(receiver)
    desk.lab.forget_calls()
    assert await desk.hook_up(receiver, UNTIL + timedelta(days=2), **ids) == ids
    assert desk.ehr.get("/Subscription")["total"] == len(ids)
    for id in ids.values():
        kept = desk.subscription(id)
        assert (kept["meta"]["versionId"], kept["end"][:10]) == ("2", (UNTIL + timedelta(days=2)).date().isoformat())


async def test_one_that_is_over_or_in_trouble_is_woken_by_being_renewed(desk: Desk, receiver: Receiver) -> None:
    desk.lab.set(news=News.TOPICS)
    ids = await desk.hook_up(receiver)
    desk.later(timedelta(days=3))
    assert {status_of(desk.ehr, id) for id in ids.values()} == {"off"}
    assert await desk.hook_up(receiver, UNTIL + timedelta(days=3), **ids) == ids


async def test_a_new_one_is_made_where_the_known_one_is_gone(desk: Desk, receiver: Receiver) -> None:
    ids = await desk.hook_up(receiver)
    assert desk.ehr.http.delete(f"/Subscription/{ids['Appointment']}").status_code == 204
    again = await desk.hook_up(receiver, **ids)
    assert again["Appointment"] != ids["Appointment"]
    assert again.get("Slot") == ids.get("Slot")
    assert desk.ehr.get("/Subscription")["total"] == len(ids)


@pytest.mark.parametrize("dialect", list(Dialect))
async def test_a_server_without_subscriptions_is_let_be(dialect: Dialect, receiver: Receiver) -> None:
    async with desk_of(dialect, subscriptions=False) as desk:
        assert await desk.hook_up(receiver) == {}
        assert await desk.hook_up(receiver, Appointment="sub-1", Slot="sub-2") == {}


async def test_a_kind_that_nobody_is_told_of_is_left_out() -> None:
    made = answer('{"resourceType": "Subscription", "id": "one"}', 201)
    async with scripted(made, refusal("not-supported", 400)) as (server, _):
        ehrs = FhirEhrs()
        listening = ehrs.listening(endpoint_at(server.url, Dialect.R4))
        assert await listening.hook_up(Hook(url="http://x.example/n", secret="s", until=UNTIL), {}, PATIENCE) == {
            "Appointment": "one"
        }
        await ehrs.close()


async def test_a_server_that_answers_without_a_body_is_believed_by_its_location() -> None:
    async with scripted(answer("", 201, Location="http://x.example/fhir/Subscription/s-9/_history/1")) as (server, _):
        ehrs = FhirEhrs()
        listening = ehrs.listening(endpoint_at(server.url))
        hooks = await listening.hook_up(Hook(url="http://x.example/n", secret="s", until=UNTIL), {}, PATIENCE)
        await ehrs.close()
    assert hooks == {"Appointment": "s-9"}


async def test_a_server_that_is_down_says_nothing_of_subscriptions(desk: Desk, receiver: Receiver) -> None:
    desk.lab.fault("down", "subscription")
    with pytest.raises(EhrUnavailable):
        await desk.hook_up(receiver)


@pytest.mark.parametrize("signs", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("news", [News.REST_HOOK, News.TOPICS])
async def test_what_arrives_is_understood_believed_and_says_what_asking_says(
    desk: Desk, receiver: Receiver, news: News, signs: bool
) -> None:
    desk.lab.set(news=news, signs_news=signs)
    ids = await desk.hook_up(receiver)
    time = (await desk.lab.times())[0]
    since = desk.later()
    visit = desk.ring(time)
    desk.staff(f"appointments/{visit['id']}/cancel")

    def told() -> list[EhrChange]:
        return [change for each in receiver.got for change in desk.listening.notification(each.body).changes]

    wanted = {f"Appointment/{visit['id']}/1", f"Appointment/{visit['id']}/2"}
    until(lambda: wanted <= {each.key for each in told()} and (desk.kinds <= {_kind(each) for each in told()}))
    asked = {each.key: each for each in await desk.of_appointments(since)}
    assert [each for each in told() if each.key in asked] == list(asked.values())
    [booked] = [each for each in told() if each.key == f"Appointment/{visit['id']}/1"]
    assert booked.appointment and booked.appointment.state is AppointmentState.BOOKED
    assert (booked.practitioner_ehr_id, booked.span) == (
        time.practitioner_ehr_id,
        Span(start=time.start, end=time.end),
    )
    for each in receiver.got:
        assert each.headers["authorization"] == f"Bearer {SECRET}"
        signature = hmac.new(SECRET.encode(), each.body, hashlib.sha256).hexdigest()
        assert each.headers.get("x-signature") == (signature if signs else None)
    if news is News.TOPICS:
        _assert_numbered(desk, receiver, ids)


def _kind(change: EhrChange) -> str:
    return change.key.partition("/")[0]


def _assert_numbered(desk: Desk, receiver: Receiver, ids: dict[str, str]) -> None:
    """From the handshake on, which tells of nothing, every Subscription counts without a gap."""
    reached = dict.fromkeys(ids.values(), 0)
    seen: set[str] = set()
    for each in receiver.got:
        told = desk.listening.notification(each.body)
        assert told.subscription in reached and told.number is not None
        if told.subscription not in seen:
            assert (told.events, told.changes, told.number) == (0, (), 0)
        assert told.number == reached[told.subscription] + told.events
        assert len(told.changes) == told.events
        reached[told.subscription] = told.number
        seen.add(told.subscription)
    assert seen == set(ids.values())
