"""What a FHIR server's no means: somebody was faster, a refusal with a reason, or no answer that can be relied on."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from re import IGNORECASE, search

from domain.ports import EhrUnavailable, Outage, OutageWord
from domain.refusals import RejectedByEhr, SlotTaken
from integrations.fhir.wire import Issue, Outcome, Unreadable, bundle, complaints, decode, issues

TAKEN = r"\b(not|no longer) (available|free)\b|\balready (taken|booked)\b"
BROKEN = frozenset({"transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled"})
"""Issue types by which a server tells of its own trouble: it may have failed after the deed as well as before."""

SURE = frozenset(
    {"conflict", "business-rule", "duplicate", "multiple-matches", "not-found", "deleted", "required", "value"}
    | {"structure", "invariant", "code-invalid", "not-supported", "forbidden"}
)
"""Issue types that speak of what was asked for, believed even where a server sends them with a 5xx."""


@dataclass(frozen=True, slots=True)
class OperationOutcome:
    issues: tuple[Issue, ...] = ()

    @property
    def codes(self) -> frozenset[str]:
        return frozenset(issue.code for issue in self.issues)

    @property
    def text(self) -> str:
        return "; ".join(_words(issue) for issue in self.issues)[:500]


class FhirFailure(Exception):
    """The server understood and said no. `outcome` is empty where it gave no reason that can be read."""

    def __init__(self, status: int, headers: Mapping[str, str], outcome: OperationOutcome) -> None:
        super().__init__(f"{status} {sorted(outcome.codes)}")
        self.status = status
        self.headers = headers
        self.outcome = outcome

    def as_outage(self, *, sent: bool = True) -> EhrUnavailable:
        """For those who cannot go on without what was refused."""
        said = f" ({', '.join(sorted(self.outcome.codes))})" if self.outcome.codes else ""
        reason = f"it refused us with {self.status}{said}"
        return EhrUnavailable(reason, sent=sent, retry_after=retry_after(self.headers))

    def as_refusal(self, *, missing_is_taken: bool) -> SlotTaken | RejectedByEhr | None:
        """A write's no; None where the server rather tells that it broke, so that nothing is certain.

        `missing_is_taken`: what was not found can only be the time.
        """
        codes = self.outcome.codes
        if self.status in (409, 412) or "conflict" in codes or search(TAKEN, self.outcome.text, IGNORECASE):
            return SlotTaken()
        if not codes or codes & BROKEN:
            return None
        gone = self.status in (404, 410) or codes & {"not-found", "deleted"}
        return SlotTaken() if gone and missing_is_taken else RejectedByEhr(f"{self.status}: {self.outcome.text}")


class Unanswered(EhrUnavailable):
    """One request that got no usable answer, and what that tells of the server.

    `blames`: it was the server's doing. `again`: the trouble may be a passing one, so that a read is worth another try.
    """

    def __init__(
        self,
        reason: str,
        *,
        outage: Outage = Outage.OFFLINE,
        sent: bool = True,
        retry_after: timedelta | None = None,
        word: OutageWord | None = None,
        blames: bool = True,
        again: bool = False,
    ) -> None:
        super().__init__(reason, outage=outage, sent=sent, retry_after=retry_after, word=word)
        self.blames = blames
        self.again = again


def failure_in(status: int, headers: Mapping[str, str], body: bytes) -> FhirFailure | Unanswered | None:
    """What an answer complains of; None for a yes. The body is judged as well, for servers refuse under 200 too."""
    outcome = OperationOutcome(tuple(_complaints(body)))
    broke = status >= 500 and not (outcome.issues and outcome.codes <= SURE)
    if broke or status in (408, 425, 429) or 300 <= status < 400:
        return _unanswered(status, retry_after(headers))
    if status >= 400 or outcome.issues:
        return FhirFailure(status, headers, outcome)
    return None


def _unanswered(status: int, wait: timedelta | None) -> Unanswered:
    """A server that only wants fewer calls is well. One that says when to come back is not asked before that."""
    limited = status == 429
    return Unanswered(
        f"HTTP {status}",
        retry_after=wait,
        word=OutageWord.RATE_LIMITED if limited else None,
        blames=not limited,
        again=status in (502, 503, 504) and wait is None,
    )


def outage_of(error: EhrUnavailable | FhirFailure | Unreadable) -> EhrUnavailable:
    """For an answer that goes on without what failed."""
    if isinstance(error, EhrUnavailable):
        return error
    return error.as_outage() if isinstance(error, FhirFailure) else EhrUnavailable(str(error))


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """When to come back, from `Retry-After` (seconds or a date) or the `t` of a `RateLimit` header."""
    told = headers.get("Retry-After", "").strip()
    if told.isascii() and told.isdigit():
        return timedelta(seconds=min(int(told), 86_400))
    if told:
        return _until(told)
    limit = search(r"\bt=(\d{1,5})\b", headers.get("RateLimit", ""))
    return timedelta(seconds=int(limit[1])) if limit else None


def _until(date: str) -> timedelta | None:
    try:
        when = parsedate_to_datetime(date)
    except ValueError:
        return None
    return max(when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC), timedelta())


def _complaints(body: bytes) -> list[Issue]:
    """Errors of a bare OperationOutcome, or of a Bundle that holds nothing else."""
    if b"OperationOutcome" not in body:
        return []
    try:
        found = bundle(body)
        said = complaints(issues(found))
        alone = all(decode(entry.resource, Outcome).resourceType == "OperationOutcome" for entry in found.entry)
    except Unreadable:
        return []
    return said if alone else []


def _words(issue: Issue) -> str:
    details = issue.details.text if issue.details else ""
    return details or issue.diagnostics or issue.code
