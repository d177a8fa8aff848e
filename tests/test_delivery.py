"""What is shipped besides code: the image, the composition, pinned versions, documents that stay true."""

import re
import subprocess
import sys
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import yaml

from api.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
VERBS = {"demo", "serve", "worker", "migrate", "import", "schema", "jobs"}


def instructions(name: str) -> list[str]:
    joined = DOCKERFILE.replace("\\\n", " ")
    return [line.partition(" ")[2].strip() for line in joined.splitlines() if line.startswith(name + " ")]


def test_every_copied_source_exists_and_is_let_into_the_build() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")}
    sources = [part for line in instructions("COPY") if not line.startswith("--from") for part in line.split()[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in let_in, f"{source} is kept out by .dockerignore"


def test_what_one_stage_copies_from_another_is_built_there() -> None:
    stages = {line.split(" AS ")[1].strip() for line in instructions("FROM") if " AS " in line}
    copied = [line for line in instructions("COPY") if line.startswith("--from")]
    assert len(instructions("FROM")) == 2
    assert copied
    for line in copied:
        stage, source = re.fullmatch(r"--from=(\w+) (\S+) \S+", line).groups()  # type: ignore[union-attr]
        assert stage in stages
        assert any(f"venv {source}" in run for run in instructions("RUN"))


def test_the_image_runs_as_nobody_special() -> None:
    last_stage = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    user = re.findall(r"^USER (\w+)$", last_stage, re.MULTILINE)
    assert user == ["itb"]
    assert re.search(r"useradd .*\bitb\b", last_stage)


def test_what_the_image_keeps_is_kept_in_a_volume() -> None:
    assert instructions("VOLUME") == instructions("WORKDIR")[-1:] == ["/data"]
    assert "ITB_DATABASE_URL=sqlite:////data/" in DOCKERFILE


def test_every_command_of_image_and_composition_exists() -> None:
    commands = {re.findall(r'"(\w+)"', instructions("CMD")[-1])[0]}
    commands |= {s["command"][0] for s in COMPOSE["services"].values() if s.get("image") == "itb"}
    assert commands == {"serve", "migrate", "worker"}
    assert commands <= VERBS
    assert instructions("ENTRYPOINT") == ['["python", "-m", "api"]']


def test_every_setting_of_image_and_composition_exists() -> None:
    known = {PREFIX + f.name.upper() for f in fields(Settings)}
    assert set(re.findall(r"\b(ITB_[A-Z_]+)=", DOCKERFILE)) <= known
    assert set(COMPOSE["x-itb"]["environment"]) <= known


def test_the_composition_lets_every_identity_provider_be_set() -> None:
    for spec in (each for each in fields(Settings) if each.name.startswith("oidc_")):
        name, otherwise = PREFIX + spec.name.upper(), "" if spec.default is MISSING else f"-{spec.default}"
        assert COMPOSE["x-itb"]["environment"][name].startswith(f"${{{name}:{otherwise}"), name


def test_the_composition_waits_for_migrations_and_database() -> None:
    services = COMPOSE["services"]
    assert services["migrate"]["depends_on"]["db"]["condition"] == "service_healthy"
    for name in ("serve", "worker"):
        assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


def test_only_what_listens_is_asked_for_its_health() -> None:
    for name, service in COMPOSE["services"].items():
        if service.get("image") == "itb":
            assert service.get("healthcheck", {}).get("disable", False) is (service["command"] != ["serve"]), name


def test_a_package_ships_every_file_that_is_not_code() -> None:
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    for layer in ("api", "domain", "integrations", "migrations"):
        for path in (p.relative_to(ROOT) for p in (ROOT / layer).rglob("*") if p.is_file()):
            if path.suffix not in (".py", ".pyc"):
                patterns = shipped.get(".".join(path.parent.parts), ())
                assert any(path.match(pattern) for pattern in patterns), path
        for folder in {path.parent for path in (ROOT / layer).rglob("*.py")}:
            assert (folder / "__init__.py").exists(), f"{folder.relative_to(ROOT)} is no package"


def test_every_setting_is_documented_in_operations() -> None:
    told = (ROOT / "docs" / "operations.md").read_text()
    missing = [f.name for f in fields(Settings) if f"`{PREFIX}{f.name.upper()}`" not in told]
    assert not missing
    assert all(f.metadata["doc"] in told for f in fields(Settings))


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    pinned = {
        re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    names = {re.sub(r"[-_.]+", "-", re.split(r"[\[=<>~ ]", name)[0]).lower() for name in wanted}
    assert names <= pinned


def test_nothing_is_skipped_for_want_of_a_database_in_ci() -> None:
    commands = [line.partition("#")[0].strip() for line in (ROOT / ".ci" / "run").read_text().splitlines()]
    assert commands.index("export CI=true") < commands.index("make check") < commands.index("make test")


def test_no_registry_address_is_committed() -> None:
    for name in ("constraints.txt", "pyproject.toml", "Dockerfile", ".ci/run", "Makefile"):
        text = (ROOT / name).read_text()
        assert not re.search(r"index-url|https?://(?!127\.0\.0\.1)", text), name


def test_the_printed_schema_is_fresh() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "api", "schema"], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    assert printed.stdout == (ROOT / "schema.graphql").read_text(), "run make schema"


@pytest.mark.parametrize("document", ["README.md", "docs/architecture.md", "docs/operations.md"])
def test_documents_name_only_files_that_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    named = re.findall(r"`((?:api|domain|integrations|tests|docs|migrations|bench)/[\w./-]*)`", text)
    missing = [path for path in named if "<" not in path and not (ROOT / path).exists()]
    assert not missing


def test_the_map_of_the_house_names_every_folder() -> None:
    told = (ROOT / "docs" / "architecture.md").read_text()
    for folder in (ROOT / "integrations").iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            assert f"`integrations/{folder.name}/`" in told, folder.name
