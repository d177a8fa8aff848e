"""The one place that sees every layer: puts the adapters behind the ports."""

from api.bootstrap.commands import (
    build_app,
    forget_keys,
    import_seed,
    migrate,
    retry_job,
    sandbox_apps,
    seal,
    tell_audit,
    tell_jobs,
    work,
)
from api.bootstrap.house import EXPECTED, Unready, open_house, ready_house
from api.bootstrap.keys import order_key

__all__ = [
    "EXPECTED",
    "Unready",
    "build_app",
    "forget_keys",
    "import_seed",
    "migrate",
    "open_house",
    "order_key",
    "ready_house",
    "retry_job",
    "sandbox_apps",
    "seal",
    "tell_audit",
    "tell_jobs",
    "work",
]
