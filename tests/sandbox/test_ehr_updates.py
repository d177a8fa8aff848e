"""What changed is found again by `_lastUpdated`, the times that were lost as well as those that came free."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from integrations.sandbox.changes import Change, Changes
from integrations.sandbox.world_no import NORWAY
from integrations.sandbox.world_se import SWEDEN
from tests.sandbox.conftest import TUESDAY, Installation
from tests.sandbox.test_ehr_ihe_book import booked, order, post
from tests.sandbox.test_ehr_ihe_find import find
from tests.sandbox.test_ehr_r4 import appointment, neighbours, of, put

Start = Callable[..., Installation]


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.moment = TUESDAY

    def __call__(self) -> datetime:
        return self.moment

    def on(self, **more: float) -> str:
        """Move on, and tell the instant."""
        self.moment += timedelta(**more)
        return self.moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def changed(ehr: Installation, *asked: str, **more: str) -> list[dict[str, Any]]:
    pairs = [("_lastUpdated", each) for each in asked] + [("_count", "1000"), *more.items()]
    return [each["resource"] for each in ehr.get("/Slot", params=pairs).get("entry", [])]


def test_every_slot_and_appointment_says_when_it_changed_last(start: Start) -> None:
    clock = Clock()
    ehr = start(SWEDEN, now=clock)
    slot, other = neighbours(ehr)
    assert slot["meta"]["lastUpdated"] == "2026-01-01T00:00:00.000Z"
    at = clock.on(minutes=1, milliseconds=123)
    put(ehr, slot, "busy")
    for each in (slot, other):
        assert ehr.get(f"/Slot/{each['id']}")["meta"]["lastUpdated"] == at
    created = ehr.http.post("/Appointment", json=appointment(slot)).json()
    assert datetime.fromisoformat(created["meta"]["lastUpdated"]) == datetime.fromisoformat(at)


def test_slots_that_were_taken_and_slots_that_came_free_are_found_without_a_schedule(start: Start) -> None:
    clock = Clock()
    ehr = start(SWEDEN, now=clock)
    slot, other = neighbours(ehr)
    assert changed(ehr, "gt2026-11-01T00:00:00Z") == []
    taken_at = clock.on(seconds=1)
    put(ehr, slot, "busy")
    found = {each["id"]: each for each in changed(ehr, f"ge{taken_at}")}
    assert found[slot["id"]]["status"] == found[other["id"]]["status"] == "busy"
    assert {each["meta"]["lastUpdated"] for each in found.values()} == {taken_at}
    assert len({each["serviceType"][0]["coding"][0]["code"] for each in found.values()}) > 1
    assert changed(ehr, f"gt{taken_at}") == []
    freed_at = clock.on(seconds=1)
    put(ehr, ehr.get(f"/Slot/{slot['id']}"), "free")
    freed = {each["id"]: each["status"] for each in changed(ehr, f"gt{taken_at}")}
    assert freed.keys() == found.keys() and freed[slot["id"]] == freed[other["id"]] == "free"
    # What changed again has left the window in which it changed before.
    assert changed(ehr, f"ge{taken_at}", f"lt{freed_at}") == []
    assert len(changed(ehr, f"ge{taken_at}", f"le{freed_at}")) == len(found)


def test_changed_slots_can_be_narrowed_down_like_others(start: Start) -> None:
    clock = Clock()
    ehr = start(SWEDEN, now=clock)
    slot, _ = neighbours(ehr)
    at = clock.on(seconds=1)
    put(ehr, slot, "busy")
    assert changed(ehr, f"ge{at}", schedule="Schedule/sk12") == []
    narrow = dict([of("skin-check")])
    codes = {each["serviceType"][0]["coding"][0]["code"] for each in changed(ehr, f"ge{at}", **narrow)}
    assert codes == {"skin-check"}
    assert all(each["status"] == "busy" for each in changed(ehr, f"ge{at}", status="busy"))
    assert changed(ehr, f"ge{at}", _id=slot["id"])[0]["id"] == slot["id"]
    assert changed(ehr, f"gt{at}", _id=slot["id"]) == []


@pytest.mark.parametrize("world", [NORWAY, SWEDEN], ids=lambda world: world.name)
def test_appointments_are_found_by_when_they_changed(start: Start, world: Any) -> None:
    clock = Clock()
    ehr = start(world, now=clock)
    role = world.roles[0].id
    free_at = find(ehr)[0]["start"] if world is NORWAY else neighbours(ehr)[0]["start"]
    at = clock.on(seconds=1)
    call = {"role": "B544:E472" if world is NORWAY else role, "start": free_at, "minutes": 15}
    assert ehr.http.post("/_sandbox/phone-bookings", json=call).status_code == 201
    for prefix, total in (("gt", 0), ("ge", 1), ("lt", 0), ("le", 1)):
        assert ehr.get("/Appointment", params={"_lastUpdated": prefix + at})["total"] == total
    window = {"_lastUpdated": [f"ge{at}", f"lt{clock.on(seconds=1)}"]}
    assert ehr.get("/Appointment", params=window)["total"] == 1


def test_a_restart_remembers_when_things_changed(start: Start, tmp_path: Path) -> None:
    kept, clock = tmp_path / "sweden.json", Clock()
    before = start(SWEDEN, state=kept, now=clock)
    slot, _ = neighbours(before)
    at = clock.on(seconds=1)
    put(before, slot, "busy")
    found = changed(before, f"ge{at}")
    before.stop()
    assert changed(start(SWEDEN, state=kept, now=clock), f"ge{at}") == found != []


def test_a_file_from_before_times_were_kept_still_loads(start: Start, tmp_path: Path) -> None:
    kept = tmp_path / "sweden.json"
    before = start(SWEDEN, state=kept)
    slot, _ = neighbours(before)
    taken = put(before, slot, "busy").json()
    before.stop()
    state = json.loads(kept.read_text())
    state["changes"] = {day: [[each["start"], each["end"]] for each in all_] for day, all_ in state["changes"].items()}
    del state["subscribers"]
    kept.write_text(json.dumps(state))
    after = start(SWEDEN, state=kept)
    told = after.get(f"/Slot/{slot['id']}")
    assert told["meta"] == {"versionId": taken["meta"]["versionId"], "lastUpdated": "2026-01-01T00:00:00.000Z"}
    assert changed(after, "gt2026-01-02T00:00:00Z") == []


def test_times_older_than_a_week_are_forgotten_and_versions_are_not() -> None:
    changes, week = Changes(), int(timedelta(days=7).total_seconds() * 1000)
    for at in (1, 2, week + 2):
        changes.note("r|d", Change("r", 0, 30, at))
    assert [each.at for each in changes.since(0)] == [2, week + 2]
    assert (changes.count("r|d", (0, 30)), changes.latest("r|d", (0, 30))) == (3, week + 2)


def test_a_clock_that_is_set_back_hides_no_change() -> None:
    changes = Changes()
    changes.note("r|d", Change("r", 0, 30, 1000))
    changes.note("r|d", Change("r", 30, 60, 500))
    assert [each.at for each in changes.since(1000)] == [1000, 1000]


def test_a_search_by_last_update_does_not_walk_eight_weeks(sweden: Installation) -> None:
    put(sweden, neighbours(sweden)[0], "busy")

    def seconds(params: list[tuple[str, str]]) -> float:
        began = time.perf_counter()
        sweden.get("/Slot", params=[*params, ("_count", "1")])
        return time.perf_counter() - began

    recent = min(seconds([("_lastUpdated", f"ge2026-12-01T0{hour}:00:00Z")]) for hour in range(5))
    assert recent < seconds([("status", "free,busy")])


def test_a_portal_booking_in_the_ihe_dialect_is_news_too(start: Start) -> None:
    clock = Clock()
    ehr = start(NORWAY, now=clock)
    at = clock.on(seconds=1)
    visit = booked(post(ehr, order(find(ehr)[0])))
    found = ehr.get("/Appointment", params={"_lastUpdated": f"ge{at}"})["entry"]
    assert [each["resource"]["id"] for each in found] == [visit["id"]]
