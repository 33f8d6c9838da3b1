"""`metroline dead-letters`: the list shows in full what other commands take, and a replay sets top-level fields."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from metroline.app.cli import cli
from metroline.app.operations.letter import Group
from metroline.app.operations.replays import edited
from metroline.routing.errors import UsageError

ID = "source-11-12345678"
KIND = "malformed_envelope"


class DeadLettersDouble:
    """The dead letters of a line, without a Kafka."""

    async def read(self) -> list[Any]:
        return []


def letter(line: bytes) -> Any:
    return SimpleNamespace(id=ID, line=line, settled=0.0, is_replayable=True, is_cut=False)


@pytest.fixture(autouse=True)
def one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the list have one group, with a place that is too long for a line of a terminal."""
    module = importlib.import_module("metroline.app.cli.dead_letters")
    group = Group("4be3b2", ("deliver", KIND, "TypeError", "services.py:6 in " + 9 * "deliver_"), "", [letter(b"{}")])
    monkeypatch.setattr(module, "_dead_letters", lambda _: DeadLettersDouble())
    monkeypatch.setattr(module, "grouped", lambda _: [group])


def test_the_list_has_one_whole_line_for_each_group_where_it_is_piped() -> None:
    [_, _, row] = CliRunner().invoke(cli, ["dead-letters", "list"]).output.splitlines()
    assert row.split()[:4] == ["4be3b2", "1", "deliver", KIND]
    assert 9 * "deliver_" in row
    assert row.split()[-1] == ID


def test_a_narrow_terminal_cuts_nothing_that_another_command_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    said = CliRunner().invoke(cli, ["dead-letters", "list"]).output
    for word in ("4be3b2", "deliver", KIND, ID):
        assert word in said
    assert "…" not in said


def test_a_replay_sets_a_field_at_the_top_level() -> None:
    assert edited(letter(b'{"a":{"b":1},"c":2}'), {"c": 3}) == b'{"a":{"b":1},"c":3}'
    assert edited(letter(b'{"a.b":1,"a":{}}'), {"a.b": 2}) == b'{"a.b":2,"a":{}}'
    assert edited(letter(b'{"a":1}'), {"x.y": 2}) == b'{"a":1,"x.y":2}'


@pytest.mark.parametrize("record", [None, b'{"a": {}}'])
def test_a_replay_refuses_a_path_into_an_object(record: bytes | None) -> None:
    with pytest.raises(UsageError, match=r"the field 'a\.b' is not at the top level: set 'a' as a whole"):
        edited(letter(b'{"a":{"b":1}}'), {"a.b": 2}, record)


def test_services_are_called_in_a_dry_run_only() -> None:
    refused = CliRunner().invoke(cli, ["dead-letters", "replay", ID, "--call-services"])
    assert (refused.exit_code, refused.stderr.splitlines()) == (
        2,
        ["error: --call-services is for --dry-run: a replay calls the services of the workers"],
    )
