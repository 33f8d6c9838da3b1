"""pytest has the fixtures of Metroline wherever it is installed, and shows the journeys of a test that fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SERVICES = "from metroline import service\n\n@service\ndef work(record):\n    return record | {'seen': True}\n"
RULES = '[[rules]]\nafter = "source"\nto = "work"\n'
TESTS = """
from metroline.testing import run_line as imported

def test_passes(run_line):
    [journey] = run_line("line", {"a": 1}, "all")
    assert journey.record == {"a": 1, "seen": True}


def test_fails(run_line):
    [journey] = run_line("line", {"a": 2})
    assert journey.stops == ["other"]

def test_fails_by_import():
    [journey] = imported(__import__("pathlib").Path(__file__).parent / "line", {"a": 3})
    assert journey.outcome == "dead"

def test_is_skipped(run_line):
    run_line("line", {"a": 4})
    __import__("pytest").skip("no need")
"""
CASES = """
[[cases]]
name = "is right"
record = {}
changes = { seen = true }

[[cases]]
name = "is wrong"
record = {}
changes = { seen = false }
"""
PLUGIN = "metroline.app.testing.pytest_plugin"


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest as a user does, beside a folder with tests."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *arguments],
        cwd=folder,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.mark.long
def test_a_failing_test_shows_its_journeys_and_a_line_is_found_beside_the_test(tmp_path: Path) -> None:
    (tmp_path / "line").mkdir()
    (tmp_path / "line" / "services.py").write_text(SERVICES)
    (tmp_path / "line" / "routes.toml").write_text(RULES)
    (tmp_path / "test_line.py").write_text(TESTS)

    ended = run_pytest(tmp_path, str(tmp_path / "test_line.py"))

    assert "2 failed, 1 passed, 1 skipped" in ended.stdout, ended.stdout + ended.stderr
    assert ended.stdout.count("Captured journeys call") == 2
    assert 'record {"a":2}, by signpost\nsource → work  (rule 1)\n         sets seen=true\n' in ended.stdout
    assert 'record {"a":3}, by signpost' in ended.stdout
    assert '{"a":4}' not in ended.stdout


def test_the_cases_of_a_line_are_tests(tmp_path: Path) -> None:
    folder = tmp_path / "line"
    folder.mkdir()
    (folder / "services.py").write_text(SERVICES)
    (folder / "routes.toml").write_text(RULES)
    (folder / "cases.toml").write_text(CASES)
    (tmp_path / "cases.toml").write_text("other = 1\n")

    ended = run_pytest(tmp_path, str(tmp_path))

    assert "1 failed, 1 passed" in ended.stdout, ended.stdout + ended.stderr
    assert "  changes: seen: expected false, was true\n" in ended.stdout
    assert "    source → work  (rule 1)\n" in ended.stdout
    assert "Traceback" not in ended.stdout
    assert "FAILED line/cases.toml::is wrong" in ended.stdout

    (folder / "cases.toml").write_text("[[cases]]\nrecrod = {}\n")
    assert "cases.toml:2: cases 1.recrod: unknown key" in run_pytest(tmp_path, str(tmp_path)).stdout


@pytest.mark.long
def test_the_fixtures_are_listed_with_their_documentation(tmp_path: Path) -> None:
    listed = run_pytest(tmp_path, "--fixtures").stdout
    assert "run_line -- " in listed
    assert "Return `metroline.testing.run_line`, for which a line may be a folder beside" in listed


def test_the_plugin_loads_nothing_that_takes_long() -> None:
    code = f"import sys, {PLUGIN}; print([n for n in ('faust', 'pydantic', 'msgspec', 'aiokafka') if n in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    assert ended.stdout.strip() == "[]"
