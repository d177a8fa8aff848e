"""How many WebSockets and event streams are open at once, from one address and in this process."""

from collections import Counter
from collections.abc import Callable, Sequence

from starlette.requests import HTTPConnection

from api.errors import RateLimited
from api.messages import message

COME_BACK_SECONDS = 30
"""What a client that found no room is told to wait: nobody knows when somebody else leaves."""


class Connections:
    """Each process counts its own: what it guards, memory and files, is each process's own, too."""

    def __init__(
        self, address_of: Callable[[HTTPConnection], str], *, per_address: int = 500, most: int = 5000
    ) -> None:
        self._address_of = address_of
        self._per_address = per_address
        self._most = most
        self._open: Counter[str] = Counter()

    def enter(self, connection: HTTPConnection, languages: Sequence[str] = ()) -> Callable[[], None]:
        """Answers what gives the place back, to be called once. Raises `RateLimited` when there is none."""
        address = self._address_of(connection)
        if self._open.total() >= self._most or self._open[address] >= self._per_address:
            raise RateLimited(message("RATE_LIMITED", languages), retryAfter=COME_BACK_SECONDS)
        self._open[address] += 1
        return lambda: self._leave(address)

    def _leave(self, address: str) -> None:
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]  # strangers choose the addresses: none may be kept
