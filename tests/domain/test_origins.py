"""Origins as they are listed, compared with what browsers send."""

import pytest

from domain.origins import origin_of


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://booking.example", "https://booking.example"),
        ("HTTPS://Booking.Example:443/", "https://booking.example"),
        ("https://booking.example:8443", "https://booking.example:8443"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(written: str, origin: str) -> None:
    assert origin_of(written) == origin
    assert origin_of(origin) == origin


@pytest.mark.parametrize(
    "written",
    [
        *(
            "",
            "null",
            "*",
            "booking.example",
            "ftp://booking.example",
            "https://",
            "https://[::1",
            "https://a b.example",
        ),
        *("https://*.booking.example", "https://me@booking.example", "https://bøking.example"),
        *("https://booking.example:port", "https://booking.example:99999", "https://booking.example/path"),
        *("https://booking.example?a=b", "https://booking.example#a", "http://booking.example"),
    ],
)
def test_what_is_no_single_origin_is_refused_and_not_repeated(written: str) -> None:
    with pytest.raises(ValueError, match=r"^an origin is (one host's, such as https://booking\.example|https out)"):
        origin_of(written)
