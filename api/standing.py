"""Looking again at who is connected: a session or a token may end while results are still being sent."""

import logging
from collections.abc import Awaitable, Callable

from api.context import Context
from api.errors import Unauthenticated

log = logging.getLogger(__name__)

Still = Callable[[Context], Awaitable[bool]]
"""Whether whoever a context was made for is still signed in, and the key that was brought still stands; an unnamed
visitor without a key always stays.

Asked when a connection is opened, to know who was there at the beginning, and now and then until it ends.
"""


async def has_ended(still: Still, context: Context) -> bool:
    """Nobody is sent away because of an outage: what is asked meanwhile fails by itself."""
    try:
        return not await still(context)
    except Unauthenticated:
        return True
    except Exception as failure:
        log.warning("request %s cannot be looked at again: %s", context.request_id, type(failure).__qualname__)
        return False


async def everybody_stays(_: Context) -> bool:
    """Where nobody signs in."""
    return True
