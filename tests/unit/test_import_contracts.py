"""The import contracts in pyproject.toml hold, and are broken by an import in the wrong room."""

from __future__ import annotations

import graphlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

from tests.support.project import ROOT

FOLDERS = ("app", "agents", "routing", "metroline")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
NAMES = {contract["id"]: contract["name"] for contract in CONTRACTS}
LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"

WRONG = {
    "layers": ("routing.records", "metroline.agents.lookups"),
    "routing-layers": ("routing.records", "metroline.routing.journeys"),
    "routing-pure": ("routing.messages", "asyncio"),
    "agents-layers": ("agents.delivery", "metroline.agents.stops"),
    "kafka": ("agents.kafka", "metroline.routing.messages"),
    "services": ("agents.services", "aiokafka"),
    "lookups": ("agents.lookups", "metroline.routing.outcome"),
    "lines": ("agents.lines", "metroline.agents.kafka"),
    "app-layers": ("app.markup", "metroline.app.views"),
    "views": ("app.views", "metroline.app.compare"),
    "line-map": ("app.line_map", "metroline.agents.kafka"),
    "operations": ("app.operations", "click"),
    "local": ("app.local", "metroline.agents.tables"),
    "markup": ("app.markup", "metroline.routing.outcome"),
}
"""For each contract, an import that breaks it: the room of the importing module, and the imported module."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the report on a copy of the project that breaks every contract.

    In each layered folder of the copy there is also a file that belongs to no layer.
    """
    copy = tmp_path_factory.mktemp("project")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for room, imported in WRONG.values():
        with (copy / Path(*room.split(".")) / "__init__.py").open("a") as file:
            file.write(f"\nimport {imported}\n")
    for folder in ("app", "agents", "routing"):
        (copy / folder / "stray.py").touch()
    environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1"}
    linted = subprocess.run(
        [sys.executable, "-c", LINT],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert linted.returncode == 1, linted.stdout + linted.stderr
    return linted.stdout


def broken(report: str, contract: str) -> str:
    """Return the part of the report about a broken contract."""
    title = NAMES[contract]
    _, found, section = report.partition(f"\n{title}\n{'-' * len(title)}\n")
    assert found, f"{title!r} is not broken:\n{report}"
    return re.split(r"\n-{10,}\n", section)[0]


def test_every_contract_has_an_import_that_breaks_it() -> None:
    assert WRONG.keys() == NAMES.keys()


@pytest.mark.parametrize("contract", WRONG)
def test_an_import_in_the_wrong_room_breaks_its_contract(report: str, contract: str) -> None:
    room, imported = WRONG[contract]

    assert f"metroline.{room} -> {imported} (l." in broken(report, contract)


@pytest.mark.parametrize("folder", ["app", "agents", "routing"])
def test_a_file_of_no_layer_breaks_the_contract_of_its_folder(report: str, folder: str) -> None:
    assert f"metroline.{folder}.stray" in broken(report, f"{folder}-layers")


def test_no_file_imports_itself_through_others() -> None:
    """Imports under TYPE_CHECKING count, too."""
    graph = grimp.build_graph("metroline", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}

    assert len(imports) > 100
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize(
    "line", ["import agents.services", "from app import main", "from routing.errors import UsageError"]
)
def test_the_folders_are_imported_by_one_name_alone(line: str) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--select", "TID251", "--stdin-filename", "app/some.py", "-"],
        cwd=ROOT,
        input=line,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert checked.returncode == 1
    assert "import metroline." in checked.stdout
