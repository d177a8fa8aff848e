"""A clinic's booking rules, told ahead so that frontends need not find out by trying."""

from datetime import timedelta

import strawberry

from api.schema.fields import described_enum
from domain.rules import BookingRules as RulesEntity
from domain.rules import ChangeWindow as WindowEntity
from domain.rules import WindowCombination

described_enum(
    WindowCombination,
    description="How the two deadlines of a change window count together.",
    ANY="A change is allowed as long as at least one deadline has not passed: the kinder way, and the usual one.",
    ALL="A change is allowed only while neither deadline has passed.",
)


@strawberry.type(
    description="Until when patients may cancel or move a booking themselves. Hours are elapsed hours, also over a "
    "night when clocks change. A booking keeps the window it was made under, and the kinder one counts."
)
class ChangeWindow:
    allowed: bool = strawberry.field(description="False: never online, whatever the deadlines say; call the clinic.")
    within_hours_of_booking: int | None = strawberry.field(
        description="Hours of grace after booking; null when there is no such deadline."
    )
    until_hours_before_start: int | None = strawberry.field(
        description="Hours ahead of the visit at which it closes; null when there is no such deadline."
    )
    combination: WindowCombination = strawberry.field(
        description="Whether one open deadline is enough; of no effect unless both are set."
    )

    @classmethod
    def of(cls, window: WindowEntity) -> "ChangeWindow":
        return cls(
            allowed=window.allowed,
            within_hours_of_booking=window.within_hours_of_booking,
            until_hours_before_start=window.until_hours_before_start,
            combination=window.combination,
        )


@strawberry.type(description="What a clinic asks of a booking, its own values put over those of its group.")
class BookingRules:
    minimum_notice: timedelta = strawberry.field(
        description="How long before its start a time can last be held; zero means until it starts."
    )
    minimum_age: int | None = strawberry.field(
        description="Whole years that the patient must have reached on the day of the visit; null for no limit."
    )
    cancellation: ChangeWindow = strawberry.field(description="Until when patients may cancel on their own.")
    rescheduling: ChangeWindow = strawberry.field(description="Until when patients may move a visit on their own.")
    maximum_reschedules: int | None = strawberry.field(
        description="How many times a patient may move one booking; null for no limit. The clinic's own moves do "
        "not count."
    )

    @classmethod
    def of(cls, rules: RulesEntity) -> "BookingRules":
        return cls(
            minimum_notice=rules.minimum_notice,
            minimum_age=rules.minimum_age,
            cancellation=ChangeWindow.of(rules.cancellation),
            rescheduling=ChangeWindow.of(rules.rescheduling),
            maximum_reschedules=rules.maximum_reschedules,
        )
