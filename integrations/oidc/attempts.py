"""Remembers logins that are under way in a browser, each under its own state, so that several tabs can log in.

They travel in the browser's signed cookie, which holds about 4 KB: the oldest make room for a new one.
"""

import json
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from authlib.integrations.starlette_client import StarletteIntegration

from domain.ports import Clock

PREFIX = "login:"
LIFETIME = timedelta(minutes=15)
MOST = 5
ROOM = 2600
"""Characters of JSON that, signed and in base64, stay below a cookie's 4,096 bytes."""

Session = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginAttempt:
    """What we need back when the person returns from the provider. Nothing in it is secret to the browser."""

    provider: str
    tenant_id: str
    return_to: str
    hold_token: str | None = None
    max_age: int | None = None
    """Seconds since the person last proved who they are; set for a step-up."""


class AttemptTooLarge(ValueError):
    """The attempt alone would not fit into the cookie: the return address is too long."""


class LoginAttempts(StarletteIntegration):
    """Authlib's memory of states, which stock keeps one attempt only and breaks the login of every other tab."""

    def __init__(self, clock: Clock) -> None:
        super().__init__("login")
        self._clock = clock

    def remember(self, session: Session, state: str, attempt: LoginAttempt, proof: dict[str, Any]) -> None:
        """Keeps the attempt with its proof: nonce, code verifier, redirect address. Raises `AttemptTooLarge`."""
        until = (self._clock.now() + LIFETIME).timestamp()
        entry = {"until": int(until), "attempt": asdict(attempt), "proof": proof}
        key = PREFIX + state
        if _size({key: entry}) > ROOM:
            raise AttemptTooLarge("the login attempt does not fit into a cookie")
        self._forget_expired(session)
        others = sorted(_attempts(session), key=lambda name: session[name]["until"])
        while others and (len(others) >= MOST or _size({**session, key: entry}) > ROOM):
            session.pop(others.pop(0))
        session[key] = entry

    def attempt(self, session: Session, state: str | None) -> LoginAttempt | None:
        """The live attempt of that state that began in this browser."""
        entry = self._live(session, state)
        return LoginAttempt(**entry["attempt"]) if entry else None

    async def get_state_data(self, session: Session | None, state: str | None) -> dict[str, Any] | None:
        entry = self._live(session or {}, state)
        return entry["proof"] if entry else None

    async def clear_state_data(self, session: Session | None, state: str | None) -> None:
        if session is not None:
            session.pop(f"{PREFIX}{state}", None)

    def _live(self, session: Session, state: str | None) -> dict[str, Any] | None:
        entry = session.get(f"{PREFIX}{state}")
        return entry if entry and not _expired(entry, self._clock.now()) else None

    def _forget_expired(self, session: Session) -> None:
        for name in _attempts(session):
            if _expired(session[name], self._clock.now()):
                session.pop(name)


def _attempts(session: Session) -> list[str]:
    return [name for name in session if name.startswith(PREFIX)]


def _expired(entry: dict[str, Any], now: datetime) -> bool:
    return bool(entry["until"] <= now.timestamp())


def _size(session: Session) -> int:
    return len(json.dumps(dict(session)))
