"""A made-up chain of clinics as large as is wished, half of it in each dialect, whose practitioners never go home."""

from dataclasses import replace
from datetime import timedelta
from itertools import cycle, islice

from domain.catalogue import Seed
from domain.endpoint import Dialect, Endpoint
from integrations.sandbox.world import DAYS, Clinic, Opening, Role, World
from integrations.sandbox.world_no import NORWAY
from integrations.sandbox.world_se import SWEDEN
from integrations.store.seed import read_seed
from tests.living import ROOT

TREATMENT = "consultation"
OPEN = Opening(days=DAYS, opens="08:00", closes="15:15")
"""Half hours from every quarter, with a third of the day filled beforehand: about twelve starts a day are free."""

WAIT = timedelta(seconds=10)
PAGE = 500


def world_of(dialect: str, practitioners: int) -> World:
    """So many practitioners over the dialect's four clinics."""
    world = NORWAY if dialect == "ihe" else SWEDEN
    clinics = tuple(replace(each, openings=(OPEN,)) for each in world.clinics)
    at = list(islice(cycle(clinics), practitioners))
    return replace(world, clinics=clinics, roles=tuple(_role(dialect, n, clinic) for n, clinic in enumerate(at)))


def _role(dialect: str, n: int, clinic: Clinic) -> Role:
    id, schedule = (f"B100:E{n:03}", f"S:B100:E{n:03}") if dialect == "ihe" else (f"pr{n + 100}", f"sk{n + 100}")
    return Role(
        id=id,
        schedule=schedule,
        practitioner=f"{dialect}{n:03}",
        clinic=clinic.id,
        given="Kim",
        family=f"Nummer {n}",
        title="Lege" if dialect == "ihe" else "Läkare",
        gender="female",
        treatments=(TREATMENT,),
        days=DAYS,
    )


def seed_of(at_once: int, **urls: str) -> Seed:
    """The demo's tenant over a record system of each dialect that is named, each asked so many things at once."""
    seed = read_seed(ROOT / "integrations" / "sandbox" / "demo.toml", {"EHR_NO": "http://-", "EHR_SE": "http://-"})
    known = {"tenant_id": seed.tenant.id, "max_concurrency": at_once, "longest_wait": WAIT, "page_size": PAGE}
    endpoints = [Endpoint(id=each, dialect=Dialect(each), base_url=url, **known) for each, url in urls.items()]
    return Seed(tenant=seed.tenant, endpoints=endpoints)
