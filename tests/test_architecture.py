"""The rules of docs/architecture.md: layers, one home for each package, size, names."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("api", "domain", "integrations")
MAY_IMPORT = {"domain": {"domain"}, "integrations": {"integrations", "domain"}, "api": {"api", "domain"}}
BOOTSTRAP = Path("api/bootstrap")

HOMES = {
    "aiodataloader": ("api",),
    "cross_web": ("api",),
    "graphql": ("api",),
    "icalendar": ("api",),
    "strawberry": ("api",),
    "structlog": ("api",),
    "prometheus_client": ("api",),
    "orjson": ("api", "integrations/sandbox"),
    "starlette": ("api", "integrations/sandbox", "integrations/oidc"),
    "uvicorn": ("api", "integrations/sandbox"),
    "sqlmodel": ("integrations/store",),
    "sqlalchemy": ("integrations/store",),
    "alembic": ("integrations/store",),
    "asyncpg": ("integrations/store",),
    "cryptography": ("integrations/store", "integrations/tokens"),
    "aiohttp": ("integrations/fhir",),
    "fhirpy": ("integrations/fhir",),
    "phonenumbers": ("integrations/fhir",),
    "yarl": ("integrations/fhir",),
    "msgspec": ("integrations/fhir", "integrations/redis", "integrations/store"),
    "redis": ("integrations/redis",),
    "authlib": ("integrations/oidc",),
    "httpx2": ("integrations/oidc", "integrations/sandbox"),
    "joserfc": ("integrations/oidc", "integrations/sandbox", "integrations/tokens"),
}
"""Every third-party package that is imported, and the folders that may; the composition root may import any of them."""

FHIR_NAMES = {"HealthcareService", "PageInfo"}
"""Names that FHIR and the GraphQL connection specification give, whatever they end in."""
FORBIDDEN_ENDINGS = ("Manager", "Helper", "Util", "Utils", "Base", "Impl", "Service", "Handler", "Data", "Info", "DTO")
MOST_LINES, MOST_TEST_LINES, MOST_FUNCTION_LINES = 300, 500, 25


def modules(*folders: str) -> list[Path]:
    return sorted(path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*.py"))


def tree(module: Path) -> ast.Module:
    return ast.parse((ROOT / module).read_text())


def imported(module: Path) -> set[str]:
    """Dotted names that a module imports, the standard library left out."""
    names: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively"
            names.add(node.module or "")
    return {name for name in names if name.partition(".")[0] not in sys.stdlib_module_names}


def packages(module: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(module)}


@pytest.mark.parametrize("module", modules(*LAYERS), ids=str)
def test_a_layer_imports_only_what_lies_below_it(module: Path) -> None:
    if not module.is_relative_to(BOOTSTRAP):
        assert packages(module) & set(LAYERS) <= MAY_IMPORT[module.parts[0]]


@pytest.mark.parametrize("module", modules("domain"), ids=str)
def test_the_domain_knows_the_standard_library_only(module: Path) -> None:
    assert packages(module) <= {"domain"}


@pytest.mark.parametrize("module", modules(*LAYERS), ids=str)
def test_each_package_has_its_home(module: Path) -> None:
    foreign = packages(module) - set(LAYERS)
    assert foreign <= HOMES.keys()
    if not module.is_relative_to(BOOTSTRAP):
        strays = {name for name in foreign if not any(module.is_relative_to(home) for home in HOMES[name])}
        assert not strays


def test_every_home_is_lived_in() -> None:
    for name, homes in HOMES.items():
        for home in homes:
            assert any(name in packages(module) for module in modules(home)), f"{home} does not import {name}"


@pytest.mark.parametrize(
    ("folder", "other"),
    [("integrations/sandbox", "integrations.fhir"), ("integrations/fhir", "integrations.sandbox")],
)
def test_sandbox_and_adapters_share_no_code(folder: str, other: str) -> None:
    for module in modules(folder):
        names = imported(module)
        assert not {name for name in names if name == other or name.startswith(other + ".")}, module


@pytest.mark.parametrize("module", modules("integrations/sandbox"), ids=str)
def test_the_sandbox_stands_alone(module: Path) -> None:
    ours = {name for name in imported(module) if name.partition(".")[0] in LAYERS}
    assert all(name == "integrations.sandbox" or name.startswith("integrations.sandbox.") for name in ours)


@pytest.mark.parametrize("module", modules(*LAYERS, "tests", "bench"), ids=str)
def test_files_are_short(module: Path) -> None:
    most = MOST_TEST_LINES if module.parts[0] == "tests" else MOST_LINES
    assert len((ROOT / module).read_text().splitlines()) <= most


@pytest.mark.parametrize("module", modules(*LAYERS), ids=str)
def test_functions_are_short_and_classes_well_named(module: Path) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert _length(node) <= MOST_FUNCTION_LINES, f"{node.name}: {_length(node)} lines"
        if isinstance(node, ast.ClassDef):
            assert not node.name.endswith(FORBIDDEN_ENDINGS) or node.name in FHIR_NAMES, node.name


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body after the docstring: signatures and documentation may take the room they need."""
    body = function.body
    documented = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    rest = body[1:] if documented else body
    return (rest[-1].end_lineno or 0) - rest[0].lineno + 1 if rest else 0


@pytest.mark.parametrize("module", modules(*LAYERS), ids=str)
def test_every_module_says_what_it_is_for(module: Path) -> None:
    if (ROOT / module).read_text().strip():
        assert ast.get_docstring(tree(module)), f"{module} has no docstring"


def test_appointment_is_a_word_of_the_ehrs_only() -> None:
    """Ours is the Booking; the port's `EhrAppointment` names what the EHR holds."""
    allowed = {"EhrAppointment", "AppointmentState"}
    for module in modules("domain", "api", "integrations/store"):
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.ClassDef) and "Appointment" in node.name:
                assert node.name in allowed, f"{module}: {node.name}"
