"""Whose idempotency key it is: the caller's, and within it one patient's, or a visitor's who has no name."""

from uuid import UUID


def scope(caller_id: str, whose: UUID | str) -> str:
    return f"{caller_id}:{whose}"


def scopes_end(patient_id: UUID) -> str:
    """What the scope of each of a patient's keys ends in, whichever caller it came through, and no other scope."""
    return scope("", patient_id)
