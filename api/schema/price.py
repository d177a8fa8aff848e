"""Prices as the clinic words them, and as amounts where there is one."""

from decimal import Decimal
from typing import TYPE_CHECKING, Optional

import strawberry

from api.schema.scalars import CurrencyCode
from domain.offer import Price as PriceEntity
from domain.tenant import PriceDisplay
from domain.text import said_in

if TYPE_CHECKING:
    from api.context import Context


@strawberry.type(description="An exact amount in one currency.")
class Money:
    amount: Decimal = strawberry.field(description="In the currency's main unit: kroner, not øre.")
    currency_code: CurrencyCode = strawberry.field(description="What the amount is counted in, by ISO 4217.")


@strawberry.type(description="What a treatment costs the patient.")
class Price:
    text: str = strawberry.field(
        description="As the clinic words it, in the reader's language: show this one, it may say more than a number."
    )
    amount: Money | None = strawberry.field(
        description="For sorting and comparing; null where the wording is all there is, such as “from 400 kr”."
    )
    campaign_text: str | None = strawberry.field(
        description="How the campaign whose code was given words it; null when it says nothing about the price."
    )

    @classmethod
    def of(
        cls, price: PriceEntity | None, context: "Context", *, campaign_text: str | None = None
    ) -> Optional["Price"]:
        """Null for a price that says nothing at all."""
        if price is None:
            return None
        money = None
        if price.amount is not None and price.currency:
            money = Money(amount=price.amount, currency_code=price.currency)
        text = said_in(price.text, context.languages) or (f"{money.amount:f} {money.currency_code}" if money else None)
        return cls(text=text, amount=money, campaign_text=campaign_text) if text else None


def price_on_treatments(price: PriceEntity | None, context: "Context") -> Price | None:
    """Null where the tenant shows no prices beside treatments."""
    shown = context.tenant.display.prices_on_treatments is PriceDisplay.ALWAYS
    return Price.of(price, context) if shown else None


def price_on_confirmation(price: PriceEntity | None, context: "Context") -> Price | None:
    """Null where the tenant shows no prices with holds and bookings."""
    shown = context.tenant.display.prices_on_confirmation is PriceDisplay.ALWAYS
    return Price.of(price, context) if shown else None
