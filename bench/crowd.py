"""Thousands of WebSocket clients in one thread, as light as can be: they are not what is measured."""

import json
import socket
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from select import EPOLLIN, epoll
from typing import Any
from urllib.parse import urlsplit

HANDSHAKE = (
    "GET /graphql HTTP/1.1\r\nHost: {netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
)
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
NEXT = b'"type":"next"'
PATIENCE = 120.0


@dataclass(slots=True, eq=False)
class Member:
    socket: socket.socket
    group: str
    unread: bytearray = field(default_factory=bytearray)


class Crowd:
    """Everybody hears as long as anybody is listened to. Members of a group are told apart from those of others."""

    def __init__(self) -> None:
        self._ready = epoll()
        self._members: dict[int, Member] = {}
        self._heard: defaultdict[str, list[float]] = defaultdict(list)
        self.last: dict[str, bytes] = {}

    def join(self, url: str, group: str, messages: Sequence[Mapping[str, Any]]) -> None:
        """Opens a socket and says those messages, without waiting for what they are answered."""
        parts = urlsplit(url)
        own = socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        own.sendall(HANDSHAKE.format(netloc=parts.netloc).encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += own.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        own.sendall(b"".join(_frame(TEXT, json.dumps(each).encode()) for each in messages))
        own.setblocking(False)
        self._members[own.fileno()] = Member(own, group)
        self._ready.register(own.fileno(), EPOLLIN)

    def listen(self, group: str, count: int) -> list[float]:
        """When each of so many members of the group heard of a result, in the machine's own time."""
        until = time.monotonic() + PATIENCE
        while len(self._heard[group]) < count:
            assert time.monotonic() < until, f"{len(self._heard[group])} of {count} were told"
            # from the first on awake, or whoever sends would be waking us again and again
            self.hear(0.0 if self._heard[group] else 1.0)
        return self._heard.pop(group)

    def hear(self, seconds: float = 0.0) -> None:
        for descriptor, _ in self._ready.poll(seconds):
            member = self._members[descriptor]
            data = member.socket.recv(1 << 18)
            now = time.monotonic()
            assert data, f"a socket of {member.group} was closed"
            member.unread += data
            for kind, payload in _frames(member.unread):
                self._take(member, kind, payload, now)

    def _take(self, member: Member, kind: int, payload: bytes, now: float) -> None:
        if kind == PING:
            member.socket.sendall(_frame(PONG, payload))
        elif kind == TEXT and NEXT in payload[:40]:
            self._heard[member.group].append(now)
            self.last[member.group] = payload
        elif kind == CLOSE or b'"error"' in payload[:40]:
            raise AssertionError(f"{member.group}: {payload!r}")

    def leave(self) -> None:
        for each in self._members.values():
            each.socket.close()
        self._ready.close()


def _frame(kind: int, payload: bytes) -> bytes:
    """Masked, as clients must; a mask of zeros leaves it as it is."""
    size = len(payload)
    length = bytes([128 | size]) if size < 126 else bytes([128 | 126]) + size.to_bytes(2, "big")
    return bytes([128 | kind]) + length + bytes(4) + payload


def _frames(unread: bytearray) -> Iterator[tuple[int, bytes]]:
    """The whole frames at its beginning, which are taken out of it. Nobody sends fragments here."""
    while len(unread) >= 2:
        size, head = unread[1] & 127, 2
        if size > 125:
            head = 4 if size == 126 else 10
            size = int.from_bytes(unread[2:head], "big")
        if len(unread) < head + size:
            return
        kind, payload = unread[0] & 15, bytes(unread[head : head + size])
        del unread[: head + size]
        yield kind, payload
