"""Bookings as rows, and rows as bookings. What patients write, and where they are told, is sealed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct
from sqlalchemy.exc import IntegrityError

from domain.audit import SYSTEM, AuditEntry
from domain.booking import Asked, Booking, BookingStatus, BookingStep
from domain.slot import Slot
from integrations.store.sealing import TenantKeys, Unsealable
from integrations.store.tables_bookings import GUARD
from integrations.store.types import AnyRow

EXCLUSION_VIOLATION = "23P01"

_AS_THEY_ARE = (
    *("tenant_id", "id", "reference", "version", "created_at", "expires_at", "rules", "patient_id"),
    *("moves_booking_id", "any_practitioner", "renewed", "ehr_id", "booked_at", "moves_made", "terms_version"),
    *("sms_confirmation", "asked_at", "check_at", "empty_reads", "failure", "held_in_ehr", "made_elsewhere"),
    "no_change_within",
)
_OF_THE_SLOT = ("endpoint_id", "offer_id", "clinic_id", "treatment_id", "practitioner_id", "resources", "time_zone")

WORDS, SMS_TO = "booking.words", "booking.sms_to"
"""What the sealed values are sealed as. The number is one by itself: it is forgotten before the rest."""


class Words(Struct, frozen=True, omit_defaults=True):
    """What the patient wrote, sealed in one value."""

    comment: str | None = None
    cancel_reason: str | None = None


IN_THE_CLEAR: dict[str, None] = dict.fromkeys((*Words.__struct_fields__, "sms_to"))
"""What is left in the columns that held it once."""

SEALED = ("words_sealed", "sms_to_sealed")


def is_private(booking: Booking) -> bool:
    """Whether it can only be written sealed."""
    return any(getattr(booking, name) is not None for name in IN_THE_CLEAR)


def values_of(booking: Booking, keys: TenantKeys | None = None) -> dict[str, Any]:
    """`keys` may only be left out for a booking with nothing private in it, such as a hold."""
    slot = booking.slot
    return {
        **(_sealed(booking, keys) if is_private(booking) else dict.fromkeys(SEALED)),
        **IN_THE_CLEAR,
        **{name: getattr(booking, name) for name in _AS_THEY_ARE},
        **{name: getattr(slot, name) for name in _OF_THE_SLOT},
        "slot_reference": slot.reference,
        "starts_at": slot.start,
        "ends_at": slot.end,
        "status": booking.status.value,
        "asked": booking.asked.value if booking.asked else None,
    }


def _sealed(booking: Booking, keys: TenantKeys | None) -> dict[str, bytes | None]:
    if keys is None:
        raise ValueError("what is private is written sealed, or not at all")
    words, id = Words(comment=booking.comment, cancel_reason=booking.cancel_reason), str(booking.id)
    return {
        "words_sealed": None if words == Words() else keys.seal(WORDS, id, msgspec.json.encode(words)),
        "sms_to_sealed": None if booking.sms_to is None else keys.seal(SMS_TO, id, booking.sms_to.encode()),
    }


def booking_of(row: AnyRow, keys: TenantKeys | None = None) -> Booking:
    """Raises `Unsealable`; without `keys`, for whatever is sealed."""
    values = row._mapping
    slot = Slot(
        **{name: values[name] for name in _OF_THE_SLOT},
        reference=row.slot_reference,
        start=row.starts_at.astimezone(ZoneInfo(row.time_zone)),
        end=row.ends_at.astimezone(ZoneInfo(row.time_zone)),
    )
    return Booking(
        **{name: values[name] for name in _AS_THEY_ARE},
        **private_of(row, keys),
        slot=slot,
        status=BookingStatus(row.status),
        asked=Asked(row.asked) if row.asked else None,
    )


def private_of(row: AnyRow, keys: TenantKeys | None) -> dict[str, Any]:
    """Raises `Unsealable`."""
    id, words, sms_to = str(row.id), Words(comment=row.comment, cancel_reason=row.cancel_reason), row.sms_to
    if keys is None and is_sealed(row):
        raise Unsealable(f"booking {id} is read without keys")
    if keys and row.words_sealed is not None:
        words = msgspec.json.decode(keys.open(WORDS, id, row.words_sealed), type=Words)
    if keys and row.sms_to_sealed is not None:
        sms_to = keys.open(SMS_TO, id, row.sms_to_sealed).decode()
    return {"comment": words.comment, "cancel_reason": words.cancel_reason, "sms_to": sms_to}


def is_sealed(row: AnyRow) -> bool:
    return row.words_sealed is not None or row.sms_to_sealed is not None


class Keyring(Protocol):
    async def known(self, tenant_id: str) -> TenantKeys: ...


class OpenedRows:
    """Rows with what is sealed in them. A tenant's keys are asked for once, and only where something is sealed."""

    def __init__(self, sealing: Keyring | None) -> None:
        self._sealing = sealing

    async def all(self, rows: Sequence[AnyRow]) -> list[Booking]:
        tenants = {row.tenant_id for row in rows if is_sealed(row)}
        keys = {tenant_id: await self._sealing.known(tenant_id) for tenant_id in tenants} if self._sealing else {}
        return [booking_of(row, keys.get(row.tenant_id)) for row in rows]

    async def one(self, row: AnyRow | None) -> Booking | None:
        return (await self.all([row]))[0] if row else None


def step_of(row: AnyRow) -> BookingStep:
    return BookingStep(
        at=row.at, version=row.version, status=BookingStatus(row.status), actor=row.actor, start=row.starts_at
    )


def step_row(step: BookingStep) -> dict[str, Any]:
    return {
        "at": step.at,
        "version": step.version,
        "status": step.status.value,
        "actor": step.actor,
        "starts_at": step.start,
    }


def lapse_of(booking: Booking, now: datetime) -> tuple[BookingStep, AuditEntry]:
    """What a hold's history and the audit trail say when its time ran out."""
    step = BookingStep(
        at=now, version=booking.version, status=booking.status, actor=SYSTEM.kind.value, start=booking.slot.start
    )
    entry = AuditEntry(
        tenant_id=booking.tenant_id,
        at=now,
        actor=SYSTEM,
        action="booking.expired",
        target="booking",
        target_id=booking.id,
        details={"status": booking.status.value, "version": str(booking.version)},
    )
    return step, entry


def refused_by_guard(error: IntegrityError) -> bool:
    """Whether it was the guard that refused, and no other constraint."""
    if getattr(error.orig, "sqlstate", None) == EXCLUSION_VIOLATION:
        return getattr(error.orig.__cause__, "constraint_name", None) == GUARD if error.orig else False
    return str(error.orig) == GUARD
