"""`python -m api VERB`, as docs/operations.md lists them: settings come from the environment."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

from api.audit import USAGE as AUDIT_USAGE
from api.audit import asked_of
from api.bootstrap import (
    EXPECTED,
    build_app,
    forget_keys,
    import_seed,
    migrate,
    order_key,
    retry_job,
    seal,
    tell_audit,
    tell_jobs,
    work,
)
from api.demo import demo, demo_defaults
from api.keys import USAGE as KEY_USAGE
from api.keys import read_order
from api.logs import configure_logs
from api.orders import OrderUnclear
from api.schema.schema import schema
from api.scrubbing import scrubbed
from api.serving import PortBusy, authority, listen, port_of, serve_until_told
from api.settings import Settings, SettingsInvalid, read_settings

COULD_NOT = 2
"""The exit code when something outside this program must be put right first."""

INTERRUPTED, BROKEN_PIPE = 130, 141
"""What a shell expects of work that Ctrl-C has cut short."""


def serve(settings: Settings) -> None:
    listener = listen(settings.host, settings.port)
    settings = replace(settings, port=port_of(listener))
    settings.check_public_url()

    async def run() -> None:
        app = await build_app(settings)
        say = f"serving on http://{authority(settings.host, settings.port)}/graphql"
        await serve_until_told(app, settings.log_level, listener, say)

    asyncio.run(run())


def worker(settings: Settings) -> None:
    say = f"looking into open questions every {settings.check_interval:g} s"
    asyncio.run(work(settings, lambda: print(say, flush=True)))  # noqa: T201


def import_(settings: Settings) -> None:
    if not settings.seed:
        raise SettingsInvalid("ITB_SEED: must name the seed file to import")
    if silent := asyncio.run(import_seed(settings, os.environ)):
        raise SettingsInvalid(f"not imported: {'; '.join(f'{endpoint}: {why}' for endpoint, why in silent.items())}")


def jobs(settings: Settings, order: str = "", id: str = "") -> None:
    """Without an order, tell of them; `retry` one that was given up."""
    if order:
        asyncio.run(retry_job(settings, UUID(id)))
    else:
        print("\n".join(asyncio.run(tell_jobs(settings))))  # noqa: T201


def seal_(settings: Settings, order: str, tenant_id: str = "", *yes: str) -> None:
    if order == "forget":
        print(asyncio.run(forget_keys(settings, tenant_id, (lambda _: True) if yes else _is_meant)))  # noqa: T201
    else:
        asyncio.run(seal(settings, order, tenant_id, lambda said: print(said, flush=True)))  # noqa: T201


def _is_meant(slug: str) -> bool:
    print("Its people will be gone for ever. The tenant's slug, once more: ", end="", flush=True)  # noqa: T201
    return sys.stdin.readline().strip() == slug


def audit(settings: Settings, *order: str) -> None:
    """One line for each event, so that a log keeper can take in one after the other."""
    asyncio.run(tell_audit(settings, asked_of(order), lambda line: print(line)))  # noqa: T201


def key(settings: Settings, *order: str) -> None:
    """Agencies' API keys; a new one is shown here, and nowhere else again."""
    print("\n".join(asyncio.run(order_key(settings, read_order(order)))))  # noqa: T201


VERBS: Mapping[str, Callable[..., None]] = {
    "demo": demo,
    "serve": serve,
    "worker": worker,
    "migrate": migrate,
    "import": import_,
    "jobs": jobs,
    "seal": seal_,
    "audit": audit,
    "key": key,
}
USAGE = (
    "demo | serve | worker | migrate | import | schema | jobs [retry ID] | "
    f"seal rotate|rewrap [TENANT] | seal forget TENANT [--yes] | {AUDIT_USAGE} | {KEY_USAGE}"
)
STAY = ("demo", "serve", "worker")
"""These run until they are told to stop; to be told so is no failure."""


def main(arguments: list[str]) -> int:
    verb, *order = arguments or [""]
    # Supervisors stop with SIGTERM what a keyboard stops with SIGINT; process 1 of a container would not even notice.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        if arguments == ["schema"]:
            print(schema.as_str(), flush=True)  # noqa: T201
            return 0
        if verb not in VERBS or not _is_known(verb, order):
            return _could_not(f"usage: python -m api {USAGE}")
        settings = read_settings(os.environ, **(demo_defaults(os.environ) if verb == "demo" else {}))
        _log(settings, verb)
        VERBS[verb](settings, *order)
        sys.stdout.flush()
    except (SettingsInvalid, PortBusy, OrderUnclear, *EXPECTED) as problem:
        return _could_not(str(problem))
    except KeyboardInterrupt:
        return 0 if verb in STAY else INTERRUPTED
    except BrokenPipeError:  # whoever reads has enough, as `head` does; Python would flush once more, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return 0


def _is_known(verb: str, order: Sequence[str]) -> bool:
    """Jobs take an order, `retry` and an id; sealing needs one, and may be told whose; the audit trail, which part.

    Raises `OrderUnclear`.
    """
    if verb == "key":
        return True  # it tells by itself what is wrong with an order
    if verb == "seal":
        forgets = len(order) >= 2 and order[0] == "forget" and order[2:] in ([], ["--yes"])
        return forgets or (0 < len(order) <= 2 and order[0] in ("rotate", "rewrap"))
    if verb == "audit":
        return bool(asked_of(order))
    if not order:
        return True
    with suppress(ValueError):
        return verb == "jobs" and len(order) == 2 and order[0] == "retry" and bool(UUID(order[1]))
    return False


def _log(settings: Settings, verb: str) -> None:
    configure_logs(settings.log_level, settings.log_format)
    if verb == "migrate":  # else Alembic tells at every look whether the database is ready what dialect it speaks
        logging.getLogger("alembic").setLevel(logging.NOTSET)


def _could_not(message: str) -> int:
    with suppress(OSError):
        print(scrubbed(f"itb: {' '.join(message.split())}"), file=sys.stderr)  # noqa: T201
    return COULD_NOT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
