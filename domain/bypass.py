"""What staff may pass over, with a reason, where patients are refused."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from domain.audit import Actor, ActorKind
from domain.refusals import ChangeNotAllowed, ChangeRefusal, Refusal, RefusalCode, Refused
from domain.rules import FIRM, Proposal, Rule

LONGEST_REASON = 500

PASSABLE: frozenset[RefusalCode | ChangeRefusal] = frozenset(
    {
        *(RefusalCode.NOT_ENOUGH_NOTICE, RefusalCode.TOO_YOUNG, RefusalCode.AGE_UNKNOWN),
        *(RefusalCode.PATIENT_DOUBLE_BOOKED, RefusalCode.CLINIC_CLOSED),
        *(ChangeRefusal.NOT_ALLOWED, ChangeRefusal.TOO_LATE, ChangeRefusal.GRACE_OVER),
        *(ChangeRefusal.COUNT_EXCEEDED, ChangeRefusal.ALREADY_STARTED),
    }
)
"""The clinic's own rules. Facts are not among them: a taken time, a silent EHR, terms that a patient did not accept."""


class NotForThisActor(Exception):
    """Somebody who is not staff was about to pass over a rule: a bug, never a refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bypass:
    """Passes over the named rules and no others. Raises `ValueError` for a rule that stands, or without a reason."""

    rules: frozenset[RefusalCode | ChangeRefusal]
    reason: str

    def __post_init__(self) -> None:
        if standing := self.rules - PASSABLE:
            raise ValueError(f"nobody may pass over {', '.join(sorted(standing))}")
        if not self.reason.strip() or len(self.reason) > LONGEST_REASON:
            raise ValueError(f"a reason of 1 to {LONGEST_REASON} characters")


def check_bypass(actor: Actor, bypass: Bypass | None) -> None:
    """Before anything else, so that not even a repeat gets through. Raises `NotForThisActor`."""
    if bypass is not None and actor.kind is not ActorKind.STAFF:
        raise NotForThisActor(actor.kind)


def admitted(proposal: Proposal, rules: Iterable[Rule], bypass: Bypass | None = None) -> Mapping[str, str]:
    """What the audit trail is to say of rules that were passed over. Raises `Refused` with all that is left."""
    said = [(rule, refusal) for rule in rules if (refusal := rule(proposal))]
    passed = [_name(no) for _, no in said if bypass and _name(no) in bypass.rules]
    left = [no for rule, no in said if rule in FIRM or _name(no) not in passed]
    if left:
        raise Refused(*left)
    return {"bypassed": " ".join(passed), "reason": bypass.reason} if bypass and passed else {}


def _name(refusal: Refusal) -> RefusalCode | ChangeRefusal:
    return refusal.refusal if isinstance(refusal, ChangeNotAllowed) else refusal.code
