"""One ground for each test process, and a database filled once."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import databases
from tests.proof.ground import Ground, Place, copied, fill, prepared


@pytest.fixture(scope="session")
def whole_ground() -> Iterator[Ground]:
    yield from prepared()


@pytest.fixture
def ground(whole_ground: Ground) -> Ground:
    whole_ground.reset()
    return whole_ground


@pytest.fixture(scope="session")
def sqlite_ground(whole_ground: Ground, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("proof") / "filled.db"
    shutil.copyfile(sqlite_template, path)
    databases._apart(fill(whole_ground, f"sqlite:///{path}"))
    return path


@pytest.fixture
def place(ground: Ground, sqlite_ground: Path, tmp_path: Path) -> Iterator[Place]:
    """One process of ours, for tests that are no coroutines: `place.run` is how they wait."""
    with asyncio.Runner() as runner:
        place = Place(ground, copied(sqlite_ground, tmp_path / "place.db"), runner)
        place.open()
        place.run(place.know())
        yield place
        place.close()


@pytest.fixture(scope="session")
def postgres_ground(request: pytest.FixtureRequest, whole_ground: Ground, postgres_template: str) -> Iterator[str]:
    """The name of a filled database, to be copied."""
    with contextmanager(databases._postgres_copy)(request, postgres_template) as url:
        databases._apart(fill(whole_ground, url))
        yield url.rpartition("/")[2]
