"""How instants, money, lengths of time and structured values are written down, alike on both engines."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import BigInteger, DateTime, Dialect, Row, String, Text, TypeDecorator

AnyRow = Row[*tuple[Any, ...]]
"""A row of any statement."""

SORTED_TEXT = String().with_variant(String(collation="C"), "postgresql")
"""Text that lists are sorted by: by code point on both engines, whatever the database's own collation is."""


class Instant(TypeDecorator[datetime]):
    """A point in time, kept as UTC. Refuses naive values.

    SQLite keeps wall-clock text of fixed width: all of it being UTC, text order is time order.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone: {value.isoformat()}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class Seconds(TypeDecorator[timedelta]):
    """A length of time in whole seconds."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: timedelta | None, dialect: Dialect) -> int | None:
        return None if value is None else int(value.total_seconds())

    def process_result_value(self, value: int | None, dialect: Dialect) -> timedelta | None:
        return None if value is None else timedelta(seconds=value)


class Money(TypeDecorator[Decimal]):
    """An amount in ten-thousandths of its currency: SQLite has no decimals, and prices are sorted."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:
        if value is None:
            return None
        units = value.scaleb(4)
        if units != units.to_integral_value():
            raise ValueError(f"more than four decimals: {value}")
        return int(units)

    def process_result_value(self, value: int | None, dialect: Dialect) -> Decimal | None:
        if value is None:
            return None
        return Decimal(value).scaleb(-4) if value % 100 else (Decimal(value) / 10000).quantize(Decimal("0.01"))


class Json(TypeDecorator[Any]):
    """A value as JSON text with sorted keys: equal values are equal bytes. `of` is what it is read back as."""

    impl = Text
    cache_ok = True

    def __init__(self, of: Any) -> None:
        super().__init__()
        self.of = of
        self._decode = msgspec.json.Decoder(of).decode

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        return msgspec.json.encode(value, order="sorted").decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else self._decode(value)
