"""Every table there is: `metadata` knows those only whose modules have been imported."""

from integrations.store import (
    tables_bookings,
    tables_catalogue,
    tables_clients,
    tables_jobs,
    tables_keys,
    tables_news,
    tables_rights,
)
from integrations.store.tables import metadata

__all__ = [
    "metadata",
    "tables_bookings",
    "tables_catalogue",
    "tables_clients",
    "tables_jobs",
    "tables_keys",
    "tables_news",
    "tables_rights",
]
