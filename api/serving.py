"""Listening, and telling in one line when that cannot be done."""

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import uvicorn

MOST_MESSAGE_BYTES = 256 * 1024
"""Of what comes in over a WebSocket, as of a request's body."""

UNREAD_SECONDS = 30
"""Until the kernel drops a connection whose other end takes nothing: closing it would wait for what is unsent."""


class PortBusy(Exception):
    """Somebody else listens there, or nobody may."""


def listen(host: str, port: int, setting: str = "ITB_PORT") -> socket.socket:
    """Bound before anything is started, so that a busy port is told before work is done. Raises `PortBusy`.

    `setting` is where the port was chosen, for the message.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; what is accepted from the listener inherits it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as failure:
        listener.close()
        reason = f"cannot listen on {authority(host, port)}: {failure.strerror or failure}"
        raise PortBusy(f"{reason} ({setting})") from failure
    return listener


def port_of(listener: socket.socket) -> int:
    """The port it really has, also where a free one was asked for."""
    return int(listener.getsockname()[1])


def authority(host: str, port: int) -> str:
    """`host:port` as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Server(uvicorn.Server):
    """Leaves signals to whoever runs it: uvicorn's own way forgets to close the application when told to stop early."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: Any = None) -> None:
        """Streams end first: to the server they are requests that never finish."""
        if stop_streams := getattr(getattr(self.config.app, "state", None), "stop_streams", None):
            stop_streams()
        await super().shutdown(sockets)

    def stop(self) -> None:
        """Once: let running requests finish. Again: do not wait for them."""
        self.force_exit = self.should_exit
        self.should_exit = True


def server(app: Any, log_level: str, patience: int = 5) -> Server:
    """`patience`: seconds that running requests get when it stops."""
    config = uvicorn.Config(
        app,
        log_level=log_level,
        log_config=None,  # what uvicorn says goes where everything goes, and is scrubbed there
        lifespan="on",
        access_log=False,
        timeout_graceful_shutdown=patience,
        server_header=False,
        proxy_headers=False,  # uvicorn would believe any proxy of this machine; `limits` believes listed ones
        ws="websockets-sansio",
        ws_max_size=MOST_MESSAGE_BYTES,
        # deflating costs a window of memory for each socket, and time for each message that goes to thousands of them
        ws_per_message_deflate=False,
    )
    return Server(config)


async def serve_until_told(app: Any, log_level: str, listener: socket.socket, say: str) -> None:
    """`say` is printed when requests are answered; SIGINT or SIGTERM end it, also before that."""
    running, told = server(app, log_level), asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, lambda: running.stop() if told.is_set() else told.set())
    serving = asyncio.create_task(running.serve(sockets=[listener]))
    while not running.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event to wait for
        await asyncio.sleep(0.01)
    if not running.started:
        raise RuntimeError("the application did not start")
    print(say, flush=True)  # noqa: T201
    waiting = asyncio.create_task(told.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    running.stop()
    await serving


@contextmanager
def in_threads(apps: Mapping[int, Any], listeners: Mapping[int, socket.socket]) -> Iterator[None]:
    """Serve apps beside the main thread until the block ends; both mappings are by port."""
    threads = {
        running: threading.Thread(target=asyncio.run, args=(running.serve(sockets=[listeners[port]]),), daemon=True)
        for port, running in ((port, server(app, "error", patience=1)) for port, app in apps.items())
    }
    for thread in threads.values():
        thread.start()
    try:
        yield
    finally:
        for running, thread in threads.items():
            _stop(running, thread)


def _stop(running: Server, thread: threading.Thread) -> None:
    while not running.started and thread.is_alive():
        time.sleep(0.01)
    running.stop()
    thread.join(timeout=5)
