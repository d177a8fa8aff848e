"""What the domain needs from the world outside: one Protocol a need."""

from domain.ports.bookings import BookingReads, Bookings, StaleBooking, Turn
from domain.ports.catalogue import Catalogue, Offering
from domain.ports.ehr import AppointmentState, Ehr, EhrAppointment, Ehrs, EhrUnavailable, Found, Outage, Visit, Wanted
from domain.ports.surroundings import Clock, Limiter
from domain.ports.work import (
    CatalogueWrites,
    Idempotency,
    Patients,
    Remembered,
    Session,
    Sessions,
    StartWork,
    UnitOfWork,
)

__all__ = [
    "AppointmentState",
    "BookingReads",
    "Bookings",
    "Catalogue",
    "CatalogueWrites",
    "Clock",
    "Ehr",
    "EhrAppointment",
    "EhrUnavailable",
    "Ehrs",
    "Found",
    "Idempotency",
    "Limiter",
    "Offering",
    "Outage",
    "Patients",
    "Remembered",
    "Session",
    "Sessions",
    "StaleBooking",
    "StartWork",
    "Turn",
    "UnitOfWork",
    "Visit",
    "Wanted",
]
