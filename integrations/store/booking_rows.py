"""Bookings as rows, and rows as bookings."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.exc import IntegrityError

from domain.audit import SYSTEM, AuditEntry
from domain.booking import Asked, Booking, BookingStatus, BookingStep
from domain.slot import Slot
from integrations.store.tables_bookings import GUARD
from integrations.store.types import AnyRow

EXCLUSION_VIOLATION = "23P01"

_AS_THEY_ARE = (
    *("tenant_id", "id", "reference", "version", "created_at", "expires_at", "rules", "patient_id"),
    *("moves_booking_id", "any_practitioner", "renewed", "ehr_id", "booked_at", "moves_made", "comment"),
    *("terms_version", "sms_confirmation", "sms_to", "asked_at", "check_at", "empty_reads", "failure"),
    *("cancel_reason", "held_in_ehr", "made_elsewhere", "no_change_within"),
)
_OF_THE_SLOT = ("endpoint_id", "offer_id", "clinic_id", "treatment_id", "practitioner_id", "resources", "time_zone")


def values_of(booking: Booking) -> dict[str, Any]:
    slot = booking.slot
    return {
        **{name: getattr(booking, name) for name in _AS_THEY_ARE},
        **{name: getattr(slot, name) for name in _OF_THE_SLOT},
        "slot_reference": slot.reference,
        "starts_at": slot.start,
        "ends_at": slot.end,
        "status": booking.status.value,
        "asked": booking.asked.value if booking.asked else None,
    }


def booking_of(row: AnyRow) -> Booking:
    values = row._mapping
    slot = Slot(
        **{name: values[name] for name in _OF_THE_SLOT},
        reference=row.slot_reference,
        start=row.starts_at.astimezone(ZoneInfo(row.time_zone)),
        end=row.ends_at.astimezone(ZoneInfo(row.time_zone)),
    )
    return Booking(
        **{name: values[name] for name in _AS_THEY_ARE},
        slot=slot,
        status=BookingStatus(row.status),
        asked=Asked(row.asked) if row.asked else None,
    )


def step_of(row: AnyRow) -> BookingStep:
    return BookingStep(
        at=row.at, version=row.version, status=BookingStatus(row.status), actor=row.actor, start=row.starts_at
    )


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
