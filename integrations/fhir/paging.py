"""Following a Bundle's `next` links, never away from the server and never for ever."""

from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from domain.ports import EhrUnavailable
from integrations.fhir.client import FhirClient, under
from integrations.fhir.wire import Bundle, R, Unreadable, bundle, complaints, issues, within

MOST_PAGES = 50


async def pages(client: FhirClient, path: str, params: Mapping[str, Any], *, person: str = "") -> AsyncIterator[Bundle]:
    """Page after page. Raises `FhirFailure`, `Unreadable` or `EhrUnavailable`, at times after some good pages.

    `person` is the parameter that names one, and is in no address then, unless the server knows no other way.
    """
    page = bundle(await (client.search_bytes if person else client.read_bytes)(path, params))
    visited: set[str] = set()
    while True:
        yield page
        if page.next is None:
            return
        following = _address(client.url, path, page.next)
        if following in visited or len(visited) + 1 >= MOST_PAGES:
            raise EhrUnavailable(f"no end to the pages of {path}")
        visited.add(following)
        page = bundle(await _following(client, path, following, person))


async def _following(client: FhirClient, path: str, link: str, person: str) -> bytes:
    """A link is followed as it is, but for one that has a person in it."""
    asked = parse_qs(urlsplit(link).query, keep_blank_values=True)
    if person in asked and under(client.url, link):
        return await client.search_bytes(path, asked)
    return await client.read_bytes(link)


async def every(
    client: FhirClient, path: str, params: Mapping[str, Any], kind: type[R], *, person: str = ""
) -> AsyncIterator[R]:
    """Every readable resource of that type; says at the end that some could not be read or were left out."""
    trouble: EhrUnavailable | None = None
    async for page in pages(client, path, params, person=person):
        own = list(within(page, kind))
        for resource in own:
            if isinstance(resource, Unreadable):
                trouble = EhrUnavailable(str(resource))
            else:
                yield resource
        has_others = len(own) < len(page.entry) or page.issue
        if has_others and (told := complaints(issues(page))):
            trouble = EhrUnavailable(f"an answer with complaints: {sorted({issue.code for issue in told})}")
    if trouble:
        raise trouble


def _address(base: str, path: str, link: str) -> str:
    """A relative link is relative to the server's base, but for a bare query, which is for the same path."""
    if urlsplit(link).scheme or link.startswith("//"):
        return link if not link.startswith("//") else f"{urlsplit(base).scheme}:{link}"
    if link.startswith("?"):
        return f"{base}/{path}{link}"
    root = urlsplit(base).path.rstrip("/") + "/"
    return f"{base}/{link.removeprefix(root).lstrip('/')}"
