"""Seed files: the demo's is whole, and a wrong one says in one line where it is wrong."""

from datetime import timedelta
from pathlib import Path

import pytest

from domain.clinic import ClinicBooking
from domain.endpoint import Dialect
from integrations.sandbox.world_no import NORWAY
from integrations.sandbox.world_se import SWEDEN
from integrations.store.seed import SeedInvalid, area_id, read_seed

DEMO = Path(__file__).parents[2] / "integrations" / "sandbox" / "demo.toml"
PLACES = {"EHR_NO": "http://no.example", "EHR_SE": "http://se.example"}

TENANT = '[tenant]\nid = "t"\nslug = "t"\nname = "T"\n'
ENDPOINT = TENANT + '[[endpoints]]\nid = "e"\ndialect = "r4"\nbase_url = "http://${HERE}/fhir"\n'
CLINIC = ENDPOINT + '[[areas]]\nkey = "a"\nname = {nb = "A"}\n[[clinics]]\nendpoint = "e"\nehr_id = "h"\n'
TREATMENT = ENDPOINT + '[[treatments]]\ncode = "c"\ntitle = {nb = "C"}\n'
PRICE = TREATMENT + '[[prices]]\nendpoint = "e"\ntreatment = "c"\n'


def read(tmp_path, content: str):
    path = tmp_path / "seed.toml"
    path.write_text(content, encoding="utf-8")
    return read_seed(path, {"HERE": "127.0.0.1:1"})


def test_the_demo_says_something_of_every_clinic_and_treatment_of_its_ehrs():
    seed = read_seed(DEMO, PLACES)
    assert seed.tenant.terms_version == "2026-01"
    assert [(e.id, e.dialect, e.base_url) for e in seed.endpoints] == [
        ("fjord", Dialect.IHE, "http://no.example"),
        ("malar", Dialect.R4, "http://se.example"),
    ]
    worlds = {"fjord": NORWAY, "malar": SWEDEN}
    assert set(seed.clinics) == {(id, clinic.id) for id, world in worlds.items() for clinic in world.clinics}
    assert set(seed.treatments) == {each.code for world in worlds.values() for each in world.treatments}
    assert set(seed.prices) == {(id, each.code) for id, world in worlds.items() for each in world.treatments}
    for values in (*seed.clinics.values(), *seed.treatments.values()):
        for text in (value for value in values.values() if isinstance(value, dict)):
            assert set(text) == {"nb", "sv", "en"}
    assert seed.clinics["fjord", "hs-bergen-fana"]["rules"].minimum_age == 0


def test_areas_have_the_same_id_in_every_tenant(tmp_path):
    seed = read(tmp_path, CLINIC + 'area = "a"\n')
    assert seed.areas[0].id == area_id("a") == seed.clinics["e", "h"]["area_id"]


def test_only_what_is_said_is_in_the_mappings(tmp_path):
    seed = read(tmp_path, CLINIC + 'booking = "external"\nabout = {nb = "Om"}\n')
    assert seed.clinics == {("e", "h"): {"booking": ClinicBooking.EXTERNAL, "about": {"nb": "Om"}}}
    assert seed.endpoints[0].base_url == "http://127.0.0.1:1/fhir"
    slow = ENDPOINT + "longest_delay_seconds = 30\n"
    assert read(tmp_path, slow).endpoints[0].longest_delay == timedelta(seconds=30)
    named = ENDPOINT + 'authorization_variable = "E_AUTHORIZATION"\n'
    assert read(tmp_path, named).endpoints[0].authorization_variable == "E_AUTHORIZATION"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[tenant", "Expected"),
        ("x = 1\n" + TENANT, "x: unknown"),
        ('[tenant]\nid = "t"\nslug = "t"\n', "tenant: object missing required field name"),
        ("[[areas]]\nkey = 'a'\n", "tenant: missing"),
        (TENANT + "nmae = 1\n", "tenant.nmae: unknown"),
        (TENANT + "[tenant.rules]\nminimum_aeg = 1\n", "tenant.rules.minimum_aeg: unknown"),
        (TENANT + "[tenant.rules]\nminimum_age = 'x'\n", "tenant.rules.minimum_age: expected int"),
        (TENANT + "[tenant.texts.top]\nda = 'x'\n", "tenant.texts.top.da: not one of the tenant's languages"),
        (ENDPOINT.replace("r4", "r5"), "endpoints[0].dialect: invalid enum value 'r5'"),
        (ENDPOINT.replace("HERE", "THERE"), "endpoints[0].base_url: nothing is known to put in for ${THERE}"),
        (ENDPOINT + 'longest_delay_seconds = "x"\n', "endpoints[0].longest_delay_seconds: expected int, got str"),
        (ENDPOINT + ENDPOINT.removeprefix(TENANT), "endpoints[1].id: said twice"),
        (TENANT + "[endpoints]\nid = 'e'\n", "endpoints: write it as [[endpoints]]"),
        (TENANT + "[[areas]]\nname = {nb = 'A'}\n", "areas[0].key: missing"),
        (CLINIC.replace('ehr_id = "h"\n', ""), "clinics[0].ehr_id: missing"),
        (CLINIC.replace('endpoint = "e"', 'endpoint = "x"'), "clinics[0].endpoint: no such endpoint: x"),
        (CLINIC + 'area = "b"\n', "clinics[0].area: no such area"),
        (CLINIC + "slug = 1\n", "clinics[0].slug: expected str, got int"),
        (CLINIC + 'id = "x"\n', "clinics[0].id: unknown"),
        (CLINIC + 'time_zone = "Europe/Olso"\n', "clinics[0].time_zone: no such time zone: Europe/Olso"),
        (CLINIC + 'about = {da = "x"}\n', "clinics[0].about.da: not one of the tenant's languages"),
        (CLINIC + '[[clinics]]\nendpoint = "e"\nehr_id = "h"\n', "clinics[1]: said twice: e h"),
        (TREATMENT + TREATMENT.removeprefix(ENDPOINT), "treatments[1]: said twice: c"),
        (PRICE + "amount = 'many'\n", "prices[0].amount: invalid decimal string"),
        (PRICE.replace('treatment = "c"', 'treatment = "d"'), "prices[0].treatment: no such treatment: d"),
        (PRICE + "curency = 'NOK'\n", "prices[0].curency: unknown"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_in_one_line(tmp_path, content, message):
    with pytest.raises(SeedInvalid) as told:
        read(tmp_path, content)
    assert str(told.value).startswith("seed.toml: ")
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(SeedInvalid, match=r"none\.toml: cannot be read: No such file"):
        read_seed(tmp_path / "none.toml")
