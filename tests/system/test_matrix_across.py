"""What is Kari's, asked for by others with all that names it: ids, tokens, cursors and idempotency keys.

Those of `test_matrix` are of Kari's tenant or nobody, and at another's they are refused at the door. Here a patient and
an agency of the other tenant ask as well, at hers and at their own, where only the tenant is between them and her.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.settings import Settings
from domain.client import Scope
from tests.agencies import minted
from tests.api.test_login import house
from tests.api.test_logout import session_of
from tests.living import OTHER, Client, Town, over_http, serving, sign_in
from tests.system.journey import Journey, apart, key
from tests.system.test_matrix import ASKED, CLINIC, OWN, Answer, Caller, Scene, _first_event, _untouched, patient
from tests.transports.talking import talking

THEIR_HOST = "annan.example"
BOOKS = "{ booking { reference } errors { code } } }"
HOLDS = "{ hold { token } errors { code } } }"

NAMED = {
    "Query.availability for her move": "{ availability(search: %(moving)s) { complete } }",
    "Query.viewer from her cursor": "{ viewer { bookings(first: 5, after: %(page)s) { nodes { reference } } } }",
    "Mutation.holdSlot for her move": "mutation { holdSlot(input: {idempotencyKey: %(key)s, slotId: %(free)s, "
    "movingBookingId: %(booking)s}) " + HOLDS,
    "Mutation.holdSlot for her hold": "mutation { holdSlot(input: {idempotencyKey: %(key)s, slotId: %(free)s, "
    "holdToken: %(held)s}) " + HOLDS,
    "Mutation.holdSlot by her key": "mutation { holdSlot(input: {idempotencyKey: %(hold_key)s, slotId: %(taken)s}) "
    + HOLDS,
    "Mutation.confirmBooking by her key": "mutation { confirmBooking(input: {idempotencyKey: %(confirm_key)s, "
    "holdToken: %(confirmed)s, acceptedTermsVersion: %(terms)s, smsConfirmation: false}) " + BOOKS,
    "Mutation.requestDataExport by her key": "mutation { requestDataExport(input: {idempotencyKey: %(export_key)s}) "
    "{ downloadUrl errors { code } } }",
    "Subscription.slotChanges for her move": "subscription { slotChanges(search: %(moving)s) { resync } }",
    "Subscription.bookingChanges from her cursor": "subscription { bookingChanges(after: %(heard)s) "
    "{ resync booking { reference } } }",
}
"""More ways to name what is Kari's."""

HERS_ALONE = {"Mutation.holdSlot for her move", "Mutation.holdSlot for her hold"}
"""What would change something, were it Kari who asks."""

LAST = ("Mutation.signOut", "Mutation.eraseMyData")
ROOTS = (*sorted(({**ASKED, **NAMED}).keys() - set(LAST)), *LAST)

ELSEWHERE = "not the id of a slot of this tenant"
TOLD = {
    "Query.node": ('"node":null',),
    "Query.nodes": ('"nodes":[null]',),
    "Query.hold": ('"hold":null',),
    "Query.availability for her move": ("BAD_USER_INPUT",),
    "Query.viewer from her cursor": ("BAD_USER_INPUT",),
    "Mutation.holdSlot for her move": ("NOT_FOUND", ELSEWHERE),
    "Mutation.holdSlot for her hold": ("HOLD_NOT_FOUND", ELSEWHERE),
    "Mutation.holdSlot by her key": ("SLOT_TAKEN", ELSEWHERE),
    "Mutation.releaseHold": ("HOLD_NOT_FOUND",),
    "Mutation.confirmBooking": ("HOLD_NOT_FOUND",),
    "Mutation.confirmBooking by her key": ("HOLD_NOT_FOUND",),
    "Mutation.rescheduleBooking": ("NOT_FOUND",),
    "Mutation.cancelBooking": ("NOT_FOUND",),
    "Mutation.requestDataExport by her key": ("/exports/",),
    "Subscription.slotChanges for her move": ("BAD_USER_INPUT",),
    "Subscription.bookingChanges from her cursor": ("BAD_USER_INPUT",),
}
"""What a patient is told, at either tenant, who is let in and names what is Kari's. The export is their own."""

AT_THE_DOOR = {"UNAUTHENTICATED", "FORBIDDEN", "4401", "4403"}


@dataclass(frozen=True)
class Guest:
    """`session` is a cookie's, which no other tenant's host takes."""

    caller: Caller
    home: str
    session: str | None = None

    def is_let_in(self, tenant: str) -> bool:
        return tenant == self.home or not (self.caller.shown or self.session)

    def is_patient(self, tenant: str) -> bool:
        """By one of our own frontends, which may ask for everything: nothing but whose it is keeps it from them."""
        return tenant == self.home and self.caller.is_patient and self.caller.scopes is None


@dataclass(frozen=True)
class Everything(Scene):
    def document(self, root: str) -> str:
        return {**ASKED, **NAMED}[root] % {**self.known, "key": json.dumps(key())}


async def test_what_is_named_by_anybody_is_its_own_patients_alone(
    town: Town, sqlite_filled_url: str, tmp_path: Path
) -> None:
    settings = town.settings(sqlite_filled_url)
    kari = await patient(town, "kari")
    with serving(settings, tmp_path / "stderr") as url:
        async with over_http(url) as client:
            scene, others = await _everything(client, url, kari), await guests(town, settings, client)
            rows = (_cells(client, scene, guest, tenant) for guest in others for tenant in (OWN, OTHER))
            wrong = [cell for row in await asyncio.gather(*rows) for cell in row]
            wrong += [] if await _untouched(client, scene, kari) else ["somebody else changed what is Kari's"]
            wrong += [cell async for cell in _hidden_from(client, scene, Guest(kari, OWN))]
    assert not wrong, "\n".join(wrong)


async def guests(town: Town, settings: Settings, client: Client) -> Sequence[Guest]:
    every = frozenset(Scope)
    theirs, ours = [(await minted(settings, tenant_id=each, scopes=every)).text for each in (OTHER, OWN)]
    issued = await client.http.post(f"/{OWN}/1.0/R4/auth/system-token", headers={"X-ApiKey": ours})
    async with house(town, settings.database_url) as (browser, _):
        session = await session_of(browser, "ailu")
    ola, ailu = [{"Authorization": f"Bearer {await sign_in(town, login, OTHER)}"} for login in ("ola", "ailu")]
    system = {"Authorization": f"Bearer {issued.json()['access_token']}"}
    return (
        Guest(Caller("their patient", ola, is_patient=True), OTHER),
        Guest(Caller("their agency", {"X-ApiKey": theirs}, scopes=every), OTHER),
        Guest(Caller("their agency with ailu", {"X-ApiKey": theirs, **ailu}, is_patient=True, scopes=every), OTHER),
        Guest(Caller("a system token", system, scopes=every), OWN),
        Guest(Caller("ailu by session", is_patient=True), OWN, session),
        Guest(Caller("anonymous"), OWN),
    )


async def _everything(client: Client, url: str, kari: Caller) -> Everything:
    journey = Journey(client, CLINIC, token=kari.shown["Authorization"].partition(" ")[2])
    first, second, third = apart(await journey.slots(), 3)
    known = {"hold_key": key(), "confirm_key": key(), "export_key": key(), "taken": second["id"], "free": third["id"]}
    known["confirmed"] = (await journey.hold(first["id"]))["hold"]["token"]
    sent = {"idempotencyKey": known["confirm_key"], "smsConfirmation": False}
    booking = (await journey.confirm(known["confirmed"], **sent))["booking"]
    known["booking"] = booking["id"]
    known["held"] = (await journey.hold(second["id"], idempotencyKey=known["hold_key"]))["hold"]["token"]
    export = "mutation($key: ID!) { requestDataExport(input: {idempotencyKey: $key}) { downloadUrl } }"
    exported = await client(export, journey.token, key=known["export_key"])
    page = "{ tenant { termsVersion } viewer { bookings(first: 1) { pageInfo { endCursor } } } }"
    seen = await client(page, journey.token)
    known |= {"terms": seen["tenant"]["termsVersion"], "page": seen["viewer"]["bookings"]["pageInfo"]["endCursor"]}
    async with talking(_socket(url)) as talk:
        await talk.begin(**kari.shown)
        await talk.ask("a", "subscription { bookingChanges { cursor } }")
        known["heard"] = (await talk.hear())["payload"]["data"]["bookingChanges"]["cursor"]
    told = {name: json.dumps(value) for name, value in known.items()}
    told |= {"search": _words(await journey.search(days=6))}
    told |= {"moving": _words(await journey.search(days=6, movingBookingId=known["booking"]))}
    secrets = (booking["reference"], second["start"], "Kari Testesen", known["held"])
    return Everything(url, told, (*secrets, exported["requestDataExport"]["downloadUrl"]))


def _words(search: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{name}: {json.dumps(value)}" for name, value in search.items()) + "}"


async def _cells(client: Client, scene: Scene, guest: Guest, tenant: str) -> list[str]:
    found = []
    for root in ROOTS:
        answer = await _ask(client, scene, root, guest, tenant)
        cell = f"{root} as {guest.caller.name} at {tenant}: {answer.refused} {answer.text[:300]}"
        found += [f"{cell} {why}" for why in _faults(root, scene, guest, tenant, answer)]
    return found


def _faults(root: str, scene: Scene, guest: Guest, tenant: str, answer: Answer) -> Iterator[str]:
    if any(secret in answer.text for secret in scene.secrets):
        yield "shows what is Kari's"
    if not guest.is_let_in(tenant):
        if answer.refused not in AT_THE_DOOR:
            yield "is let in"
    elif root == "Query.tenant" and f'"slug":"{tenant}"' not in answer.text:
        yield "is not let in"
    elif root in TOLD:
        if not _is_barred(guest, tenant, answer) and not any(words in answer.text for words in TOLD[root]):
            yield "is answered"
    elif guest.is_patient(tenant) and root not in LAST and answer.refused not in (None, "BAD_USER_INPUT"):
        yield "is refused"


def _is_barred(guest: Guest, tenant: str, answer: Answer) -> bool:
    """Before it came to whose it is: an agency by its scopes, and whoever is no patient there."""
    if guest.caller.scopes is not None and answer.refused == "FORBIDDEN":
        return True
    is_nobody = not (guest.caller.is_patient and tenant == guest.home)
    return is_nobody and (answer.refused == "UNAUTHENTICATED" or '"viewer":null' in answer.text)


async def _hidden_from(client: Client, scene: Scene, kari: Guest) -> Any:
    """Where she is told what everybody else is: then it was not hers that was named."""
    for root in NAMED.keys() - HERS_ALONE:
        answer = await _ask(client, scene, root, kari, OWN)
        if answer.refused or (root.startswith("Mutation") and not any(each in answer.text for each in scene.secrets)):
            yield f"{root} as Kari: {answer.refused} {answer.text[:300]}"


async def _ask(client: Client, scene: Scene, root: str, guest: Guest, tenant: str) -> Answer:
    """By the tenant's own host where it has one, which keys want; a page there says no other."""
    place = {"X-Tenant": OWN} if tenant == OWN else {}
    cookie = {"Cookie": f"sid={guest.session}"} if guest.session else {}
    if root.startswith("Subscription"):
        url = _socket(scene.url if tenant == OWN else scene.url.replace("127.0.0.1", THEIR_HOST))
        async with talking(url, host="127.0.0.1", additional_headers=cookie) as talk:
            return await _first_event(talk, scene.document(root), {**guest.caller.shown, **place})
    headers = {**guest.caller.shown, **place, **cookie, **({} if tenant == OWN else {"Host": THEIR_HOST})}
    answer = await client.http.post("/graphql", json={"query": scene.document(root)}, headers=headers)
    errors = answer.json().get("errors")
    return Answer(errors[0]["extensions"]["code"] if errors else None, answer.text)


def _socket(url: str) -> str:
    return f"ws{url.removeprefix('http')}/graphql"
