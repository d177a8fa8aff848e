"""The receiver of events that is always there: a line in the log, which names nobody."""

import logging

from domain.events import Event

log = logging.getLogger(__name__)


class Console:
    async def receive(self, event: Event) -> None:
        log.info("%s: %s of %s, version %d", event.tenant_id, event.kind, event.booking_id, event.version)
