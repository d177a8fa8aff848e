"""Staff pass over the rules that they name, with a reason, and over no others."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.audit import Actor, ActorKind
from domain.booking import BookingStatus
from domain.bypass import LONGEST_REASON, PASSABLE, Bypass, NotForThisActor, admitted, check_bypass
from domain.clinic import ClinicBooking
from domain.refusals import ChangeRefusal, Refusal, RefusalCode, Refused
from domain.rules import BEFORE_CANCEL, BEFORE_CONFIRM, BEFORE_HOLD, BEFORE_MOVE, Change, Proposal
from domain.rules import refusals as all_refusals
from tests.domain.test_occasions import NOW, RULES, START, STRANGER, asked, change
from tests.store.making import make_booking

R, C = RefusalCode, ChangeRefusal
OCCASIONS = (BEFORE_HOLD, BEFORE_CONFIRM, BEFORE_MOVE, BEFORE_CANCEL)


def bypass(*rules: RefusalCode | ChangeRefusal, reason: str = "Avtalt på telefon") -> Bypass:
    return Bypass(rules=frozenset(rules), reason=reason)


def names(found: Iterable[Refusal]) -> list[str]:
    return [str(getattr(no, "refusal", no.code)) for no in found]


def left(proposal: Proposal, occasion: tuple, by: Bypass | None) -> list[str]:  # type: ignore[type-arg]
    try:
        admitted(proposal, occasion, by)
    except Refused as refused:
        return names(refused.refusals)
    return []


def spent(**more: object) -> Change:
    """Switched off, over, and moved too often: three reasons of three rules."""
    strict = replace(
        RULES,
        rescheduling=replace(RULES.rescheduling, allowed=False, until_hours_before_start=1000),
        maximum_reschedules=1,
    )
    made = make_booking("v", START, status=BookingStatus.BOOKED, booked_at=NOW, rules=strict, moves_made=1)
    return Change(**{"booking": made, "rules": strict, **more})  # type: ignore[arg-type]


def test_what_was_passed_over_is_for_the_audit_trail_and_what_was_only_named_is_not() -> None:
    proposal = asked(rules=replace(RULES, minimum_notice=timedelta(days=9)), now=NOW)
    details = admitted(proposal, BEFORE_HOLD, bypass(R.NOT_ENOUGH_NOTICE, R.CLINIC_CLOSED, reason="Akutt"))
    assert details == {"bypassed": "NOT_ENOUGH_NOTICE", "reason": "Akutt"}
    assert admitted(asked(), BEFORE_HOLD, bypass(R.NOT_ENOUGH_NOTICE)) == {}


@given(named=st.frozensets(st.sampled_from(sorted(PASSABLE))))
def test_everything_that_is_not_named_still_refuses(named: frozenset[RefusalCode | ChangeRefusal]) -> None:
    proposal = asked(**STRANGER, change=spent(stays=False, outside=C.EHR_OFFLINE))
    for occasion in OCCASIONS:
        every = names(all_refusals(proposal, occasion))
        stays_refused = {"TREATMENT_NOT_OFFERED", "NATIONAL_ID_REQUIRED", "TERMS_NOT_ACCEPTED", "EHR_OFFLINE"}
        remaining = left(proposal, occasion, Bypass(rules=named, reason="x") if named else None)
        assert stays_refused & set(every) <= set(remaining)
        assert {name for name in every if name not in named} == set(remaining) - ({"NOT_ALLOWED"} & named)


def test_to_pass_over_one_reason_is_not_to_pass_over_another() -> None:
    proposal = asked(change=spent())
    assert left(proposal, BEFORE_MOVE, None) == ["NOT_ALLOWED", "TOO_LATE", "COUNT_EXCEEDED"]
    assert left(proposal, BEFORE_MOVE, bypass(C.NOT_ALLOWED)) == ["TOO_LATE", "COUNT_EXCEEDED"]
    assert left(proposal, BEFORE_MOVE, bypass(C.TOO_LATE, C.NOT_ALLOWED)) == ["COUNT_EXCEEDED"]
    assert left(proposal, BEFORE_MOVE, bypass(C.TOO_LATE, C.NOT_ALLOWED, C.COUNT_EXCEEDED)) == []


def test_what_has_started_is_held_by_nobody_whatever_they_name() -> None:
    passed = bypass(*PASSABLE)
    assert left(asked(start=NOW - timedelta(seconds=1)), BEFORE_HOLD, passed) == ["NOT_ENOUGH_NOTICE"]
    assert left(asked(start=NOW), BEFORE_HOLD, passed) == []


def test_a_move_to_another_record_system_is_made_by_nobody_whatever_they_name() -> None:
    assert left(asked(change=spent(stays=False)), BEFORE_MOVE, bypass(*PASSABLE)) == ["NOT_ALLOWED"]


def test_what_is_not_booked_is_changed_by_nobody_whatever_they_name() -> None:
    of = change()
    unsure = replace(of, booking=replace(of.booking, status=BookingStatus.UNKNOWN))
    for occasion in (BEFORE_MOVE, BEFORE_CANCEL):
        assert left(asked(change=unsure), occasion, bypass(*PASSABLE)) == ["NOT_ALLOWED"]


def test_age_closed_doors_and_other_visits_may_be_passed_over() -> None:
    young = asked(birth_date=date(2020, 1, 1), rules=replace(RULES, minimum_age=16), overlapping=make_booking("o"))
    assert left(young, BEFORE_CONFIRM, bypass(R.TOO_YOUNG, R.PATIENT_DOUBLE_BOOKED)) == []
    assert left(asked(clinic_booking=ClinicBooking.CLOSED), BEFORE_HOLD, bypass(R.CLINIC_CLOSED)) == []


@pytest.mark.parametrize("rule", sorted((set(R) | set(C)) - PASSABLE))
def test_a_rule_that_stands_cannot_be_named(rule: RefusalCode | ChangeRefusal) -> None:
    with pytest.raises(ValueError, match="nobody may pass over"):
        bypass(rule)


@pytest.mark.parametrize("reason", ["", "  ", "x" * (LONGEST_REASON + 1)])
def test_there_must_be_a_reason_of_some_length(reason: str) -> None:
    with pytest.raises(ValueError, match="reason"):
        bypass(R.TOO_YOUNG, reason=reason)
    assert bypass(R.TOO_YOUNG, reason="x" * LONGEST_REASON).reason


@pytest.mark.parametrize("kind", [kind for kind in ActorKind if kind is not ActorKind.STAFF])
def test_who_is_not_staff_passes_over_nothing(kind: ActorKind) -> None:
    actor = Actor(kind=kind, id="1")
    with pytest.raises(NotForThisActor):
        check_bypass(actor, bypass(R.TOO_YOUNG))
    check_bypass(actor, None)
    check_bypass(Actor(kind=ActorKind.STAFF, id="1"), bypass(R.TOO_YOUNG))
