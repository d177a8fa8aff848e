"""The public schema: patients' frontends and agencies ask this one."""

import strawberry
from strawberry.extensions import MaxTokensLimiter
from strawberry.schema.config import StrawberryConfig

from api.errors import Schema
from api.one_operation import OneOperation
from api.operations import MOST_TOKENS
from api.remembered import Parsed, Validated
from api.schema.availability import AvailabilityQueries
from api.schema.booking import Booking
from api.schema.booking_changes import BookingMutations
from api.schema.booking_news import BookingSubscriptions
from api.schema.consent import ConsentMutations
from api.schema.contact_details import ContactMutations
from api.schema.errors import ERROR_TYPES
from api.schema.hold import HoldMutations, HoldQueries
from api.schema.own_data import OwnDataMutations
from api.schema.root_catalogue import CatalogueQueries
from api.schema.scalars import SCALARS
from api.schema.sign_out import SignOutMutations
from api.schema.slot_changes import SlotSubscriptions
from api.schema.viewer import ViewerQueries


@strawberry.type(description="Everything that can be asked.")
class Query(CatalogueQueries, AvailabilityQueries, HoldQueries, ViewerQueries):
    pass


@strawberry.type(description="Everything that can be done. Whatever is refused is told in the payload's `errors`.")
class Mutation(HoldMutations, BookingMutations, ContactMutations, ConsentMutations, OwnDataMutations, SignOutMutations):
    pass


@strawberry.type(description="Everything that can be watched, over a WebSocket or as server-sent events.")
class Subscription(SlotSubscriptions, BookingSubscriptions):
    pass


schema = Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=[Booking, *ERROR_TYPES],
    config=StrawberryConfig(scalar_map=SCALARS),
    extensions=[
        lambda: MaxTokensLimiter(max_token_count=MOST_TOKENS),
        Parsed,
        Validated,
        OneOperation,
    ],
)
