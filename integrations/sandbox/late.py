"""Requests that lie about in the network: whoever sent them has given up, and they arrive all the same."""

from collections import deque

from starlette.types import ASGIApp, Message, Receive, Scope


class LateRequests:
    """What is on its way, oldest first; nothing arrives before somebody says so."""

    def __init__(self) -> None:
        self._kept: deque[tuple[ASGIApp, Scope, bytes]] = deque()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, app: ASGIApp, scope: Scope, body: bytes) -> None:
        """Let a request for the application lie."""
        self._kept.append((app, dict(scope), body))

    async def deliver(self, most: int | None = None) -> int:
        """Carry out so many, or all that lie there now, one after the other; the answers reach nobody."""
        delivered, wanted = 0, len(self._kept) if most is None else most
        while self._kept and delivered < wanted:
            app, scope, body = self._kept.popleft()
            await app(scope, _receiving(body), _nobody)
            delivered += 1
        return delivered

    def forget(self) -> None:
        """What lies there never arrives."""
        self._kept.clear()


async def body_of(receive: Receive) -> bytes | None:
    """The whole body, or nothing when the caller hung up before its end."""
    parts: list[bytes] = []
    while (message := await receive())["type"] == "http.request":
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
    return None


def _receiving(body: bytes) -> Receive:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


async def _nobody(_: Message) -> None:
    return None
