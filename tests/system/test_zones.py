"""A day is the clinic's day and an offset the clinic's offset, whatever zone the server's own clock is set to.

The record systems here are open round the clock, and their clocks stand in the week before a night on which the
clinics' clocks change.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
import pytest

from integrations.sandbox.world import DAYS, Opening, World
from integrations.sandbox.world_no import NORWAY
from integrations.sandbox.world_se import SWEDEN
from tests import databases
from tests.api.searching import IDS
from tests.living import Town, fill, running
from tests.sandbox.conftest import launch

ZONES = {"UTC": "UTC0", "Pacific/Kiritimati": "<+14>-14", "America/Los_Angeles": "PST8PDT,M3.2.0,M11.1.0"}
"""As POSIX writes them, which needs no files of the machine."""

CLINICS = {"sentrum-legesenter": "Europe/Oslo", "vasastans-vardcentral": "Europe/Stockholm"}
WALL = ZoneInfo("Europe/Oslo")
"""Stockholm's clocks have shown the same for longer than this matters."""

NIGHTS = {"spring": date(2040, 3, 25), "autumn": date(2040, 10, 28)}
"""So far ahead that the servers' own time does not matter."""

FIND = """query($search: AvailabilitySearch!) { availability(search: $search) {
    complete days { date slotCount first { id start } } nextAvailable { id start }
    slots(first: 500) { nodes { id start end clinic { slug timeZone } } pageInfo { hasNextPage } } } }"""


def _offset(day: date) -> timedelta:
    offset = datetime.combine(day, time(), WALL).utcoffset()
    assert offset is not None
    return offset


def test_these_are_the_nights() -> None:
    for name, longer in (("spring", -1), ("autumn", 1)):
        day = NIGHTS[name]
        assert _offset(day) - _offset(day + timedelta(days=1)) == timedelta(hours=longer)


def round_the_clock(world: World) -> World:
    always = (Opening(days=DAYS, opens="00:00", closes="23:45"),)
    return replace(
        world,
        clinics=tuple(replace(each, openings=always) for each in world.clinics),
        roles=tuple(replace(each, days=DAYS, treatments=("vaccination",)) for each in world.roles),
    )


@dataclass(frozen=True)
class Around:
    """Servers in three zones over one database, around one night."""

    servers: dict[str, httpx2.Client]
    night: date

    def post(self, zone: str, query: str, **variables: Any) -> bytes:
        answer = self.servers[zone].post("/graphql", json={"query": query, "variables": variables})
        assert answer.status_code == 200, answer.text
        return answer.content

    def find(self, first: date, last: date, **more: Any) -> dict[str, Any]:
        """What all of them answer: the same, byte for byte."""
        known = httpx2.Response(200, content=self.post("UTC", IDS, treatment="vaccination")).json()["data"]
        ids = [each["id"] for each in known["clinics"]["nodes"] if each["slug"] in CLINICS]
        days = {"from": first.isoformat(), "to": last.isoformat()}
        search = {"treatmentId": known["treatment"]["id"], "clinicIds": ids, **days, **more}
        told = {zone: self.post(zone, FIND, search=search) for zone in self.servers}
        assert told == dict.fromkeys(told, told["UTC"])
        found = httpx2.Response(200, content=told["UTC"]).json()
        assert "errors" not in found, found
        availability: dict[str, Any] = found["data"]["availability"]
        assert availability["complete"]
        return availability

    def starts(self, first: date, last: date, **more: Any) -> list[str]:
        return [slot["start"] for slot in self.find(first, last, **more)["slots"]["nodes"]]


@pytest.fixture(scope="module", params=NIGHTS)
def around(
    request: pytest.FixtureRequest, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Around]:
    night, folder = NIGHTS[request.param], tmp_path_factory.mktemp("zones")
    before = datetime.combine(night - timedelta(days=5), time(12), UTC)
    norway, sweden = (launch(round_the_clock(world), now=lambda: before) for world in (NORWAY, SWEDEN))
    town = Town(norway, sweden, issuer="http://127.0.0.1:9/nobody-signs-in-here")
    url = f"sqlite:///{shutil.copyfile(sqlite_template, folder / 'zones.db')}"
    databases._apart(fill(town, url))
    with ExitStack() as stack:
        servers = {}
        for zone, posix in ZONES.items():
            with pytest.MonkeyPatch.context() as surroundings:
                surroundings.setenv("TZ", posix)
                server = stack.enter_context(running(town.settings(url), folder / "log"))
            servers[zone] = stack.enter_context(httpx2.Client(base_url=server.url, timeout=60))
        yield Around(servers, night)
    norway.stop()
    sweden.stop()


@pytest.mark.parametrize(("zone", "hours"), [("UTC", 0), ("Pacific/Kiritimati", 14), ("America/Los_Angeles", -8)])
def test_the_servers_clocks_are_set_as_they_say(monkeypatch: pytest.MonkeyPatch, zone: str, hours: int) -> None:
    """Otherwise nothing here would prove anything."""
    monkeypatch.setenv("TZ", ZONES[zone])
    program = "from datetime import datetime as d; print(d(2027, 1, 1).astimezone().utcoffset().total_seconds())"
    assert float(subprocess.check_output([sys.executable, "-c", program])) == hours * 3600


def test_each_day_is_the_clinics_from_midnight_to_midnight(around: Around) -> None:
    """With visits on both sides of both midnights, and on those days alone."""
    first, last = around.night - timedelta(days=2), around.night - timedelta(days=1)
    edges = {"notBefore": "23:00:00"}, {"notAfter": "01:00:00"}
    for more in edges:
        found = around.find(first, last, **more)
        assert [day["date"] for day in found["days"]] == [first.isoformat(), last.isoformat()]
        dates = [slot["start"][:10] for slot in found["slots"]["nodes"]]
        assert [dates.count(day["date"]) for day in found["days"]] == [day["slotCount"] for day in found["days"]]
        assert {slot["clinic"]["slug"]: slot["clinic"]["timeZone"] for slot in found["slots"]["nodes"]} == CLINICS
        offset = "+01:00" if _offset(first) == timedelta(hours=1) else "+02:00"
        assert {slot["start"][19:] for slot in found["slots"]["nodes"]} == {offset}
        for day in found["days"]:
            assert day["first"]["start"].startswith(day["date"])


def test_the_night_itself_is_one_day_of_both_offsets(around: Around) -> None:
    found = around.find(around.night, around.night)
    [day] = found["days"]
    starts = [slot["start"] for slot in found["slots"]["nodes"]]
    assert day["date"] == around.night.isoformat() and {start[:10] for start in starts} == {day["date"]}
    assert {start[19:] for start in starts} == {"+01:00", "+02:00"}
    instants = [datetime.fromisoformat(start) for start in starts]
    assert instants == sorted(instants)
    assert all(instant.utcoffset() == instant.astimezone(WALL).utcoffset() for instant in instants)
    for slot in found["slots"]["nodes"]:
        length = datetime.fromisoformat(slot["end"]) - datetime.fromisoformat(slot["start"])
        assert length == timedelta(minutes=15)


def test_the_days_on_both_sides_have_one_offset_each(around: Around) -> None:
    offsets = [
        {start[19:] for start in around.starts(around.night + timedelta(days=n), around.night + timedelta(days=n))}
        for n in (-1, 1)
    ]
    assert offsets in ([{"+01:00"}, {"+02:00"}], [{"+02:00"}, {"+01:00"}])


@pytest.mark.parametrize("around", ["spring"], indirect=True)
def test_an_hour_that_the_clinics_clocks_leave_out_has_no_times(around: Around) -> None:
    asked = {"notBefore": "01:30:00", "notAfter": "03:30:00"}
    starts = around.starts(around.night, around.night, **asked)
    assert {start[11:13] + start[19:] for start in starts} == {"01+01:00", "03+02:00"}
    assert around.starts(around.night, around.night, notBefore="02:00:00", notAfter="02:59:59") == []


@pytest.mark.parametrize("around", ["autumn"], indirect=True)
def test_an_hour_that_they_show_twice_has_the_times_of_both(around: Around) -> None:
    starts = around.starts(around.night, around.night, notBefore="02:00:00", notAfter="02:59:59")
    assert {start[11:13] + start[19:] for start in starts} == {"02+02:00", "02+01:00"}
    found = around.find(around.night, around.night, notBefore="02:00:00", notAfter="02:59:59")
    ids = [slot["id"] for slot in found["slots"]["nodes"]]
    assert len(set(ids)) == len(ids) == found["days"][0]["slotCount"]


def test_what_comes_next_is_looked_for_beyond_the_night(around: Around) -> None:
    """A search that finds nothing names the first time after its last day, on the clinic's wall as well."""
    weekday = {"weekdays": ["MONDAY"]}
    found = around.find(around.night, around.night, **weekday)
    assert (found["days"], found["slots"]["nodes"]) == ([], [])
    after = around.night + timedelta(days=1)
    offset = "+01:00" if _offset(after) == timedelta(hours=1) else "+02:00"
    assert found["nextAvailable"]["start"][:10] >= after.isoformat()
    assert found["nextAvailable"]["start"].endswith(offset)
