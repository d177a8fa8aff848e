"""What the database refuses is told without the values, which are people's."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError


async def test_a_statement_that_fails_shows_no_values(engine):
    with pytest.raises(DBAPIError) as why:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT nothing_such(:name)"), {"name": "Kari Testesen"})
    assert "Kari" not in str(why.value) and "nothing_such" in str(why.value)
