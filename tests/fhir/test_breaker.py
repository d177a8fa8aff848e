"""When a server is left alone, for how long, and who finds out that it is well again. No server, no clock."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from domain.ports import EhrUnavailable, Outage, OutageWord
from integrations.fhir.breaker import Breaker
from integrations.fhir.failures import FhirFailure, OperationOutcome, Unanswered


class Time:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.jitter = 0.0

    def breaker(self) -> Breaker:
        return Breaker(now=lambda: self.now, jitter=lambda: self.jitter)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def breaker(time: Time) -> Breaker:
    return time.breaker()


def fail(breaker: Breaker, times: int = 1, **how: bool) -> None:
    for _ in range(times):
        with suppress(Unanswered), breaker.call(reading=True):
            raise Unanswered("broken", **how)


def succeed(breaker: Breaker, times: int = 1, *, reading: bool = True) -> None:
    for _ in range(times):
        with breaker.call(reading=reading):
            pass


def refusal(breaker: Breaker, *, reading: bool = True) -> EhrUnavailable | None:
    try:
        breaker.check(reading=reading)
    except EhrUnavailable as refused:
        told = refused
    else:
        return None
    with pytest.raises(EhrUnavailable), breaker.call(reading=reading):
        pass
    return told


def rest(breaker: Breaker) -> float:
    """How long it is open for, by its own word."""
    refused = refusal(breaker)
    assert refused and refused.retry_after
    return refused.retry_after.total_seconds()


def test_ten_failures_of_the_last_twenty_open_it(breaker: Breaker) -> None:
    fail(breaker, 9)
    assert refusal(breaker) is None
    fail(breaker)
    refused = refusal(breaker)
    assert refused and refused.retry_after == timedelta(seconds=10)
    assert (refused.outage, refused.word, refused.sent) == (Outage.OFFLINE, OutageWord.CIRCUIT_OPEN, False)


def test_every_other_call_failing_opens_it_and_fewer_never_do(time: Time) -> None:
    half, third = time.breaker(), time.breaker()
    for _ in range(9):
        fail(half)
        succeed(half)
    fail(half)
    assert refusal(half)
    for _ in range(100):
        fail(third)
        succeed(third, 2)
    assert refusal(third) is None


def test_failures_of_long_ago_are_forgotten(breaker: Breaker) -> None:
    for _ in range(5):
        fail(breaker, 9)
        succeed(breaker, 11)
    fail(breaker, 9)
    assert refusal(breaker) is None


def test_a_no_is_an_answer(breaker: Breaker) -> None:
    for _ in range(50):
        with suppress(FhirFailure), breaker.call(reading=True):
            raise FhirFailure(404, {}, OperationOutcome())
    fail(breaker, 9)
    assert refusal(breaker) is None


def test_what_is_not_the_servers_doing_counts_neither_way(breaker: Breaker) -> None:
    fail(breaker, 9)
    fail(breaker, 30, blames=False)
    for _ in range(30):
        with suppress(asyncio.CancelledError), breaker.call(reading=True):
            raise asyncio.CancelledError
    assert refusal(breaker) is None
    fail(breaker)
    assert refusal(breaker)


def test_only_after_the_rest_is_it_asked_again_and_success_starts_afresh(time: Time, breaker: Breaker) -> None:
    fail(breaker, 10)
    time.now += 9.5
    assert rest(breaker) == pytest.approx(0.5)
    time.now += 0.5
    succeed(breaker)
    fail(breaker, 9)
    assert refusal(breaker) is None
    fail(breaker)
    assert rest(breaker) == 10


async def test_one_of_fifty_callers_finds_out(time: Time, breaker: Breaker) -> None:
    fail(breaker, 10)
    time.now += 10
    answered = asyncio.Event()
    went = []

    async def call(name: int) -> str:
        try:
            with breaker.call(reading=True):
                went.append(name)
                await asyncio.wait_for(answered.wait(), 10)
                return "answered"
        except EhrUnavailable as refused:
            answered.set()
            return f"{refused.word} {refused.retry_after}"

    told = await asyncio.gather(*(call(name) for name in range(50)))
    assert went == [0]
    assert told == ["answered"] + ["CIRCUIT_OPEN 0:00:01"] * 49
    succeed(breaker, 50)


def test_it_rests_twice_as_long_each_time_up_to_a_limit(time: Time, breaker: Breaker) -> None:
    fail(breaker, 10)
    rests = []
    for _ in range(7):
        rests.append(rest(breaker))
        time.now += rests[-1]
        fail(breaker)  # one is enough now
    assert rests == [10, 20, 40, 80, 120, 120, 120]
    time.now += 120
    succeed(breaker)
    fail(breaker, 10)
    assert rest(breaker) == 10


def test_jitter_stretches_the_rest_but_not_beyond_the_limit(time: Time, breaker: Breaker) -> None:
    time.jitter = 1.0
    fail(breaker, 10)
    rests = []
    for _ in range(5):
        rests.append(rest(breaker))
        time.now += rests[-1]
        fail(breaker)
    assert rests == [12.5, 25, 50, 100, 120]


async def test_who_finds_out_and_is_cancelled_gives_the_place_back(time: Time, breaker: Breaker) -> None:
    fail(breaker, 10)
    time.now += 10

    async def hang() -> None:
        with breaker.call(reading=True):
            await asyncio.Event().wait()

    probe = asyncio.create_task(hang())
    await asyncio.sleep(0)
    assert refusal(breaker)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    assert refusal(breaker) is None
    fail(breaker)
    assert rest(breaker) == 20


def test_a_probe_that_tells_nothing_gives_the_place_back(time: Time, breaker: Breaker) -> None:
    fail(breaker, 10)
    time.now += 10
    fail(breaker, 3, blames=False)
    succeed(breaker)
    fail(breaker, 9)
    assert refusal(breaker) is None


def test_no_write_finds_out(time: Time, breaker: Breaker) -> None:
    fail(breaker, 10)
    assert refusal(breaker, reading=False)
    time.now += 1000
    refused = refusal(breaker, reading=False)
    assert refused and not refused.sent
    succeed(breaker)
    succeed(breaker, reading=False)


def test_calls_from_before_it_opened_change_nothing_when_they_end(time: Time, breaker: Breaker) -> None:
    late = [breaker.call(reading=True) for _ in range(3)]
    for each in late:
        each.__enter__()
    fail(breaker, 10)
    time.now += 10
    with breaker.call(reading=True):
        late[0].__exit__(None, None, None)
        assert refusal(breaker), "a late answer let somebody in beside the probe"
    with suppress(Unanswered):
        late[1].__exit__(Unanswered, Unanswered("late"), None)
    fail(breaker, 9)
    assert refusal(breaker) is None
    with suppress(Unanswered):
        late[2].__exit__(Unanswered, Unanswered("late"), None)
    assert refusal(breaker) is None
