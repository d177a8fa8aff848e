"""A process may end at any moment between two steps: whatever it was about is settled by the next one.

Every moment is tried, not some: a child dies at its first wait, its second, and so on until it comes to its end.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from domain.booking import Booking, BookingStatus
from domain.patient import Patient
from domain.refusals import Refused
from tests.proof.dying import died
from tests.proof.ground import Ground, Place, copied

S = BookingStatus
KEY = "5f0f6a9e-7a55-4bd4-9d0c-2f0d7a3f8a11"
DIALECTS = ("ihe", "r4")
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


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("scene", SCENES)
def test_a_process_may_die_at_any_moment(
    ground: Ground, sqlite_ground: Path, tmp_path: Path, dialect: str, scene: str
) -> None:
    outcomes: Counter[str] = Counter()
    with asyncio.Runner() as runner:
        for after in count(1):
            ground.reset()
            place = Place(ground, copied(sqlite_ground, tmp_path / f"crash-{after}.db"), runner)
            place.open()
            place.run(place.know())
            before = SCENES[scene](place, dialect)
            place.close()
            has_died = died(place, before.work, after)
            place.runner = runner
            place.open()
            settled(before)
            outcomes[was := checked(before)] += 1
            pressed_again(before, was)
            place.close()
            if not has_died:
                break
    assert after > FEWEST_MOMENTS and len(outcomes) > 1, (after, outcomes)
