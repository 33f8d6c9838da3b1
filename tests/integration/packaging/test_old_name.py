"""Lines that import from `agents`, the package's former name: one line tells the user which import to write."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.environments import Environment
from tests.support.project import ROOT

Ended = subprocess.CompletedProcess[str]
Metroline = Callable[..., Ended]

OLD = "from agents import service\n\n@service\ndef price(record):\n    return record\n"
ANSWER = 'error: services.py: write "from metroline import service": the package agents is now metroline\n'


def in_the_checkout(*command: str, cwd: Path, **variables: str) -> Ended:
    """Run Python with the repository's root on its path, as in a checkout."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.fixture(
    params=[
        "nothing else",
        pytest.param("another agents", marks=pytest.mark.long),
        pytest.param("the checkout", marks=pytest.mark.long),
    ]
)
def metroline(request: pytest.FixtureRequest, environment: Environment, tmp_path: Path) -> Metroline:
    """Return the command where `agents` is not importable, is another package, or is this project's folder."""

    def run(*arguments: str, **variables: str) -> Ended:
        if request.param == "the checkout":
            return in_the_checkout("-m", "metroline", *arguments, cwd=tmp_path, **variables)
        return environment.run("metroline", *arguments, cwd=tmp_path, **variables)

    if request.param == "another agents":
        (environment.packages / "agents").mkdir()
        (environment.packages / "agents" / "__init__.py").write_text("class Agent: ...\n")
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "services.py").write_text(OLD)
    (tmp_path / "orders" / "routes.toml").write_text('[[rules]]\nafter = "source"\nto = "price"\n')
    return run


def test_an_old_import_is_answered_with_the_new_one(metroline: Metroline) -> None:
    ended = metroline("check", "orders/routes.toml")

    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", ANSWER)


def test_the_file_is_named_that_has_the_import_and_only_names_of_this_package_are_answered(
    metroline: Metroline, tmp_path: Path
) -> None:
    (tmp_path / "orders" / "services.py").write_text("from parts import price\n")
    (tmp_path / "orders" / "parts.py").write_text("from agents import (\n    Drop,\n    service as stop,\n)\n")
    ended = metroline("check", "orders/routes.toml")
    assert ended.stderr.startswith('error: parts.py: write "from metroline import Drop, service as stop": ')

    (tmp_path / "orders" / "services.py").write_text("from agents import Runner\n")
    ended = metroline("check", "orders/routes.toml")
    assert ended.returncode == 2
    assert "services.py cannot be imported: " in ended.stderr


def test_an_old_name_of_a_line_is_answered_with_the_new_one(metroline: Metroline) -> None:
    ended = metroline("compare", LINE="agents.lines.metrobus")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "error: there is no line 'agents.lines.metrobus': write metroline.agents.lines.metrobus: the package agents is "
        "now metroline\n"
    )


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("agents", 'write "from metroline import service": the package agents is now metroline'),
        ("agents.services", 'write "from metroline import service": the package agents is now metroline'),
        ("routing.errors", "write metroline.routing: the package routing is now a part of metroline"),
    ],
)
def test_a_room_cannot_be_imported_a_second_time_by_its_bare_name(module: str, words: str) -> None:
    ended = in_the_checkout("-c", f"import {module}", cwd=ROOT)

    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == f"ImportError: {words}"
