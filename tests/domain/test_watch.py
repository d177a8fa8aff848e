"""Pictures of a search and the steps between them: whoever follows, comes back or skips sees the same in the end."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.availability import Availability, SourceState, SourceStatus
from domain.choosing import place
from domain.slot import Slot
from domain.tenant import Tenant
from domain.watch import KEPT_STEPS, MOST_SLOTS, Step, Watch, digest_of

NOON = datetime(2026, 12, 7, 12, tzinfo=UTC)
TENANT = Tenant(id="t", slug="t", name="T")
OK, STALE, OFFLINE, TIMEOUT = SourceState.OK, SourceState.STALE, SourceState.OFFLINE, SourceState.TIMEOUT


def slot(number: int, ehr: str = "fjord", /, **changes: object) -> Slot:
    """The `number` is its quarter of an hour."""
    practitioner, start = UUID(int=1 if ehr == "fjord" else 2), NOON + timedelta(minutes=15 * number)
    made = Slot(
        endpoint_id=ehr,
        offer_id=practitioner,
        clinic_id=practitioner,
        treatment_id=UUID(int=8),
        practitioner_id=practitioner,
        reference=f"r{number}",
        start=start,
        end=start + timedelta(minutes=30),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def found(
    slots: Iterable[Slot], states: dict[str, SourceState] | None = None, reason: str | None = None
) -> Availability:
    sources = [
        SourceStatus(endpoint_id=ehr, clinic_ids=(), state=state, reason=reason)
        for ehr, state in (states or {"fjord": OK}).items()
    ]
    return Availability(slots=sorted(slots, key=place), sources=sources, as_of=NOON)


def free(*numbers: int) -> Availability:
    return found(map(slot, numbers))


def watch(*numbers: int) -> Watch:
    return Watch(TENANT, free(*numbers))


def numbers(slots: Iterable[Slot]) -> list[int]:
    return sorted(int(each.reference.removeprefix("r")) for each in slots)


def told(step: Step) -> tuple[list[int], list[int], bool]:
    return numbers(step.opened), numbers(step.taken), step.resync


def picture(seen: dict[bytes, Slot], step: Step) -> dict[bytes, Slot]:
    """What somebody sees after a step who saw that before. What is taken was there, and what opens was not."""
    if step.resync:
        assert not step.taken
        seen = {}
    gone = {place(each): each for each in step.taken}
    assert gone.items() <= seen.items()
    left = {where: each for where, each in seen.items() if where not in gone}
    opened = {place(each): each for each in step.opened}
    assert not opened.keys() & left.keys()
    return left | opened


async def followed(of: Watch, revision: int) -> Step:
    """The next step, which is there already."""
    async with asyncio.timeout(30):
        step = await of.following(revision)
    assert step
    return step


def test_a_watcher_begins_with_all_there_is() -> None:
    step = watch(1, 2).begin(None)
    assert told(step) == ([1, 2], [], True)
    assert (step.revision, step.digest) == (0, digest_of([slot(1), slot(2)]))


def test_who_knows_the_picture_is_told_nothing() -> None:
    of = watch(1, 2)
    assert told(of.begin(digest_of([slot(2), slot(1)]))) == ([], [], False)


async def test_a_step_says_what_opened_and_what_was_taken() -> None:
    of = watch(1, 2, 3)
    before = of.begin(None).digest
    assert of.take(TENANT, free(2, 3, 4))
    step = await followed(of, 0)
    assert told(step) == ([4], [1], False)
    assert (step.revision, step.before, step.digest) == (1, before, digest_of([slot(2), slot(3), slot(4)]))
    assert numbers(step.found.slots) == [2, 3, 4]


def test_the_same_answer_is_no_step() -> None:
    of = watch(1, 2)
    later = replace(free(2, 1), as_of=NOON + timedelta(hours=1))
    assert not of.take(TENANT, later)
    assert of.revision == 0 and of.begin(None).found is later


def test_the_tenant_is_as_it_was_last_looked_at() -> None:
    of, renamed = watch(1), replace(TENANT, name="Renamed")
    of.take(renamed, free(1))
    assert of.tenant is renamed


@pytest.mark.parametrize(
    "change", [{"reference": "r99"}, {"resources": ("chair",)}, {"end": NOON + timedelta(hours=3)}]
)
async def test_a_time_that_is_another_one_now_is_taken_and_opened(change: dict[str, object]) -> None:
    of, other = watch(1, 2), slot(1, **change)
    before = of.begin(None).digest
    assert of.take(TENANT, found([other, slot(2)]))
    step = await followed(of, 0)
    assert (step.taken, step.opened) == ((slot(1),), (other,))
    assert step.digest == digest_of([other, slot(2)]) != before
    assert of.take(TENANT, free(1, 2)) and told(of.begin(before)) == ([], [], False)


@pytest.mark.parametrize(
    ("states", "reason"), [({"fjord": STALE}, None), ({"fjord": OK}, "TIMEOUT"), ({"fjord": OK, "sund": OFFLINE}, None)]
)
async def test_a_change_of_state_alone_is_a_step_without_slots(
    states: dict[str, SourceState], reason: str | None
) -> None:
    of = watch(1, 2)
    before = of.begin(None)
    assert of.take(TENANT, found([slot(1), slot(2)], states, reason))
    step = await followed(of, 0)
    assert (told(step), step.digest, step.before) == (([], [], False), before.digest, before.digest)
    assert {source.endpoint_id: source.state for source in step.found.sources} == states


async def test_a_watcher_that_missed_some_steps_is_told_their_net() -> None:
    of = watch(1, 2, 3)
    away = of.begin(None).digest
    for answer in (free(2, 3, 4), free(2, 3, 4, 5), free(1, 3, 5), free(1, 3, 5, 6)):
        of.take(TENANT, answer)
    step = of.begin(away)
    assert told(step) == ([5, 6], [2], False)
    assert (step.revision, step.digest) == (4, digest_of(map(slot, (1, 3, 5, 6))))


def test_what_changed_and_changed_back_is_not_told() -> None:
    of = watch(1, 2)
    away = of.begin(None).digest
    of.take(TENANT, free(2))
    between = of.begin(None).digest
    of.take(TENANT, free(1, 2, 3))
    of.take(TENANT, free(1, 2))
    assert told(of.begin(away)) == ([], [], False)
    assert told(of.begin(between)) == ([1], [], False)


def test_a_picture_that_nobody_remembers_begins_anew() -> None:
    of = watch(1)
    of.take(TENANT, free(1, 2))
    for unknown in (digest_of([slot(9)]), 0, 2**128 + 5):
        assert told(of.begin(unknown)) == ([1, 2], [], True)


def test_who_has_been_away_for_longer_than_is_kept_begins_anew() -> None:
    of = watch(0)
    digests = [of.begin(None).digest]
    for number in range(1, KEPT_STEPS + 2):
        of.take(TENANT, free(number))
        digests.append(of.begin(None).digest)
    newest = KEPT_STEPS + 1
    assert told(of.begin(digests[0])) == ([newest], [], True)
    assert told(of.begin(digests[1])) == ([newest], [1], False)


async def test_who_follows_too_slowly_is_shown_the_whole_picture() -> None:
    of = watch(0)
    for number in range(1, KEPT_STEPS + 2):
        of.take(TENANT, free(number))
    assert told(await followed(of, 0)) == ([KEPT_STEPS + 1], [], True)
    assert (await followed(of, 0)).revision == of.revision
    assert told(await followed(of, 1)) == ([2], [1], False)


def both(*numbers: int, sund: SourceState = OK, reason: str | None = None) -> Availability:
    """One time at a system that always answers, and those of another one."""
    return found([slot(1), *(slot(n, "sund") for n in numbers)], {"fjord": OK, "sund": sund}, reason)


@pytest.mark.parametrize("silent", [OFFLINE, TIMEOUT])
async def test_what_a_silent_system_no_longer_tells_is_unknown_and_never_taken(silent: SourceState) -> None:
    of = Watch(TENANT, both(2, 3))
    away = of.begin(None).digest
    assert of.take(TENANT, both(sund=silent))
    step = await followed(of, 0)
    assert told(step) == ([1], [], True)
    assert told(of.begin(away)) == ([1], [], True)
    assert of.take(TENANT, both(2, 3))
    assert told(await followed(of, 1)) == ([2, 3], [], False)
    assert told(of.begin(step.digest)) == ([2, 3], [], False)


async def test_part_of_an_answer_is_silence_as_well() -> None:
    of = Watch(TENANT, both(2, 3))
    of.take(TENANT, both(3, sund=TIMEOUT))
    assert told(await followed(of, 0)) == ([1, 3], [], True)


async def test_what_a_stale_system_no_longer_tells_is_taken() -> None:
    """It has been asked before, and all that it told then is there."""
    of = Watch(TENANT, both(2, 3))
    of.take(TENANT, both(3, sund=STALE))
    assert told(await followed(of, 0)) == ([], [2], False)


async def test_what_goes_elsewhere_while_a_system_is_silent_is_taken() -> None:
    of = Watch(TENANT, both(sund=OFFLINE))
    of.take(TENANT, found([], {"fjord": OK, "sund": OFFLINE}))
    assert told(await followed(of, 0)) == ([], [1], False)


async def test_only_the_soonest_are_watched() -> None:
    everything = [slot(number) for number in range(MOST_SLOTS + 3)]
    of = Watch(TENANT, found(everything))
    step = of.begin(None)
    assert numbers(step.opened) == list(range(MOST_SLOTS))
    assert step.digest == digest_of(everything[:MOST_SLOTS])
    assert not of.take(TENANT, found(everything[:-1]))  # which nobody sees
    of.take(TENANT, found(everything[1:]))
    assert told(await followed(of, 0)) == ([MOST_SLOTS], [0], False)


async def test_whoever_waits_is_told_at_once_of_a_step_and_of_the_end() -> None:
    of = watch(1)
    waiting = [asyncio.ensure_future(of.following(0)) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(each.done() for each in waiting)
    of.take(TENANT, free(1, 2))
    steps = await asyncio.wait_for(asyncio.gather(*waiting), 30)
    assert [told(step) for step in steps if step] == [([2], [], False)] * 3
    waiting = [asyncio.ensure_future(of.following(1)) for _ in range(3)]
    await asyncio.sleep(0)
    of.end()
    assert await asyncio.wait_for(asyncio.gather(*waiting), 30) == [None] * 3
    assert await of.following(0) is None and of.ended


def test_pictures_are_named_the_same_in_any_order_and_apart_from_each_other() -> None:
    slots = [slot(1), slot(2), slot(3, "sund"), slot(4, resources=("a", "b"))]
    assert digest_of(slots) == digest_of(reversed(slots)) == digest_of([*slots[2:], *slots[:2]])
    others = [slots[:3], [*slots, slot(5)], [*slots[:3], slot(4, resources=("ab",))], [*slots[:3], slot(4)], []]
    assert len({digest_of(each) for each in (slots, *others)}) == len(others) + 1
    assert all(0 <= digest_of(each) < 2**128 for each in (slots, *others))


def test_an_instant_is_the_same_on_every_wall() -> None:
    oslo = slot(1)
    elsewhere = replace(oslo, start=oslo.start.astimezone(), end=oslo.end.astimezone())
    assert digest_of([oslo]) == digest_of([elsewhere])


def test_pictures_are_named_the_same_in_every_process() -> None:
    program = "from tests.domain.test_watch import digest_of, slot; print(digest_of({slot(n) for n in range(50)}))"
    expected = digest_of(map(slot, range(50)))
    for seed, zone in (("1", "UTC"), ("4242", "Pacific/Kiritimati")):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            check=True,
        )
        assert int(done.stdout) == expected


states = st.sampled_from([OK, OK, STALE, OFFLINE, TIMEOUT])
versions: st.SearchStrategy[dict[str, object]] = st.sampled_from(
    [{}, {}, {"reference": "other"}, {"resources": ("chair",)}]
)


@st.composite
def answers(draw: st.DrawFn) -> Availability:
    """Few times and two systems, so that much comes back."""
    sund = draw(states)
    chosen = draw(st.lists(st.integers(0, 4), max_size=5, unique=True))
    there = [slot(n, **draw(versions)) for n in chosen]
    if sund in (OK, STALE) or draw(st.booleans()):
        there += [slot(n, "sund") for n in draw(st.lists(st.integers(0, 2), max_size=3, unique=True))]
    return found(there, {"fjord": OK, "sund": sund})


def everything(of: Availability) -> dict[bytes, Slot]:
    return {place(each): each for each in of.slots}


@settings(max_examples=300, deadline=None)
@given(answers(), st.lists(answers(), min_size=1, max_size=KEPT_STEPS + 8), st.data())
def test_whoever_follows_comes_back_or_skips_sees_the_newest_in_the_end(
    first: Availability, later: Sequence[Availability], data: st.DataObject
) -> None:
    asyncio.run(_all_see_the_same(first, later, data))


async def _all_see_the_same(first: Availability, later: Sequence[Availability], data: st.DataObject) -> None:
    of = Watch(TENANT, first)
    step = of.begin(None)
    attentive = dozing = picture({}, step)
    at = dozed_at = step.revision
    pictures = {step.digest: attentive}
    for answer in later:
        of.take(TENANT, answer)
        if of.revision != at:
            step = await followed(of, at)
            assert step.revision == at + 1
            attentive, at = picture(attentive, step), step.revision
            pictures[step.digest] = attentive
        assert attentive == everything(answer)
        assert of.begin(None).digest == digest_of(answer.slots)
        if of.revision != dozed_at and data.draw(st.booleans()):
            step = await followed(of, dozed_at)
            dozing, dozed_at = picture(dozing, step), step.revision
    while dozed_at != of.revision:
        step = await followed(of, dozed_at)
        dozing, dozed_at = picture(dozing, step), step.revision
    newest = everything(later[-1])
    assert dozing == attentive == newest
    for digest, seen in pictures.items():
        assert picture(seen, of.begin(digest)) == newest
    assert picture({}, of.whole()) == newest
