"""The demo provider's few pages: who to be, signed out, and what was wrong with the request."""

from collections.abc import Iterable, Mapping
from html import escape

from starlette.responses import HTMLResponse

from integrations.sandbox.people import Person

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1.125rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 2rem auto; padding: 0 1rem; }}
ul {{ list-style: none; padding: 0; }}
button {{ font: inherit; width: 100%; text-align: left; padding: .75rem 1rem; margin: .25rem 0; cursor: pointer; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
}


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(PAGE.format(title=escape(title), body=body), status, HEADERS)


def choose_person(request: Mapping[str, str], people: Iterable[Person]) -> HTMLResponse:
    """A button a person; choosing one repeats the authorization request with `login_hint`."""
    hidden = "\n".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in request.items()
        if name != "login_hint"
    )
    buttons = "\n".join(_button(person) for person in people)
    return _page(
        "Demo login",
        "<p>Nobody here is real, and no password is asked for. Choose who to be.</p>\n"
        f'<form method="get">\n{hidden}\n<ul>\n{buttons}\n</ul>\n</form>',
    )


def _button(person: Person) -> str:
    about = f"{person.country}, born {person.birth_date}" + ("" if person.number else ", without a national number")
    return (
        f'<li><button name="login_hint" value="{escape(person.login)}">'
        f'<strong lang="{escape(person.locale)}">{escape(person.name)}</strong> ({escape(about)})</button></li>'
    )


def signed_out() -> HTMLResponse:
    return _page("Signed out", "<p>You are signed out of the demo provider.</p>")


def bad_request(reason: str) -> HTMLResponse:
    """For requests whose redirect address cannot be trusted: nothing is sent there."""
    return _page("This login cannot go on", f"<p>{escape(reason)}</p>", 400)
