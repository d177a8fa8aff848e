"""What a child that dies has logged is read as everybody's is: no proof may be where somebody is named unseen."""

import asyncio
import logging
from pathlib import Path

import pytest

from tests.planted import PEOPLE, SCAN
from tests.proof.dying import died
from tests.proof.ground import Ground, Place, copied


@pytest.mark.parametrize("after", [1, 1000])
def test_what_a_child_has_logged_is_read_whether_it_was_killed_or_not(
    ground: Ground, sqlite_ground: Path, tmp_path: Path, after: int
) -> None:
    async def work() -> None:
        logging.getLogger("domain").warning("sent to %s", PEOPLE[0].name)
        await asyncio.sleep(0)

    with asyncio.Runner() as runner:
        place = Place(ground, copied(sqlite_ground, tmp_path / "child.db"), runner)
        assert died(place, work, after) == (after == 1)
    [leak] = SCAN.taken()
    assert "in a child" in leak and PEOPLE[0].name in leak
    assert SCAN.taken() == []
