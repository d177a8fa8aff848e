"""Everything at once on one machine: the API, two record systems, an identity provider, and people to be."""

import asyncio
import shlex
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from api.bootstrap import build_app, import_seed, migrate, sandbox_apps
from api.serving import in_threads, listen, port_of, serve_until_told
from api.settings import PREFIX, Settings, SettingsInvalid

SECRET = "demo-only-not-a-secret-0123456789-abcdef"
"""Printed here for everybody to read: good for demonstrations and nothing else."""

FIRST_QUERY = "{ clinics { nodes { name area { name } address { city } } } }"


SURROUNDINGS = ("demo_ehr_no_port", "demo_ehr_se_port", "demo_oidc_port")
"""The settings that say where everything beside the API listens, always on loopback."""


def demo_defaults(environment: Mapping[str, str]) -> dict[str, object]:
    """What `demo` sets where the environment says nothing."""
    kept = environment.get(f"{PREFIX}DEMO_DIR") or ".demo"
    return {
        "secret": SECRET,
        "oidc_issuer": _issuer(environment.get(f"{PREFIX}DEMO_OIDC_PORT") or 8003),
        "oidc_client_secret": "demo-only-not-a-secret",
        "oidc_app_clients": "itb-app",
        "synthetic_people": True,
        "database_url": f"sqlite:///{kept}/itb.db",
        "seed": str(Path(__file__).parents[1] / "integrations" / "sandbox" / "demo.toml"),
        "log_level": "warning",
    }


def _issuer(port: object) -> str:
    return f"http://127.0.0.1:{port}"


def demo(settings: Settings) -> None:
    """Migrate, seed, serve; Ctrl-C stops it all, and the next start finds everything as it was."""
    listener = listen(settings.host, settings.port)
    around = {name: listen("127.0.0.1", getattr(settings, name), PREFIX + name.upper()) for name in SURROUNDINGS}
    settings = _with_real_ports(settings, listener, around)
    settings.check_public_url()
    try:
        Path(settings.demo_dir).mkdir(parents=True, exist_ok=True)
    except OSError as why:
        raise SettingsInvalid(f"{PREFIX}DEMO_DIR: cannot make {settings.demo_dir}: {why.strerror}") from why
    migrate(settings)
    with in_threads(sandbox_apps(settings), {port_of(each): each for each in around.values()}):
        asyncio.run(_run(settings, listener))


def _with_real_ports(settings: Settings, listener: socket.socket, around: Mapping[str, socket.socket]) -> Settings:
    """Port 0 takes a free one; addresses are made of what it turned out to be."""
    ports: dict[str, Any] = {name: port_of(each) for name, each in around.items()}
    ours = settings.oidc_issuer == _issuer(settings.demo_oidc_port)
    issuer = _issuer(ports["demo_oidc_port"]) if ours else settings.oidc_issuer
    return replace(settings, port=port_of(listener), oidc_issuer=issuer, **ports)


async def _run(settings: Settings, listener: socket.socket) -> None:
    silent = await import_seed(settings, places(settings))
    if silent:
        raise SettingsInvalid(f"no answer from the sandbox: {', '.join(silent)}")
    app = await build_app(settings)
    await serve_until_told(app, settings.log_level, listener, welcome(settings))


def places(settings: Settings) -> dict[str, str]:
    """Where the seed file's endpoints are."""
    return {
        "EHR_NO": f"http://127.0.0.1:{settings.demo_ehr_no_port}",
        "EHR_SE": f"http://127.0.0.1:{settings.demo_ehr_se_port}",
    }


def welcome(settings: Settings) -> str:
    where, api = places(settings), settings.base_url
    login = f"{api}/login/bankid-no?returnTo={quote(api + '/', safe='')}"
    return f"""
  API                {api}/graphql
  EHR, Norway        {where["EHR_NO"]}  (IHE $find and $book)
  EHR, Sweden        {where["EHR_SE"]}  (plain FHIR R4)
  Identity provider  {settings.oidc_issuer}

  A first query:
    curl -s {api}/graphql -H 'Content-Type: application/json' \\
      -d '{{"query":"{FIRST_QUERY}"}}'

  A demo login in the browser (or add &login_hint=kari to skip the page):
    {login}

  Commands beside it, such as `.venv/bin/python -m api key list nordhelse`, need in their shell:
    {_exports(settings)}

  The whole journey by curl is in README.md. Stop with Ctrl-C; what was booked is kept in {settings.demo_dir}/.
"""


def _exports(settings: Settings) -> str:
    """A secret of somebody's own is not printed, nor an address that may have a password in it."""
    database = settings.database_url
    said = {
        "SECRET": SECRET if settings.secret == SECRET else "...",
        "OIDC_ISSUER": settings.oidc_issuer,
        "DATABASE_URL": database if database.startswith("sqlite:") else "...",
        "SYNTHETIC_PEOPLE": "true",
    }
    return "export " + " ".join(f"{PREFIX}{name}={shlex.quote(value)}" for name, value in said.items())
