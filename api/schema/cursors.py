"""Cursors of subscriptions: which picture a screen shows, and how far a patient's bookings were followed."""

import struct
from typing import TYPE_CHECKING
from uuid import UUID

from api.errors import BadInput
from api.signing import Tampered
from domain.changes import Mark

if TYPE_CHECKING:
    from api.context import Context

LONGEST = 200
_MARK = struct.Struct(">qq")


def picture_cursor(context: "Context", digest: int) -> str:
    """The same for everybody whose screen shows the same times."""
    return context.signer.seal(f"picture:{context.tenant.id}", digest.to_bytes(16, "big"))


def digest_of_cursor(context: "Context", cursor: str) -> int:
    """Raises `BadInput` for one that this API has not given out."""
    return int.from_bytes(_opened(context, f"picture:{context.tenant.id}", cursor), "big")


def bookings_cursor(context: "Context", patient_id: UUID, mark: Mark) -> str:
    return context.signer.seal(_of_patient(context, patient_id), _MARK.pack(*mark))


def mark_of_cursor(context: "Context", patient_id: UUID, cursor: str) -> Mark:
    """Raises `BadInput` for one that was not given out to that patient."""
    return Mark(*_MARK.unpack(_opened(context, _of_patient(context, patient_id), cursor)))


def _of_patient(context: "Context", patient_id: UUID) -> str:
    return f"bookings:{context.tenant.id}:{patient_id}"


def _opened(context: "Context", purpose: str, cursor: str) -> bytes:
    try:
        return context.signer.open(purpose, cursor[:LONGEST])
    except Tampered:
        raise BadInput("`after` is not a cursor of this subscription.") from None
