"""The wheel has everything below one name, and nothing else."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

from tests.support.environments import Environment
from tests.support.project import ROOT

ROOMS = ("app", "agents", "routing")
RESOURCES = ("*.py", "routes.toml", "line.toml", "cases.toml", "*.css", "*.js", "*.template")


def test_everything_is_below_metroline(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in ZipFile(wheel).namelist()}

    assert {top.partition("-")[0] for top in tops} == {"metroline"}
    assert len(tops) == 2, "the package and its dist-info"


def test_every_module_and_resource_is_there(wheel: Path) -> None:
    installed = set(ZipFile(wheel).namelist())
    sources = [file for room in ROOMS for kind in RESOURCES for file in (ROOT / room).rglob(kind)]
    wanted = {f"metroline/{file.relative_to(ROOT).as_posix()}" for file in sources}

    assert any(name.endswith(".css") for name in wanted)
    assert any(name.endswith("static/live_source.js") for name in wanted)
    assert any(name.endswith("services.py.template") for name in wanted)
    assert any(name.endswith("routes.toml") for name in wanted)
    assert wanted - installed == set()
    assert {"metroline/__init__.py", "metroline/__main__.py", "metroline/py.typed"} <= installed


def test_pytest_finds_its_plugin(wheel: Path) -> None:
    content = ZipFile(wheel)
    [entry_points] = [name for name in content.namelist() if name.endswith("/entry_points.txt")]
    told = content.read(entry_points).decode()
    assert "metroline = metroline.app.testing.pytest_plugin" in told.partition("[pytest11]")[2]


def test_what_is_installed_checks_its_own_example(environment: Environment, tmp_path: Path) -> None:
    table = environment.packages / "metroline" / "agents" / "lines" / "metrobus" / "routes.toml"
    for command in (["metroline"], ["python", "-m", "metroline"]):
        ended = environment.run(*command, "check", table, "--line", "metroline.agents.lines.metrobus", cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.splitlines()[-1].endswith(": valid")


def test_the_project_is_not_visible_in_the_environment_of_these_tests(environment: Environment, tmp_path: Path) -> None:
    where = environment.run("python", "-c", "import metroline; print(metroline.__file__)", cwd=tmp_path)

    assert where.stdout.strip() == str(environment.packages / "metroline" / "__init__.py")
