"""`python -m api key …`: what an operator orders, and how keys are told to them."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from api.orders import OrderUnclear
from api.tables import table
from domain.api_key import ApiKey, KeyKind
from domain.client import SYSTEM_SCOPES, Scope
from domain.origins import origin_of

USAGE = (
    "key mint TENANT AGENCY [--scope S]… [--origin O]… [--rate N] [--test] | key rotate KEY-ID | key revoke KEY-ID | "
    "key list TENANT"
)
RATE = 600
MOST_RATE = 60_000
LONGEST_AGENCY = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOrder:
    """`verb` is mint, rotate, revoke or list; the rest is what that verb takes."""

    verb: str
    tenant: str = ""
    agency: str = ""
    key_id: str = ""
    scope: Sequence[Scope] = ()
    origin: Sequence[str] = ()
    rate: int = RATE
    test: bool = False

    @property
    def kind(self) -> KeyKind:
        return KeyKind.TEST if self.test else KeyKind.LIVE

    @property
    def scopes(self) -> frozenset[Scope]:
        """All system scopes unless some are named."""
        return frozenset(self.scope) or SYSTEM_SCOPES


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise OrderUnclear(f"key: {message}; usage: python -m api {USAGE}")


def read_order(arguments: Sequence[str]) -> KeyOrder:
    """Raises `OrderUnclear`."""
    told: dict[str, Any] = vars(_parser().parse_args(arguments))
    return KeyOrder(**told)


def _parser() -> _Parser:
    parser = _Parser(prog="key", add_help=False, allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", required=True)
    mint = verbs.add_parser("mint", add_help=False, allow_abbrev=False)
    mint.add_argument("tenant")
    mint.add_argument("agency", type=_agency)
    mint.add_argument("--scope", type=_scope, action="append", default=[])
    mint.add_argument("--origin", type=_origin, action="append", default=[])
    mint.add_argument("--rate", type=_rate, default=RATE)
    mint.add_argument("--test", action="store_true")
    for verb in ("rotate", "revoke"):
        verbs.add_parser(verb, add_help=False).add_argument("key_id", type=_key_id)
    verbs.add_parser("list", add_help=False).add_argument("tenant")
    return parser


def _agency(name: str) -> str:
    if len(name) > LONGEST_AGENCY or not re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*", name):
        raise ArgumentTypeError(f"an agency is named by at most {LONGEST_AGENCY} of a-z, 0-9 and single hyphens")
    return name


def _key_id(id: str) -> str:
    """Not repeated in what is told, for it may be the whole key."""
    if not re.fullmatch(r"[0-9A-Za-z]{8}", id):
        raise ArgumentTypeError("a key's id is the eight letters and digits behind itb_live_ or itb_test_")
    return id


def _scope(name: str) -> Scope:
    try:
        return Scope(name)
    except ValueError:
        raise ArgumentTypeError(f"no such scope; there are {', '.join(Scope)}") from None


def _rate(number: str) -> int:
    if not number.isascii() or not number.isdigit() or not 1 <= int(number) <= MOST_RATE:
        raise ArgumentTypeError(f"a rate is 1 to {MOST_RATE} requests a minute")
    return int(number)


def _origin(text: str) -> str:
    try:
        return origin_of(text)
    except ValueError as wrong:
        raise ArgumentTypeError(str(wrong)) from wrong


def told_keys(keys: Sequence[ApiKey], now: datetime) -> Iterator[str]:
    """A line for each; of the key itself its last four characters."""
    head = ("KEY ID", "AGENCY", "KIND", "ENDS", "STATE", "LAST USED", "PEPPER", "RATE", "SCOPES", "ORIGINS")
    yield from table(head, (_row(key, now) for key in keys))


def _row(key: ApiKey, now: datetime) -> Sequence[str]:
    return (
        *(key.key_id, key.agency, key.kind.value, f"…{key.last_four}", _state(key, now)),
        *(_minute(key.last_used_at) if key.last_used_at else "never", str(key.pepper), f"{key.rate_per_minute}/min"),
        *(" ".join(sorted(key.scopes)), " ".join(key.origins) or "any"),
    )


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at:
        return f"revoked {_minute(key.revoked_at)}"
    if key.expires_at:
        return f"{'expires' if key.stands(now) else 'expired'} {_minute(key.expires_at)}"
    return "live"


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%MZ}"
