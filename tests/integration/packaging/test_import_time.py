"""Import time: a line's services, `--version` and `--help` load neither Faust nor Kafka's clients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

HEAVY = {
    *("faust", "mode", "aiokafka", "confluent_kafka", "aiohttp"),
    *("pydantic", "pydantic_settings", "cel", "lmdb", "msgspec", "rich"),
    *("fastavro", "jsonschema_rs", "google", "grpc_tools"),
}
SAYS_WHAT_IT_LOADED = "import atexit, json, sys; atexit.register(lambda: print(json.dumps(list(sys.modules))))\n"
LOOSE_SECONDS = 20.0
"""Time limit in seconds; the import takes about 0.2 s, but other tests may keep the machine busy."""


def loaded(code: str) -> set[str]:
    """Return the packages that a fresh Python has loaded after it has run this code."""
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", SAYS_WHAT_IT_LOADED + code],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert time.monotonic() - began < LOOSE_SECONDS
    return {name.partition(".")[0] for name in json.loads(ended.stdout.splitlines()[-1])}


def command(*arguments: str) -> str:
    return f"sys.argv[1:] = {list(arguments)}\nfrom metroline.app.cli import main\nmain()"


def test_the_names_that_a_lines_author_imports_load_nothing_heavy() -> None:
    modules = loaded("from metroline import Drop, Retry, lookup, lookup_table, service")

    assert "metroline" in modules
    assert modules & HEAVY == set()


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_the_version_and_the_list_of_commands_load_nothing_heavy(option: str) -> None:
    assert loaded(command(option)) & HEAVY == set()


def test_a_check_loads_no_client_of_kafka(tmp_path: Path) -> None:
    (tmp_path / "routes.toml").write_text('[[rules]]\nafter = "source"\ndrop = "all"\n')

    assert loaded(command("check", str(tmp_path / "routes.toml"))) & {"faust", "aiokafka", "confluent_kafka"} == set()


def test_the_libraries_of_formats_are_loaded_only_when_a_format_is_used() -> None:
    code = "from metroline.app import factory\nfrom metroline.agents.formats.formats import Formats\nFormats(None)"

    assert loaded(code) & {"fastavro", "jsonschema_rs", "google", "grpc_tools"} == set()
