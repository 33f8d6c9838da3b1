"""`metroline new` makes lines that are valid and pass their own tests, and overwrites nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from metroline.agents.services.line import Line
from metroline.app.cli import cli
from tests.support.project import ROOT


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def metroline(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def own_tests(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the tests that were made, as the README says."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    ("options", "line"), [((), "orders"), pytest.param(("--package",), "orders/orders", marks=pytest.mark.long)]
)
def test_what_is_made_is_valid_and_passes_its_own_tests(options: tuple[str, ...], line: str, folder: Path) -> None:
    made = metroline("new", "orders", *options)
    assert made.exit_code == 0, made.output
    checked = metroline("check", line)
    assert checked.exit_code == 0
    assert "warning" not in checked.output
    assert checked.output.endswith("7 rules, 3 stops: valid\n")
    tested = own_tests(folder / "orders")
    assert tested.returncode == 0, tested.stdout
    assert "6 passed" in tested.stdout


def test_each_way_through_the_line_is_taken_by_a_record_of_its_own(folder: Path) -> None:
    metroline("new", "orders")
    explained = metroline("explain", "orders", "orders/records.jsonl", "--line", "orders")
    verdicts = [line for line in explained.output.splitlines() if line.startswith("  → d")]
    assert verdicts == [
        "  → delivered",
        "  → delivered at reviewed",
        "  → dropped: not delivered there",
        "  → dropped: no address",
        "  → delivered",
    ]


def test_a_project_has_a_package_that_can_be_installed(folder: Path) -> None:
    assert metroline("new", "web-orders", "--package").exit_code == 0
    project = folder / "web-orders"
    assert {str(file.relative_to(project)) for file in project.rglob("*") if file.is_file()} == {
        *("README.md", "pyproject.toml", "tests/test_line.py"),
        *(
            f"web_orders/{name}"
            for name in ("__init__.py", "services.py", "routes.toml", "line.toml", "records.jsonl", "cases.toml")
        ),
    }
    installed = [sys.executable, "-c", "from setuptools import setup; setup()", "-q", "build", "--build-lib", "lib"]
    subprocess.run(installed, cwd=project, check=True, timeout=120, capture_output=True)
    assert Line.load(str(project / "lib" / "web_orders")).rules_table().rules


def test_a_path_names_the_line_by_its_last_part_and_is_quoted_in_what_is_printed() -> None:
    made = metroline("new", "my lines/orders")
    assert made.exit_code == 0
    assert "up --line 'my lines/orders' --reload\n" in made.output
    assert Line.load("my lines/orders").name == "orders"


def test_the_readme_has_ten_lines_at_most() -> None:
    metroline("new", "orders")
    assert len(Path("orders/README.md").read_text().splitlines()) <= 10


@pytest.mark.parametrize("name", ["Orders", "1st", "with space", "a.b", "-x", "x" * 51, "été", "."])
def test_a_name_that_topics_or_packages_cannot_have_is_wrong_use(name: str) -> None:
    made = metroline("new", "--", name)
    assert made.exit_code == 2
    assert "a name has at most 50 lower-case letters, digits, - and _, and starts with a letter" in made.stderr


@pytest.mark.parametrize(("name", "why"), [("class", "a word of Python"), ("json", "there is a package 'json'")])
def test_a_package_must_not_hide_another_one(name: str, why: str) -> None:
    made = metroline("new", name, "--package")
    assert (made.exit_code, Path(name).exists()) == (2, False)
    assert why in made.stderr
    assert metroline("new", name).exit_code == 0


@pytest.mark.parametrize("options", [(), ("--package",)])
def test_nothing_is_overwritten(options: tuple[str, ...]) -> None:
    Path("orders").mkdir()
    Path("orders/services.py").write_text("mine")
    made = metroline("new", "orders", *options)
    assert made.exit_code == 1
    assert Path("orders/services.py").read_text() == "mine"
    assert len(list(Path("orders").iterdir())) == 1
    Path("shop").write_text("a file")
    assert metroline("new", "shop").exit_code == 1
