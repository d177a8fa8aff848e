"""A process may end at any moment between two steps: whatever it was about is settled by the next one.

Every moment is tried, not some: a child dies at its first wait, its second, and so on until it comes to its end.
"""

import asyncio
import re
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from domain.booking import Booking, BookingStatus
from domain.endpoint import Endpoint
from domain.patient import Patient
from domain.ports import EhrAppointment
from domain.refusals import Refused
from domain.usecases.reconcile import Question, Reconcile, Verdict
from tests.proof.dying import died
from tests.proof.ground import Ground, Place, copied
from tests.proof.test_life import instead

S = BookingStatus
KEY = "5f0f6a9e-7a55-4bd4-9d0c-2f0d7a3f8a11"
DIALECTS = ("ihe", "r4")
NUMBER = re.compile(r"\b[0-9a-f]{12}\b|[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
FEWEST_MOMENTS = 12
"""Below this it would not be the use case that was interrupted."""


@dataclass
class Scene:
    """What is about to be done when the process dies: `booking` is what it is about, `hold` the time it moves to."""

    place: Place
    dialect: str
    booking: Booking
    hold: Booking
    work: Callable[[], Awaitable[Booking]]

    @property
    def patient(self) -> Patient:
        return self.place.people[0]

    def now(self) -> dict[Any, Booking]:
        return {each.id: each for each in self.place.run(self.place.everything())}

    def starts_in_ehr(self) -> list[datetime]:
        found = self.place.ground.numbered(self.dialect).get(self.booking.id, [])
        return [datetime.fromisoformat(each["start"]) for each in found]

    def starts_taken(self) -> list[float]:
        return [each.start * 60 for each in self.place.ground.taken_numbers(self.dialect).get(self.booking.id, [])]


def to_confirm(place: Place, dialect: str) -> Scene:
    patient = place.people[0]
    hold = place.run(place.hold(patient, place.run(place.free(dialect))[0]))
    return Scene(place, dialect, hold, hold, lambda: place.confirm(patient, hold.id, KEY))


def to_move(place: Place, dialect: str) -> Scene:
    scene = to_confirm(place, dialect)
    booking = place.run(scene.work())
    slot = place.run(place.free(dialect, moving=booking))[-1]
    hold = place.run(place.hold(scene.patient, slot, moving_booking_id=booking.id))
    return Scene(place, dialect, booking, hold, lambda: place.reschedule(scene.patient, booking, hold.id, KEY))


def to_cancel(place: Place, dialect: str) -> Scene:
    scene = to_confirm(place, dialect)
    booking = place.run(scene.work())
    return Scene(place, dialect, booking, booking, lambda: place.cancel(scene.patient, booking, KEY))


SCENES = {"confirm": to_confirm, "reschedule": to_move, "cancel": to_cancel}


def settled(scene: Scene) -> None:
    """What the worker of a fresh process does until nothing is open, and once more a day later."""
    place, clock = scene.place, scene.place.ground.clock
    for seconds in (20, 140, 20, 20):  # beyond the settling time, and then the second look in vain
        clock.moment += timedelta(seconds=seconds)
        place.run(place.use.reconcile())
    place.run(place.use.follow_ehrs())
    clock.moment += timedelta(hours=25)
    place.run(place.use.expire_holds())
    place.run(place.do_jobs())
    assert not [b for b in scene.now().values() if b.asked or b.status in (S.CONFIRMING, S.UNKNOWN, S.CANCELLING)]


def checked(scene: Scene) -> str:
    """Where the booking stands: in the EHR exactly when it is BOOKED, at its time alone, and nobody else's is kept."""
    known = scene.now()
    booking, hold = known[scene.booking.id], known[scene.hold.id]
    stands = [booking.slot.start] if booking.status is S.BOOKED else []
    assert scene.starts_in_ehr() == stands
    if scene.dialect == "r4":
        assert scene.starts_taken() == [start.timestamp() for start in stands]
    assert hold is booking or hold.status in (S.RELEASED, S.EXPIRED, S.FAILED)
    return f"{booking.status}{' moved' if booking.slot.start == scene.hold.slot.start else ''}"


def pressed_again(scene: Scene, was: str) -> None:
    """The patient, who never got an answer, sends the same once more."""
    try:
        answer = scene.place.run(scene.work())
    except Refused:
        assert scene.now()[scene.booking.id].status is not S.CANCELLED
    else:
        assert answer.id == scene.booking.id
    if was.startswith(("BOOKED moved", "CANCELLED")):
        assert checked(scene) == was


@dataclass
class Stage:
    """A scene that is set once, and found as it was before every death."""

    scene: Scene
    folder: Path
    moment: datetime

    def set(self) -> None:
        self.scene.place.ground.bring_back(self.folder, self.moment)
        copied(self.folder / "kept.db", self.folder / "crash.db")

    def left_behind(self) -> str:
        """Every row of every table and all that the record systems keep.

        Ids that are drawn at random are called by the order in which they appear. The clock is left out: it differs by
        the microseconds that looking at it takes.
        """
        ground = self.scene.place.ground
        ground.fall_silent()
        with closing(sqlite3.connect(self.folder / "crash.db")) as database:
            lines = list(database.iterdump())
        ground.keep(self.folder / "left")
        lines += [each.read_text() for each in sorted((self.folder / "left").glob("*.json"))]
        names: dict[str, str] = {}
        return NUMBER.sub(lambda found: names.setdefault(found[0].replace("-", ""), f"#{len(names)}"), "\n".join(lines))


def staged(ground: Ground, template: Path, folder: Path, runner: asyncio.Runner, dialect: str, scene: str) -> Stage:
    place = Place(ground, copied(template, folder / "crash.db"), runner)
    place.open()
    place.run(place.know())
    before = SCENES[scene](place, dialect)
    place.close()
    copied(folder / "crash.db", folder / "kept.db")
    ground.keep(folder)
    return Stage(before, folder, ground.clock.moment)


Bug = Callable[[Place], None]


def aftermath(scene: Scene, bug: Bug) -> str:
    scene.place.open()
    bug(scene.place)
    try:
        settled(scene)
        was = checked(scene)
        pressed_again(scene, was)
    finally:
        scene.place.close()
    return was


def killed_at_every_moment(stage: Stage, bug: Bug = lambda place: None) -> Counter[str]:
    """What became of the booking, by how many moments. What the dead leave behind is all that the living know of them.

    So where two left the very same behind, one aftermath tells for both, and is gone through once.
    """
    outcomes: Counter[str] = Counter()
    after_this: dict[str, str] = {}
    for after in count(1):
        stage.set()
        has_died = died(stage.scene.place, stage.scene.work, after)
        left = stage.left_behind()
        if left not in after_this:
            after_this[left] = aftermath(stage.scene, bug)
        outcomes[after_this[left]] += 1
        if not has_died:
            return outcomes
    raise AssertionError("there is an end to it")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("scene", SCENES)
def test_a_process_may_die_at_any_moment(
    ground: Ground, sqlite_ground: Path, tmp_path: Path, dialect: str, scene: str
) -> None:
    with asyncio.Runner() as runner:
        outcomes = killed_at_every_moment(staged(ground, sqlite_ground, tmp_path, runner, dialect, scene))
    assert outcomes.total() > FEWEST_MOMENTS and len(outcomes) > 1, outcomes


class LooksAway(Reconcile):
    """A fault: what the record system is found to hold never ends the question."""

    def _judge(self, question: Question, held: EhrAppointment | None, endpoint: Endpoint) -> Verdict | None:
        return None if held else super()._judge(question, held, endpoint)


def test_such_deaths_find_a_fault_of_ours(ground: Ground, sqlite_ground: Path, tmp_path: Path) -> None:
    """It shows only between what the record system did and our writing that down: these moments are told apart."""
    with asyncio.Runner() as runner:
        stage = staged(ground, sqlite_ground, tmp_path, runner, "ihe", "confirm")
        with pytest.raises(AssertionError, match="assert not"):
            killed_at_every_moment(stage, lambda place: instead(place, "reconcile", LooksAway))
