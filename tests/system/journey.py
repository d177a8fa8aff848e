"""The patient's journey in GraphQL, step by step, as a frontend would send it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from tests.living import Client

SLOT = "id start end clinic { id slug name timeZone } practitioner { id name } treatment { id code }"

FIND = f"""query($search: AvailabilitySearch!, $hold: String) {{
  availability(search: $search, holdToken: $hold) {{
    complete asOf sources {{ state reason clinics {{ slug }} }}
    days {{ date slotCount first {{ id }} }}
    nextAvailable {{ id start }}
    slots(first: 500) {{ nodes {{ {SLOT} }} pageInfo {{ hasNextPage }} }}
  }} }}"""

ERRORS = f"""errors {{ __typename code message path
    ... on SlotTakenError {{ alternatives {{ {SLOT} }} }}
    ... on ChangeNotAllowedError {{ refusal clinicPhone }}
    ... on PatientDoubleBookedError {{ mayProceed other {{ id }} }}
    ... on StaleVersionError {{ current {{ id version }} }}
    ... on UpstreamUnavailableError {{ retryAfter }} }}"""

HOLD = f"""mutation($input: HoldSlotInput!) {{ holdSlot(input: $input) {{
    hold {{ token expiresAt serverTime scope slot {{ {SLOT} }} price {{ text }} }} {ERRORS} }} }}"""

BOOKING = """id reference status version start end title smsConfirmationTo calendarUrl
    clinic { slug } practitioner { name } treatment { code } price { text }
    cancellation { allowed until refusal message } rescheduling { allowed until refusal }
    history { at status actor start }"""

CONFIRM = f"""mutation($input: ConfirmBookingInput!) {{ confirmBooking(input: $input) {{
    booking {{ {BOOKING} }} {ERRORS} }} }}"""
RESCHEDULE = f"""mutation($input: RescheduleBookingInput!) {{ rescheduleBooking(input: $input) {{
    booking {{ {BOOKING} }} {ERRORS} }} }}"""
CANCEL = f"""mutation($input: CancelBookingInput!) {{ cancelBooking(input: $input) {{
    booking {{ {BOOKING} }} {ERRORS} }} }}"""
HELD = "query($token: String!) { hold(token: $token) { slot { start } } }"
RELEASE = f"mutation($input: ReleaseHoldInput!) {{ releaseHold(input: $input) {{ {ERRORS} }} }}"
MINE = f"""query($when: BookingPeriod!, $after: String) {{ viewer {{ patient {{ name maskedNationalNumber }}
    bookings(when: $when, first: 50, after: $after) {{
      nodes {{ {BOOKING} }} pageInfo {{ hasNextPage endCursor }} }} }} }}"""
KNOWN = """query($clinic: String!, $treatment: String!) {
    clinic(slug: $clinic) { id phone } treatment(code: $treatment) { id } tenant { termsVersion } }"""


def key() -> str:
    return str(uuid4())


def codes(answer: dict[str, Any]) -> list[str]:
    return [error["code"] for error in answer["errors"]]


def at(instant: str) -> datetime:
    return datetime.fromisoformat(instant)


def apart(slots: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Times of one practitioner, none of which overlaps another."""
    chosen: list[dict[str, Any]] = []
    for slot in slots:
        if slot["practitioner"]["id"] != slots[0]["practitioner"]["id"]:
            continue
        if not chosen or at(slot["start"]) >= at(chosen[-1]["end"]):
            chosen.append(slot)
        if len(chosen) == count:
            return chosen
    raise AssertionError("too few free times")


@dataclass
class Journey:
    """One patient at one clinic. Every step answers what the API said, errors included."""

    client: Client
    clinic: str
    treatment: str = "skin-check"
    token: str | None = None
    known: dict[str, Any] = field(default_factory=dict)

    async def search(self, days: int = 21, first_in: int = 2, **more: Any) -> dict[str, Any]:
        """From the day after tomorrow on, so that notice and windows are out of the way."""
        self.known = await self.client(KNOWN, clinic=self.clinic, treatment=self.treatment)
        first = datetime.now(UTC).date() + timedelta(days=first_in)
        return {
            "treatmentId": self.known["treatment"]["id"],
            "clinicIds": [self.known["clinic"]["id"]],
            "from": first.isoformat(),
            "to": (first + timedelta(days=days)).isoformat(),
            **more,
        }

    async def find(self, hold: str | None = None, days: int = 21, **more: Any) -> dict[str, Any]:
        search = await self.search(days, **more)
        data = await self.client(FIND, self.token, search=search, hold=hold)
        answer: dict[str, Any] = data["availability"]
        return answer

    async def slots(self, **more: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.find(**more))["slots"]["nodes"]
        return found

    async def hold(self, slot_id: str, **more: Any) -> dict[str, Any]:
        given = {"idempotencyKey": key(), "slotId": slot_id, **more}
        answer: dict[str, Any] = (await self.client(HOLD, self.token, input=given))["holdSlot"]
        return answer

    async def confirm(self, hold_token: str, **more: Any) -> dict[str, Any]:
        terms = (await self.client("{ tenant { termsVersion } }"))["tenant"]["termsVersion"]
        given = {
            "idempotencyKey": key(),
            "holdToken": hold_token,
            "acceptedTermsVersion": terms,
            "smsConfirmation": True,
            **more,
        }
        answer: dict[str, Any] = (await self.client(CONFIRM, self.token, input=given))["confirmBooking"]
        return answer

    async def reschedule(self, booking: dict[str, Any], hold_token: str, **more: Any) -> dict[str, Any]:
        given = {
            "idempotencyKey": key(),
            "bookingId": booking["id"],
            "expectedVersion": booking["version"],
            "holdToken": hold_token,
            **more,
        }
        answer: dict[str, Any] = (await self.client(RESCHEDULE, self.token, input=given))["rescheduleBooking"]
        return answer

    async def cancel(self, booking: dict[str, Any], **more: Any) -> dict[str, Any]:
        given = {
            "idempotencyKey": key(),
            "bookingId": booking["id"],
            "expectedVersion": booking["version"],
            "reason": "Bedre igjen",
            **more,
        }
        answer: dict[str, Any] = (await self.client(CANCEL, self.token, input=given))["cancelBooking"]
        return answer

    async def mine(self, when: str = "UPCOMING") -> list[dict[str, Any]]:
        """What was booked through this service; the town's record systems know of other tests' bookings, too."""
        found: list[dict[str, Any]] = []
        after, more = None, True
        while more:
            page = (await self.client(MINE, self.token, when=when, after=after))["viewer"]["bookings"]
            found += [booking for booking in page["nodes"] if booking["reference"]]
            after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
        return found

    async def booked(self, slot_id: str | None = None) -> dict[str, Any]:
        """The shortest way to a booking."""
        id = slot_id or (await self.slots())[0]["id"]
        held = await self.hold(id)
        assert held["hold"], held["errors"]
        confirmed = await self.confirm(held["hold"]["token"])
        booking: dict[str, Any] = confirmed["booking"]
        assert booking, confirmed["errors"]
        return booking
