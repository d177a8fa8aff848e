"""Where clinics are, and when they are open."""

from datetime import time
from typing import TYPE_CHECKING, Optional
from uuid import UUID

import strawberry

from api.errors import BadInput
from api.schema.allowed import owned
from api.schema.fields import described_enum
from api.schema.ids import global_id
from api.schema.node import LOOK_UPS, Node
from domain.clinic import Address as AddressEntity
from domain.clinic import Area as AreaEntity
from domain.clinic import GeoPoint as PointEntity
from domain.clinic import OpeningHours as HoursEntity
from domain.clinic import Weekday
from domain.text import said_in

if TYPE_CHECKING:
    from api.context import Context

described_enum(
    Weekday,
    description="A day of the week, by the clinic's own calendar.",
    MONDAY="The first day of the week by ISO 8601, and in Nordic calendars.",
    TUESDAY="The second day of the week by ISO 8601.",
    WEDNESDAY="The third day of the week by ISO 8601.",
    THURSDAY="The fourth day of the week by ISO 8601.",
    FRIDAY="The fifth day of the week by ISO 8601.",
    SATURDAY="The sixth day of the week by ISO 8601.",
    SUNDAY="The last day of the week by ISO 8601.",
)


@strawberry.type(
    description="A part of the country or town that the group sorts its clinics under.", directives=[owned("Area")]
)
class Area(Node):
    name: str = strawberry.field(description="In the reader's language, else in one it exists in.")
    sort_key: int = strawberry.field(description="The group's own order: the lowest comes first.")

    @classmethod
    def of(cls, area: AreaEntity, context: "Context") -> "Area":
        name = said_in(area.name, context.languages) or ""
        return cls(id=global_id("Area", area.id), name=name, sort_key=area.sort_key)


@strawberry.type(description="Where letters and visitors go, by the country's own postal rules.")
class Address:
    street: str | None = strawberry.field(description="Street and number; null where the clinic has not told it.")
    postal_code: str | None = strawberry.field(description="As the country writes it, such as “0155” or “111 22”.")
    city: str | None = strawberry.field(description="The postal town, which need not be the municipality.")
    country_code: str = strawberry.field(description="Two letters by ISO 3166-1, such as `NO` or `SE`.")
    formatted: str = strawberry.field(description="All of it in one line, to be shown or handed to a map.")

    @classmethod
    def of(cls, address: AddressEntity | None) -> Optional["Address"]:
        if address is None:
            return None
        return cls(
            street=address.street,
            postal_code=address.postal_code,
            city=address.city,
            country_code=address.country_code,
            formatted=address.formatted,
        )


@strawberry.type(description="A place on the map, in WGS 84 as GPS and web maps use it.")
class GeoPoint:
    latitude: float = strawberry.field(description="Degrees north of the equator, -90 to 90.")
    longitude: float = strawberry.field(description="Degrees east of Greenwich, -180 to 180.")

    @classmethod
    def of(cls, point: PointEntity | None) -> Optional["GeoPoint"]:
        return cls(latitude=point.latitude, longitude=point.longitude) if point else None


@strawberry.input(
    description="Where somebody is or wants to be, in WGS 84. It is used for this answer only and never kept."
)
class GeoPointInput:
    latitude: float = strawberry.field(description="Degrees north of the equator, -90 to 90.")
    longitude: float = strawberry.field(description="Degrees east of Greenwich, -180 to 180.")

    def point(self) -> PointEntity:
        """Raises `BadInput` for a place that is not on the globe."""
        if not (-90 <= self.latitude <= 90 and -180 <= self.longitude <= 180):
            raise BadInput("A latitude is between -90 and 90, a longitude between -180 and 180.")
        return PointEntity(latitude=self.latitude, longitude=self.longitude)


@strawberry.type(description="A stretch of one weekday when the clinic is open; a day with a break has two.")
class OpeningHours:
    weekday: Weekday = strawberry.field(description="The day it holds for, in every week; days without are closed.")
    opens: time = strawberry.field(description="On the clinic's own wall, in its time zone.")
    closes: time = strawberry.field(description="On the clinic's own wall, in its time zone.")

    @classmethod
    def of(cls, hours: HoursEntity) -> "OpeningHours":
        return cls(weekday=hours.weekday, opens=hours.opens, closes=hours.closes)


async def _area(context: "Context", id: UUID) -> Area | None:
    area = await context.loaders.area.load(id)
    return Area.of(area, context) if area else None


LOOK_UPS["Area"] = _area
