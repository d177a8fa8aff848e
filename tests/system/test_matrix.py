"""Who may do what: every root field of the schema, for everybody who could ask, at their own tenant and at another's.

The rows come from the schema itself and what is expected of them from the rules it prints, so that a new field has to
be put into `ASKED` before this is green again. What of Kari's is shown to whom does not depend on what is printed.
"""

import asyncio
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed

from api.schema.schema import schema
from api.schema.viewer import Viewer
from api.settings import Settings
from domain.client import Scope
from tests.agencies import minted
from tests.living import OTHER, Client, Town, over_http, serving, sign_in
from tests.system.journey import Journey, apart, key
from tests.transports.talking import Talk, talking

CLINIC = "sentrum-legesenter"
OWN = "nordhelse"
PATIENCE = 1.0
"""Seconds for a second event of a subscription, which whoever has no bookings never gets."""

ROOTS = {"Query": schema.query, "Viewer": Viewer, "Subscription": schema.subscription, "Mutation": schema.mutation}

ASKED = {
    "Query.node": "{ node(id: %(booking)s) { id ... on Booking { reference start } } }",
    "Query.nodes": "{ nodes(ids: [%(booking)s]) { id ... on Booking { reference start } } }",
    "Query.tenant": "{ tenant { slug } }",
    "Query.areas": "{ areas { name } }",
    "Query.clinics": "{ clinics(first: 1) { nodes { slug } } }",
    "Query.clinic": '{ clinic(slug: "sentrum-legesenter") { name } }',
    "Query.treatments": "{ treatments(first: 1) { nodes { code } } }",
    "Query.treatment": '{ treatment(code: "skin-check") { title } }',
    "Query.practitioners": "{ practitioners(first: 1) { nodes { id } } }",
    "Query.offers": "{ offers(first: 1) { nodes { id } } }",
    "Query.availability": "{ availability(search: %(search)s) { complete } }",
    "Query.hold": "{ hold(token: %(held)s) { slot { start } } }",
    "Query.viewer": "{ viewer { id sessionExpiresAt } }",
    "Viewer.patient": "{ viewer { patient { name birthDate maskedNationalNumber maskedPhone email } } }",
    "Viewer.bookings": "{ viewer { bookings(first: 50) { nodes { reference } } } }",
    "Viewer.consents": "{ viewer { consents { kind given } } }",
    "Mutation.holdSlot": "mutation { holdSlot(input: {idempotencyKey: %(key)s, slotId: %(free)s}) "
    "{ hold { token } errors { code } } }",
    "Mutation.releaseHold": "mutation { releaseHold(input: {token: %(held)s}) { errors { code } } }",
    "Mutation.confirmBooking": "mutation { confirmBooking(input: {idempotencyKey: %(key)s, holdToken: %(held)s, "
    "acceptedTermsVersion: %(terms)s, smsConfirmation: false}) { booking { reference } errors { code } } }",
    "Mutation.rescheduleBooking": "mutation { rescheduleBooking(input: {idempotencyKey: %(key)s, "
    "bookingId: %(booking)s, expectedVersion: 3, holdToken: %(held)s}) { booking { reference } errors { code } } }",
    "Mutation.cancelBooking": "mutation { cancelBooking(input: {idempotencyKey: %(key)s, bookingId: %(booking)s, "
    "expectedVersion: 3}) { booking { reference } errors { code } } }",
    "Mutation.updateContactDetails": 'mutation { updateContactDetails(input: {language: "nb"}) '
    "{ patient { name } errors { code } } }",
    "Mutation.setConsent": "mutation { setConsent(input: {kind: SMS, given: true}) { errors { code } } }",
    "Mutation.requestDataExport": "mutation { requestDataExport(input: {idempotencyKey: %(key)s}) "
    "{ downloadUrl errors { code } } }",
    "Mutation.signOut": "mutation { signOut(input: {}) { errors { code } } }",
    "Mutation.eraseMyData": "mutation { eraseMyData(input: {idempotencyKey: %(key)s}) { erased errors { code } } }",
    "Subscription.slotChanges": "subscription { slotChanges(search: %(search)s) { resync } }",
    "Subscription.bookingChanges": "subscription { bookingChanges { resync booking { reference } } }",
}
"""How each root field is asked, always about what is Kari's, and each field of the viewer that has a rule of its own.
Who was erased can ask for nothing more."""

SHOWS = {"Query.node", "Query.nodes", "Query.hold", "Viewer.patient", "Viewer.bookings", "Subscription.bookingChanges"}
"""Where Kari sees what is hers; nobody else ever does."""


@dataclass(frozen=True)
class Rule:
    """What the schema prints beside a root field."""

    patient: bool
    own_frontends: bool
    scopes: frozenset[str]
    """Any of them will do; of none, nothing is asked."""

    def admits(self, caller: "Caller") -> bool:
        """As far as it is the client's to be let in."""
        own = caller.scopes is None
        return own or not (self.own_frontends or (self.scopes and self.scopes.isdisjoint(caller.scopes or ())))


@dataclass(frozen=True)
class Caller:
    """Who asks, by what they show. `scopes` is None for those without a key."""

    name: str
    shown: Mapping[str, str] = field(default_factory=dict)
    is_patient: bool = False
    scopes: Collection[str] | None = None


@dataclass(frozen=True)
class Answer:
    """`refused` is a top-level error's code, or how a socket was closed."""

    refused: str | None
    text: str


@dataclass(frozen=True)
class Scene:
    """Kari's booking and hold at her tenant, and what must not be seen of them."""

    url: str
    known: Mapping[str, str]
    secrets: tuple[str, ...]

    def document(self, root: str) -> str:
        return ASKED[root] % {**self.known, "key": json.dumps(key())}


def rules() -> Iterator[tuple[str, Rule]]:
    """What changes something comes last, and to be erased after everything else."""
    for name, root in ROOTS.items():
        assert root
        fields = root.__strawberry_definition__.fields  # type: ignore[attr-defined]
        for each in sorted(fields, key=lambda field: field.name == "erase_my_data"):
            said = {type(directive).__name__: directive for directive in each.directives}
            asked: Any = said.get("RequiresScope")
            scopes = frozenset(filter(None, (asked.scope, asked.or_))) if asked else frozenset()
            if name != "Viewer" or asked:
                rule = Rule("RequiresPatient" in said, "RequiresOwnFrontend" in said, scopes)
                yield f"{name}.{schema.config.name_converter.from_field(each)}", rule


def expected(root: str, caller: Caller, tenant: str) -> set[str | None]:
    """The codes that may be told; None where the field itself answers."""
    rule, way_in = RULES[root], RULES["Query.viewer"]
    if tenant != OWN:
        # What names a slot or a hold of Kari's tenant means nothing there.
        return {"UNAUTHENTICATED", "FORBIDDEN", "4403"} if caller.shown else {None, "BAD_USER_INPUT", "UNAUTHENTICATED"}
    if root.startswith("Viewer"):  # who is no patient finds no viewer, and what is in it is not asked for
        is_let_in = way_in.admits(caller) and (rule.admits(caller) or not caller.is_patient)
        return {None} if is_let_in else {"FORBIDDEN"}
    if not rule.admits(caller):
        return {"FORBIDDEN"}
    return {"UNAUTHENTICATED"} if rule.patient and not caller.is_patient else {None}


RULES = dict(rules())


def test_every_root_field_is_asked_by_everybody() -> None:
    assert RULES.keys() == ASKED.keys(), "a root field without a row: say in ASKED how it is asked"


async def test_everybody_gets_what_is_theirs_and_nothing_else(
    town: Town, sqlite_filled_url: str, tmp_path: Path
) -> None:
    settings = town.settings(sqlite_filled_url)
    kari, others = await patient(town, "kari"), await everybody_else(town, settings)
    with serving(settings, tmp_path / "stderr") as url:
        async with over_http(url) as client:
            scene = await _scene(client, url, kari)
            wrong = [cell for caller in (kari, *others) for cell in await _cells(client, scene, caller, OTHER)]
            wrong += [cell for caller in others for cell in await _cells(client, scene, caller, OWN)]
            assert await _untouched(client, scene, kari), "somebody else changed what is Kari's"
            wrong += await _cells(client, scene, kari, OWN, is_hers=True)
    assert not wrong, "\n".join(wrong)


async def patient(town: Town, login: str) -> Caller:
    return Caller(login, {"Authorization": f"Bearer {await sign_in(town, login)}"}, is_patient=True)


async def everybody_else(town: Town, settings: Settings) -> Sequence[Caller]:
    """Of her tenant or none: nobody, another patient, agencies with every scope or one, with and without a patient."""
    ailu = await patient(town, "ailu")
    callers = [Caller("anonymous"), await patient(town, "ola")]
    one = (Scope.FIND, Scope.ORGANIZATION_READ, Scope.APPOINTMENT_READ, Scope.PATIENT_READ)
    for scopes in (frozenset(Scope), *({scope} for scope in one)):
        key = await minted(settings, scopes=frozenset(scopes))
        name, shown = f"agency for {len(scopes)} ({next(iter(scopes))})", {"X-ApiKey": key.text}
        callers += [
            Caller(name, shown, scopes=scopes),
            Caller(f"{name} with ailu", {**shown, **ailu.shown}, is_patient=True, scopes=scopes),
        ]
    return callers


async def _scene(client: Client, url: str, kari: Caller) -> Scene:
    token = kari.shown["Authorization"].partition(" ")[2]
    journey = Journey(client, CLINIC, token=token)
    first, second, third = apart(await journey.slots(), 3)
    booking = await journey.booked(first["id"])
    held = (await journey.hold(second["id"]))["hold"]
    known = {
        "booking": booking["id"],
        "held": held["token"],
        "free": third["id"],
        "terms": (await client("{ tenant { termsVersion } }"))["tenant"]["termsVersion"],
    }
    search = await journey.search(days=6)
    words = ", ".join(f"{name}: {json.dumps(value)}" for name, value in search.items())
    told = {name: json.dumps(value) for name, value in known.items()} | {"search": "{" + words + "}"}
    return Scene(url, told, (booking["reference"], second["start"], "Kari Testesen"))


async def _cells(client: Client, scene: Scene, caller: Caller, tenant: str, *, is_hers: bool = False) -> list[str]:
    found = []
    for root in RULES:
        answer = await _ask(client, scene, root, {**caller.shown, "X-Tenant": tenant})
        cell = f"{root} as {caller.name} at {tenant}: {answer.refused} {answer.text[:300]}"
        if answer.refused not in expected(root, caller, tenant):
            found.append(cell)
        shown = any(secret in answer.text for secret in scene.secrets)
        if (not is_hers and shown) or (is_hers and root in SHOWS and not shown):
            found.append(f"{cell} {'shows' if shown else 'hides'} what is Kari's")
    return found


async def _ask(client: Client, scene: Scene, root: str, headers: Mapping[str, str]) -> Answer:
    if root.startswith("Subscription"):
        async with talking(f"ws{scene.url.removeprefix('http')}/graphql") as talk:
            return await _first_event(talk, scene.document(root), headers)
    answer = await client.http.post("/graphql", json={"query": scene.document(root)}, headers=headers)
    errors = answer.json().get("errors")
    return Answer(errors[0]["extensions"]["code"] if errors else None, answer.text)


async def _first_event(talk: Talk, document: str, headers: Mapping[str, str]) -> Answer:
    """`bookingChanges` begins with an empty event, behind which the bookings come."""
    heard: list[Any] = []
    try:
        await talk.begin(**headers)
        await talk.ask("a", document)
        while len(heard) < 2 and not (heard and (heard[0]["type"] != "next" or "slotChanges" in document)):
            heard.append(await asyncio.wait_for(talk.hear(), PATIENCE))
    except TimeoutError:
        pass  # somebody who has no bookings
    except ConnectionClosed as closed:
        return Answer(str(closed.rcvd.code if closed.rcvd else None), "")
    errors = heard[0]["payload"] if heard[0]["type"] == "error" else heard[0]["payload"].get("errors")
    return Answer(errors[0]["extensions"]["code"] if errors else None, json.dumps(heard))


async def _untouched(client: Client, scene: Scene, kari: Caller) -> bool:
    """The booking as it was made, and the hold still there."""
    document = "{ node(id: %(booking)s) { ... on Booking { status version } } hold(token: %(held)s) { token } }"
    asked = {"query": document % scene.known}
    data = (await client.http.post("/graphql", json=asked, headers=dict(kari.shown))).json()["data"]
    return bool(data["node"] == {"status": "BOOKED", "version": 3} and data["hold"])
