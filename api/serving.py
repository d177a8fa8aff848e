"""Listening, and telling in one line when that cannot be done."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import uvicorn


class PortBusy(Exception):
    """Somebody else listens there, or nobody may."""


def listen(host: str, port: int, setting: str = "ITB_PORT") -> socket.socket:
    """Bound before anything is started, so that a busy port is told before work is done. Raises `PortBusy`.

    `setting` is where the port was chosen, for the message.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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


def server(app: Any, log_level: str, patience: int = 5) -> uvicorn.Server:
    """`patience`: seconds that running requests get when it stops."""
    config = uvicorn.Config(
        app,
        log_level=log_level,
        lifespan="on",
        access_log=False,
        timeout_graceful_shutdown=patience,
        server_header=False,
    )
    return uvicorn.Server(config)


@contextmanager
def in_threads(apps: Mapping[int, Any], listeners: Mapping[int, socket.socket]) -> Iterator[None]:
    """Serve apps beside the main thread until the block ends; both mappings are by port."""
    servers = {port: server(app, "error", patience=1) for port, app in apps.items()}
    threads = [
        threading.Thread(target=asyncio.run, args=(servers[port].serve(sockets=[listeners[port]]),), daemon=True)
        for port in apps
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for running in servers.values():
            running.should_exit = True
        for thread in threads:
            thread.join(timeout=5)
