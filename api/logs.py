"""What is written about what happens: every logger's lines in one form, with nobody in them."""

import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from traceback import extract_tb
from types import TracebackType
from typing import Any

import structlog
from structlog.stdlib import ProcessorFormatter

from api.scrubbing import scrub_event, scrubbed

CHATTY = ("aiosqlite", "alembic", "asyncio", "hpack", "httpcore2", "httpx2", "urllib3", "uvicorn.access", "websockets")
"""Packages that write every statement, request or frame into the log, with what is in them."""

FORMS = ("text", "json")

PER_CONNECTION = ('%s - "WebSocket %s" ', "connection ")
"""How the lines begin that uvicorn writes for each WebSocket, the first with the caller's address in it."""


def _without_words(_: object, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Of an exception and what it came from: classes and places. Its text may name anybody, and a name has no pattern.

    The operating system's own words are kept: nobody who reads of an outage should have to guess.
    """
    told = event.pop("exc_info", None)
    lines = list(_places(told[1] if isinstance(told, tuple) else told, set()))
    return {**event, "exception": "\n".join(lines)} if lines else event


def _places(failure: object, seen: set[int], indent: str = "") -> Iterator[str]:
    """Those of a group further in. Each once: causes may go round in a ring."""
    while isinstance(failure, BaseException) and id(failure) not in seen:
        seen.add(id(failure))
        words = f": {failure.strerror}" if isinstance(failure, OSError) and failure.strerror else ""
        yield f"{indent}{type(failure).__module__}.{type(failure).__qualname__}{words}"
        for frame in extract_tb(failure.__traceback__):
            yield f"{indent}  {frame.filename}:{frame.lineno} {frame.name}"
        for each in failure.exceptions if isinstance(failure, BaseExceptionGroup) else ():
            yield from _places(each, seen, f"{indent}    ")
        failure = failure.__cause__ or (None if failure.__suppress_context__ else failure.__context__)


_BEFORE: tuple[Any, ...] = (
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    _without_words,
)


class LogFormatter(ProcessorFormatter):
    """Renders an event, and looks once more over the whole line. `scrub` is only ever off to show that it is needed."""

    def __init__(self, form: str, *, scrub: bool = True) -> None:
        self._scrub: Callable[[str], str] = scrubbed if scrub else lambda text: text
        last: Any = structlog.processors.JSONRenderer(ensure_ascii=False) if form == "json" else _as_text
        clean: list[Any] = [scrub_event] if scrub else []
        super().__init__(
            processors=[ProcessorFormatter.remove_processors_meta, *clean, last],
            foreign_pre_chain=_BEFORE,
            keep_exc_info=False,
            keep_stack_info=False,
        )

    def format(self, record: logging.LogRecord) -> str:
        return self._scrub(super().format(record))


def _as_text(_: object, __: str, event: dict[str, Any]) -> str:
    told = [event.pop(name, "") for name in ("timestamp", "level", "logger", "event")]
    exception = event.pop("exception", "")
    more = [f"{name}={value}" for name, value in sorted(event.items())]
    line = " ".join(str(each) for each in (*told, *more) if each != "").replace("\n", "\\n")
    return f"{line}\n{exception}" if exception else line


def configure_logs(level: str, form: str) -> None:
    """For the whole process: its own loggers, those of packages, warnings, and what nobody has caught."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter(form))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    quieten()
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def quieten() -> None:
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("asyncio").addFilter(_first_line)  # once, however often it is added
    logging.getLogger("uvicorn.error").addFilter(_of_the_server)


def _first_line(record: logging.LogRecord) -> bool:
    """asyncio writes out the task that failed below it, and with the task what its exception says."""
    record.msg = str(record.msg).partition("\n")[0]
    return True


def _of_the_server(record: logging.LogRecord) -> bool:
    """When it starts and stops comes by the same logger as each connection, and as headers and frames for debugging."""
    if record.levelno == logging.INFO:
        return not str(record.msg).startswith(PER_CONNECTION)
    return record.levelno > logging.INFO


def _uncaught(kind: type[BaseException], failure: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("api").critical("ended by what nobody has caught", exc_info=(kind, failure, trace))


def _uncaught_in_thread(failed: threading.ExceptHookArgs) -> None:
    """SQLite's driver reports from a thread; after a file that cannot be opened, its loop may be gone by then."""
    if failed.exc_value and str(failed.exc_value) != "Event loop is closed":
        _uncaught(failed.exc_type, failed.exc_value, failed.exc_traceback)
