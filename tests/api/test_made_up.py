"""Documents that a machine makes up from the schema: whatever they ask and bring, the answer is a documented one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from graphql import StringValueNode, ValueNode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.app import create_app
from api.bootstrap import open_house
from tests.api.test_bad_input import codes_in
from tests.living import BY_SCRIPT, Town, sign_in
from tests.transports.small import served

SDL = Path(__file__).parents[2] / "schema.graphql"
EACH = 12
"""Documents for each field of Query and Mutation."""

WRITTEN = {
    "DateTime": ["2026-03-02T09:30:00+01:00", "2999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"],
    "LocalDate": ["2026-03-02", "9999-12-31", "2024-02-29"],
    "LocalTime": ["09:30:00", "00:00:00"],
    "Duration": ["PT30M", "P1D"],
    "Decimal": ["450.50", "-0", "1e400"],
    "CurrencyCode": ["NOK", "SEK"],
    "LanguageTag": ["nb", "en-GB"],
    "PhoneNumber": ["+4799900001", "+460"],
    "TimeZone": ["Europe/Oslo", "UTC"],
    "URL": ["https://booking.example/a?b=c", "javascript:alert(1)"],
}
"""Of each scalar some that are well formed; anything else is made up."""


def written(texts: st.SearchStrategy[str]) -> st.SearchStrategy[ValueNode]:
    return texts.map(lambda text: StringValueNode(value=text))


for name, examples in WRITTEN.items():
    schemathesis.graphql.scalar(name, written(st.sampled_from(examples) | st.text(max_size=40)))

OPERATIONS = [found.ok() for found in schemathesis.graphql.from_file(SDL.read_text()).get_all_operations()]


@pytest.fixture
def http(town: Town, sqlite_filled_url: str) -> Iterator[httpx2.Client]:
    house = open_house(town.settings(sqlite_filled_url, holds_per_address=10**6, holds_per_visitor=10**6))
    with (
        served(create_app(house, [])) as (address, _, _),
        httpx2.Client(base_url=f"http://{address}", headers=BY_SCRIPT, timeout=90) as http,
    ):
        yield http


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.label)
@pytest.mark.parametrize("who", ["nobody", "a patient"])
async def test_a_made_up_document_has_a_documented_answer(
    town: Town, http: httpx2.Client, operation: Any, who: str
) -> None:
    if who == "a patient":
        http.headers["Authorization"] = f"Bearer {await sign_in(town, 'kari')}"

    @settings(max_examples=EACH, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy())
    def answered(case: Any) -> None:
        answer = http.post("/graphql", json={"query": case.body})
        codes_in(answer)
        assert ("data" in answer.json()) == (answer.status_code == 200), case.body

    answered()
