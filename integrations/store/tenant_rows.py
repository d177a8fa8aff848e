"""Tenants as rows, and rows as tenants."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from sqlalchemy import Select, select

from domain.tenant import DoubleBooking, Tenant
from integrations.store.tables import TENANT, TENANT_HOST
from integrations.store.types import AnyRow

_AS_THEY_ARE = (
    *("slug", "name", "languages", "default_language", "phone", "email", "terms_version", "terms_url"),
    *("privacy_url", "display", "texts", "banner", "identity_providers", "return_to", "origins", "rules"),
)


def tenant_rows() -> Select[Any]:
    """A row for each host, all of a tenant together."""
    return (
        select(TENANT, TENANT_HOST.c.host)
        .outerjoin(TENANT_HOST, TENANT_HOST.c.tenant_id == TENANT.c.tenant_id)
        .order_by(TENANT.c.slug, TENANT.c.tenant_id, TENANT_HOST.c.position, TENANT_HOST.c.host)
    )


def tenants_of(rows: Iterable[AnyRow]) -> list[Tenant]:
    return [_tenant(list(own)) for _, own in groupby(rows, key=lambda row: row.tenant_id)]


def _tenant(rows: list[AnyRow]) -> Tenant:
    first = rows[0]._mapping
    return Tenant(
        id=first["tenant_id"],
        hosts=tuple(row.host for row in rows if row.host is not None),
        double_booking=DoubleBooking(first["double_booking"]),
        **{name: first[name] for name in _AS_THEY_ARE},
    )


def tenant_values(tenant: Tenant) -> dict[str, Any]:
    """All but the hosts, which have a table of their own."""
    return {
        "tenant_id": tenant.id,
        **{name: getattr(tenant, name) for name in _AS_THEY_ARE},
        "double_booking": tenant.double_booking.value,
    }
