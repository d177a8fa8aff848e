"""What the domain needs from the world outside: one Protocol a need."""

from domain.ports.bookings import BookingReads, Bookings, StaleBooking, Turn
from domain.ports.catalogue import Catalogue, Offering
from domain.ports.ehr import (
    AppointmentState,
    Ehr,
    EhrAppointment,
    Ehrs,
    EhrUnavailable,
    Found,
    Outage,
    OutageWord,
    Visit,
    Wanted,
)
from domain.ports.ehr_news import (
    EhrChange,
    EhrListening,
    EhrNews,
    EhrsListening,
    Hook,
    Notification,
    NotificationUnreadable,
)
from domain.ports.news import Bus, ChangeLog, Feed, FeedReads, Feeds
from domain.ports.surroundings import Clock, Limiter, Pace
from domain.ports.times import DayTimes, Shelf, Shelved, TimesCache
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
    "Bus",
    "Catalogue",
    "CatalogueWrites",
    "ChangeLog",
    "Clock",
    "DayTimes",
    "Ehr",
    "EhrAppointment",
    "EhrChange",
    "EhrListening",
    "EhrNews",
    "EhrUnavailable",
    "Ehrs",
    "EhrsListening",
    "Feed",
    "FeedReads",
    "Feeds",
    "Found",
    "Hook",
    "Idempotency",
    "Limiter",
    "Notification",
    "NotificationUnreadable",
    "Offering",
    "Outage",
    "OutageWord",
    "Pace",
    "Patients",
    "Remembered",
    "Session",
    "Sessions",
    "Shelf",
    "Shelved",
    "StaleBooking",
    "StartWork",
    "TimesCache",
    "Turn",
    "UnitOfWork",
    "Visit",
    "Wanted",
]
