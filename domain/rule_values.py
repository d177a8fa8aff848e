"""What tenants and clinics say of bookings, and what comes of it where both speak."""

from dataclasses import dataclass, fields, replace
from datetime import timedelta
from enum import StrEnum


class WindowCombination(StrEnum):
    """How the two branches of a change window count together."""

    ANY = "any"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleValues:
    """What one level, tenant or clinic, says; None says nothing, and the level above counts."""

    minimum_notice_minutes: int | None = None
    minimum_age: int | None = None
    cancellation_allowed: bool | None = None
    cancellation_within_hours_of_booking: int | None = None
    cancellation_until_hours_before_start: int | None = None
    rescheduling_allowed: bool | None = None
    rescheduling_within_hours_of_booking: int | None = None
    rescheduling_until_hours_before_start: int | None = None
    window_combination: WindowCombination | None = None
    maximum_reschedules: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeWindow:
    """When a patient may change a booking: hours are elapsed hours, a missing one means that branch is absent."""

    allowed: bool
    within_hours_of_booking: int | None = None
    until_hours_before_start: int | None = None
    combination: WindowCombination = WindowCombination.ANY


@dataclass(frozen=True, slots=True, kw_only=True)
class BookingRules:
    """The rules in force at a clinic; a booking keeps a snapshot of those it was made under."""

    minimum_notice: timedelta
    minimum_age: int | None
    cancellation: ChangeWindow
    rescheduling: ChangeWindow
    maximum_reschedules: int | None


def rules_of(tenant: RuleValues, clinic: RuleValues) -> BookingRules:
    """The clinic's values over the tenant's, one by one. What neither says: no notice, no age, changes allowed."""
    own = {f.name: value for f in fields(clinic) if (value := getattr(clinic, f.name)) is not None}
    values = replace(tenant, **own)
    combination = values.window_combination or WindowCombination.ANY
    return BookingRules(
        minimum_notice=timedelta(minutes=max(values.minimum_notice_minutes or 0, 0)),
        minimum_age=values.minimum_age,
        cancellation=ChangeWindow(
            allowed=values.cancellation_allowed is not False,
            within_hours_of_booking=values.cancellation_within_hours_of_booking,
            until_hours_before_start=values.cancellation_until_hours_before_start,
            combination=combination,
        ),
        rescheduling=ChangeWindow(
            allowed=values.rescheduling_allowed is not False,
            within_hours_of_booking=values.rescheduling_within_hours_of_booking,
            until_hours_before_start=values.rescheduling_until_hours_before_start,
            combination=combination,
        ),
        maximum_reschedules=values.maximum_reschedules,
    )
