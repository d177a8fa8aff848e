"""Looking again at who is connected: a session or a token may end while results are still being sent."""

import logging
from collections.abc import Awaitable, Callable, Sequence

from api.context import Context
from api.errors import CodedError, Unauthenticated, UpstreamDown
from api.messages import message

log = logging.getLogger(__name__)

Still = Callable[[Context], Awaitable[bool]]
"""Whether whoever a context was made for is still signed in, and the key that was brought still stands; an unnamed
visitor without a key always stays. May raise the `Unauthenticated` that tells what has ended.

Asked when a connection is opened, to know who was there at the beginning, and now and then until it ends.
"""


class KeyEnded(Unauthenticated):
    """Whoever it is, no login helps: the key or system token that was brought opens nothing any more."""

    def __init__(self, languages: Sequence[str]) -> None:
        super().__init__(message("KEY_ENDED", languages))


async def what_ended_before(still: Still, context: Context) -> CodedError | None:
    """The first look, which later ones are held against: an outage is told, or whoever was there is not known then."""
    try:
        return None if await still(context) else Unauthenticated()
    except CodedError as told:
        return told
    except Exception as failure:
        log.warning("request %s cannot be looked at: %s", context.request_id, type(failure).__qualname__)
        return UpstreamDown()


async def what_ended(still: Still, context: Context) -> Unauthenticated | None:
    """A later look. Nobody is sent away because of an outage: what is asked meanwhile fails by itself."""
    ended = await what_ended_before(still, context)
    return ended if isinstance(ended, Unauthenticated) else None


async def everybody_stays(_: Context) -> bool:
    """Where nobody signs in."""
    return True
