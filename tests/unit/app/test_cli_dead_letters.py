"""`metroline dead-letters`: the list shows in full what other commands take, and a replay sets top-level fields."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from metroline.app.cli import cli
from metroline.app.cli.printed_letter import print_letter
from metroline.app.operations.edits import parse_field
from metroline.app.operations.letter import Group, Letter
from metroline.app.operations.replays import edited
from metroline.routing.errors import UsageError
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment, Visit, Waits
from metroline.routing.outcome import Cause, Outcome

ID = "source-11-12345678"
KIND = "malformed_envelope"


CAUSE = ("deliver", KIND, "TypeError", "services.py:6 in " + 9 * "deliver_")
GROUP = Group("4be3b2", CAUSE, "", 1, 0.0, 0.0, ID)


class DeskDouble:
    """Dead letters without a Kafka: one group, with a place that is too long for a line of a terminal."""

    async def groups(self) -> list[Group]:
        return [GROUP]


def letter(line: bytes) -> Any:
    return SimpleNamespace(id=ID, line=line, settled=0.0, is_replayable=True, is_cut=False)


@pytest.fixture(autouse=True)
def one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("metroline.app.cli.dead_letters")
    monkeypatch.setattr(module, "_desk", lambda _: DeskDouble())


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


@pytest.mark.parametrize(
    ("record", "fields", "edited_to"),
    [
        (b'{"a":{"b":1},"c":2}', {"c": 3}, b'{"a":{"b":1},"c":3}'),
        (b'{"a":{"b":1,"d":4},"c":2}', {"a.b": 3}, b'{"a":{"b":3,"d":4},"c":2}'),
        (b'{"a.b":1,"a":{}}', {"a.b": 2}, b'{"a.b":2,"a":{}}'),
        (b'{"a":1}', {"x.y.z": 2}, b'{"a":1,"x":{"y":{"z":2}}}'),
        (b'{"items":[{"n":1},{"n":2}]}', {"items.1.n": 3}, b'{"items":[{"n":1},{"n":3}]}'),
        (b'{"items":[1,2]}', {"items.0": None}, b'{"items":[null,2]}'),
        (b'{"a":{}}', {"a.b": 1, "a.c": 2}, b'{"a":{"b":1,"c":2}}'),
    ],
)
def test_a_replay_sets_fields_also_inside_objects_and_lists(
    record: bytes, fields: dict[str, Any], edited_to: bytes
) -> None:
    assert edited(letter(record), fields) == edited_to
    assert edited(letter(b"{}"), fields, record) == edited_to


def test_services_are_called_in_a_dry_run_only() -> None:
    refused = CliRunner().invoke(cli, ["dead-letters", "replay", ID, "--call-services"])
    assert (refused.exit_code, refused.stderr.splitlines()) == (
        2,
        ["error: --call-services is for --dry-run: a replay calls the services of the workers"],
    )


@pytest.mark.parametrize(
    ("record", "fields", "problem"),
    [
        (
            b'{"a":1}',
            {"a.b": 2},
            "'a.b': 'a' is a number or a boolean, so nothing can be set in it: set 'a' as a whole",
        ),
        (b'{"a":null}', {"a.b": 2}, "'a.b': 'a' is null"),
        (b'{"a":{"b":"x"}}', {"a.b.c": 2}, "'a.b.c': 'a.b' is a string"),
        (b'{"a":[1]}', {"a.1": 2}, "'a.1': 'a' is a list of 1, so an index from 0 must follow it"),
        (b'{"a":[1]}', {"a.b": 2}, "'a.b': 'a' is a list of 1"),
        (b"{}", {"n": 2**64}, "the fields n do not fit into JSON: "),
        (b"{}", {"n": "\ud800"}, "the fields n do not fit into JSON: "),
    ],
)
def test_a_replay_refuses_what_cannot_be_set(record: bytes, fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError) as refused:
        edited(letter(record), fields)
    assert str(refused.value).startswith(problem)


@pytest.mark.parametrize(
    ("text", "value", "said"),
    [
        ("fail=false", False, None),
        ("n=-1.5", -1.5, None),
        ('name="7"', "7", None),
        ('a={"b": [1]}', {"b": [1]}, None),
        (f"n={2**64 - 1}", 2**64 - 1, None),
        ("name=Bob", "Bob", 'name is set to the text "Bob", since this is not JSON'),
        (
            "fail=False",
            "False",
            'fail is set to the text "False", since this is not JSON; for the JSON value, write fail=false',
        ),
        (
            "a.b=None",
            "None",
            'a.b is set to the text "None", since this is not JSON; for the JSON value, write a.b=null',
        ),
        ("x=", "", 'x is set to the text "", since this is not JSON'),
    ],
)
def test_what_a_value_is_taken_for(text: str, value: object, said: str | None) -> None:
    name, found, told = parse_field(text)
    assert (name, type(found), found, told) == (text.partition("=")[0], type(value), value, said)


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30])
def test_an_integer_beyond_64_bits_is_refused_and_not_changed(number: int) -> None:
    with pytest.raises(UsageError, match=f"the integer {number} does not fit into 64 bits"):
        parse_field(f"n={number}")
    with pytest.raises(UsageError, match=f"the integer {number} does not fit into 64 bits"):
        parse_field(f'n={{"deep": [{number}]}}')


@pytest.mark.parametrize("text", ["", "=1", "name"])
def test_a_field_needs_a_name_and_a_value(text: str) -> None:
    with pytest.raises(UsageError, match="write FIELD=VALUE"):
        parse_field(text)


def test_the_timeline_names_the_stops_at_which_a_record_waited(capsys: pytest.CaptureFixture[str]) -> None:
    segment = Segment(
        (7,),
        (b"{}",),
        1.0,
        (Visit("remind", 50.0, None, "signpost", 1),),
        outcome=Outcome.dead(Cause.EXPIRED),
        waits=Waits("ship", 60.0, 1),
        waited=(Waits("remind", 2.0, 3),),
    )
    print_letter(Letter(Envelope("signpost", Origin("source", 0), (segment,)), 90.0))
    lines = [line.split(" s  ")[-1] for line in capsys.readouterr().out.splitlines() if " s  " in line]
    assert lines == [
        "entered, by signpost",
        "began to wait at remind, 3 times in all",
        "remind",
        "began to wait at ship, 1 time in all",
        "dead after 0 hops on the bus",
    ]
