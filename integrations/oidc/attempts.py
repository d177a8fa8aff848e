"""Remembers logins that are under way in a browser, each under its own state, so that several tabs can log in.

Whoever serves the request keeps each in a cookie of its own, signed, where it may take about 4 KB.
"""

import json
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any

from authlib.integrations.starlette_client import StarletteIntegration

from domain.ports import Clock

LIFETIME = timedelta(minutes=15)
MOST = 5
ROOM = 2600
"""Characters of JSON that, signed and in base64, stay below a cookie's 4,096 bytes."""
ROOM_IN_ALL = 5000
"""Characters of all attempts: a browser sends their cookies in one line, and proxies take 8 KB of it."""

Session = MutableMapping[str, Any]
"""Attempts by their states' keys, and nothing else."""


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
    """The attempt alone would not fit into its cookie: the return address is too long."""


class LoginAttempts(StarletteIntegration):
    """Authlib's memory of states, which stock keeps one attempt only and breaks the login of every other tab."""

    def __init__(self, clock: Clock) -> None:
        super().__init__("login")
        self._clock = clock

    def remember(self, session: Session, state: str, attempt: LoginAttempt, proof: dict[str, Any]) -> None:
        """Keeps the attempt with its proof: nonce, code verifier, redirect address. Raises `AttemptTooLarge`."""
        until = (self._clock.now() + LIFETIME).timestamp()
        entry = {"until": round(until, 3), "attempt": asdict(attempt), "proof": proof}
        if _size(entry) > ROOM:
            raise AttemptTooLarge("the login attempt does not fit into a cookie")
        self._make_room(session, entry)
        session[_key(state)] = entry

    def attempt(self, session: Session, state: str | None) -> LoginAttempt | None:
        """The live attempt of that state that began in this browser."""
        entry = self._live(session, state)
        return LoginAttempt(**entry["attempt"]) if entry else None

    def forget(self, session: Session, state: str | None) -> None:
        session.pop(_key(state), None)

    async def get_state_data(self, session: Session | None, state: str | None) -> dict[str, Any] | None:
        entry = self._live(session or {}, state)
        return entry["proof"] if entry else None

    async def clear_state_data(self, session: Session | None, state: str | None) -> None:
        if session is not None:
            self.forget(session, state)

    def _live(self, session: Session, state: str | None) -> dict[str, Any] | None:
        entry = session.get(_key(state))
        return entry if entry and not self._is_over(entry) else None

    def _make_room(self, session: Session, entry: dict[str, Any]) -> None:
        """The oldest go first. Two tabs that begin at once may leave one too many, until the next begins."""
        for key in [key for key, each in session.items() if self._is_over(each)]:
            session.pop(key)
        oldest = sorted(session, key=lambda key: session[key]["until"])
        while oldest and (len(oldest) >= MOST or _size({**session, "": entry}) > ROOM_IN_ALL):
            session.pop(oldest.pop(0))

    def _is_over(self, entry: dict[str, Any]) -> bool:
        return bool(entry["until"] <= self._clock.now().timestamp())


def _key(state: str | None) -> str:
    """Names of cookies take few characters, and a state is whatever whoever comes back says."""
    return sha256((state or "").encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _size(part: dict[str, Any]) -> int:
    return len(json.dumps(part))
