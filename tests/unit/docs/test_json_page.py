"""docs/json.md describes what every command with `--json` writes, field by field."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from aiokafka import TopicPartition
from click.testing import CliRunner
from msgspec import to_builtins

from metroline.agents.formats.format_check import FormatProblem
from metroline.agents.kafka.topic_problems import TopicProblem
from metroline.agents.tables.forecast import Forecast
from metroline.agents.tables.publication import Publication
from metroline.app.cli import cli
from metroline.app.cli.live.events import Changed, Counts, Ended, Event, LiveWorker, Output, Problem, Refused, Started
from metroline.app.compare.comparison import Comparison, Latency, Pace, Run
from metroline.app.operations.journeys.whereabouts import Whereabouts
from metroline.app.operations.letter import Group, Letter
from metroline.app.operations.letter_journal import LetterEntry
from metroline.app.operations.publishing import Published
from metroline.app.operations.replay_jobs import job_as_json
from metroline.app.operations.rules_history import history_of
from metroline.app.preview.preview import preview
from metroline.app.preview.seen import Seen, Shape
from metroline.app.preview.ways import NewTable, NewWay, Turn, Unknown
from metroline.app.provisioning import Inspection
from metroline.routing.journeys.replay_job_messages import Ask, Wish
from metroline.routing.journeys.replay_job_messages import Start as StartJob
from metroline.routing.journeys.replay_jobs import Job
from metroline.routing.journeys.timeline import timeline
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Attempts, Replan, Replay, Segment, Visit, Waits
from metroline.routing.outcome import Cause, Ending, Outcome
from metroline.routing.rules.meaning.difference import difference
from metroline.routing.rules.table import RulesTable
from tests.support.pages import page
from tests.support.project import ROOT

SECTIONS = dict(re.findall(r"^## metroline (.+?)\n(.*?)(?=^## |\Z)", page("json.md").text, re.M | re.S))
METROBUS = ROOT / "agents" / "lines" / "metrobus"


def commands(group: click.Group, *names: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        below = group.get_command(context, name)
        if isinstance(below, click.Group):
            yield from commands(below, *names, name)
        elif below is not None:
            yield " ".join([*names, name]), below


def has_json(command: click.Command) -> bool:
    return any("--json" in option.opts for option in command.params)


def undescribed(section: str, found: Any, free: frozenset[str] = frozenset()) -> set[str]:
    """Return the names of fields, at any depth, that a section of the page does not have.

    `free` are fields whose values have names that users choose, such as those of a record.
    """
    if isinstance(found, (list, tuple)):
        return {name for one in found for name in undescribed(section, one, free)}
    if not isinstance(found, dict):
        return set()
    below = {name for key, one in found.items() if key not in free for name in undescribed(section, one, free)}
    return below | {name for name in found if f"`{name}`" not in SECTIONS[section]}


CHOSEN_BY_USERS = frozenset({"match", "record", "sets", "read", "value", "routes", "ends", "still_dead", "would_go"})
"""Fields that hold objects whose names are fields of records, routes, ends or ids."""


def test_every_command_with_json_has_a_section_and_no_other() -> None:
    assert set(SECTIONS) == {name for name, command in commands(cli) if has_json(command)}


def test_the_commands_without_json_are_those_that_the_page_names() -> None:
    without = {name for name, command in commands(cli) if not has_json(command)}
    [sentence] = re.findall(r"^Only (.*) have no `--json`", page("json.md").text, re.M)
    assert set(re.findall(r"`metroline (.+?)`", sentence)) == without


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOOKUP_DIR", str(tmp_path / "kept"))
    (tmp_path / "a.csv").write_text("key,n\na,1\n")
    (tmp_path / "one.json").write_text('{"account_number": 1}')
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("section", "arguments"),
    [
        ("check", ["check", str(METROBUS)]),
        ("explain", ["explain", str(METROBUS), "one.json"]),
        ("lookup list", ["lookup", "build", "a", "a.csv", "--key", "key"]),
        ("lookup get", ["lookup", "get", "a", "a"]),
        ("lookup list", ["lookup", "list"]),
        ("doctor", ["doctor", "--line", "no.such.line"]),
        ("new", ["new", "orders"]),
    ],
)
def test_the_fields_that_a_command_writes_are_described(section: str, arguments: list[str]) -> None:
    if section.startswith("lookup"):
        CliRunner().invoke(cli, ["lookup", "build", "a", "a.csv", "--key", "key"])
    written = json.loads(CliRunner().invoke(cli, [*arguments, "--json", "-"]).stdout)
    assert written
    assert undescribed(section, written, CHOSEN_BY_USERS) == set()


@pytest.mark.usefixtures("folder")
def test_the_fields_of_test_results_are_described() -> None:
    results = json.loads(CliRunner().invoke(cli, ["test", str(METROBUS), "--json", "-"]).stdout)
    assert len(results) > 4
    assert undescribed("test", results, CHOSEN_BY_USERS) == set()


def test_the_fields_of_a_check_of_topics_and_formats_are_described(monkeypatch: pytest.MonkeyPatch) -> None:
    async def inspected(*_: Any, **__: Any) -> Inspection:
        return Inspection(1, 1, [TopicProblem("a", "a is odd", "mend it")], ["b"])

    async def checked(*_: Any) -> list[FormatProblem]:
        return [FormatProblem(None, "SOURCE_FORMAT", "no schema")]

    monkeypatch.setattr("metroline.app.provisioning.inspect", inspected)
    monkeypatch.setattr("metroline.app.operations.format_checks.check_line", checked)
    written = json.loads(CliRunner().invoke(cli, ["check", str(METROBUS), "--broker", "--json", "-"]).stdout)
    assert (written["topics"]["problems"][0]["topic"], written["formats"]["usable"]) == ("a", False)
    assert undescribed("check", written, CHOSEN_BY_USERS) == set()


def test_the_fields_of_a_hand_over_are_described(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handed_over(*_: Any) -> dict[str, Any]:
        return {"line@all": {TopicPartition("line.arrivals", 0): 7}}

    monkeypatch.setattr("metroline.app.cli.worker.hand_over_offsets", handed_over)
    written = json.loads(CliRunner().invoke(cli, ["hand-over", "--to", "all", "--json", "-"]).stdout)
    assert undescribed("hand-over", list(written.values())) == set()


def test_the_fields_of_dead_letters_are_described() -> None:
    segment = Segment(
        (7,),
        (b"{}",),
        1.0,
        (Visit("ship", 2.0, None, "signpost", 1),),
        outcome=Outcome.dead(Cause.EXPIRED),
        attempts=Attempts("ship", ("x",), 1.0),
        retried=(Attempts("pack", ("y",), 1.0, (), (1.0,)),),
        replans=(Replan("pack", ("n",)),),
        waits=Waits("ship", 1.0, 1),
        replays=(Replay(1.0, "me", "why"),),
    )
    told = Letter(Envelope("signpost", Origin("source", 0), (segment,)), 3.0).as_json()
    assert told["waits"]
    assert undescribed("dead-letters show", told, CHOSEN_BY_USERS) == set()
    group = Group("4be3b2", ("ship", "expired"), "x", 1, 0.0, 0.0, "source-0-7").as_json()
    assert undescribed("dead-letters list", group) == set()


def test_the_fields_of_journeys_are_described() -> None:
    visits = (Visit("price", 2.0, "all", "on-ramp", 1, 0.5), Visit("ship", 3.0, "all", "switch", 1))
    segment = Segment(
        (7,),
        (b"{}",),
        1.0,
        visits,
        outcome=Outcome.dead(Cause.EXPIRED),
        attempts=Attempts("ship", ("x",), 1.0),
        waited=(Waits("price", 1.0, 1),),
        replans=(Replan("price", ("n",)),),
        replays=(Replay(1.0, "me", "why"),),
    )
    table = RulesTable.parse('[[rules]]\nname = "all"\nafter = "source"\nto = "price"\n', 1)
    told = to_builtins(timeline(Envelope("signpost", Origin("source", 0), (segment,)), 3.0, lambda _: table, b"{}"))
    assert told["places"][0]["decided"]["tried"]
    assert undescribed("trace", told, CHOSEN_BY_USERS) == set()
    where = to_builtins(Whereabouts("source", "it waits"))
    done = to_builtins(LetterEntry(1.0, "replay", "me", "", 0, None, None, None, False, [], None))
    assert undescribed("trace", {"id": "", "journeys": [], "whereabouts": where, "done": [done]}) == set()


def test_the_fields_of_a_replay_job_are_described() -> None:
    job = Job(StartJob(job="0123456789", at=1.0, by="me", group="4be3b2"))
    job.asks.append((1, Ask(order=uuid.uuid4().hex, job="0123456789", wish=Wish.PAUSE, at=2.0, by="me")))
    assert undescribed("dead-letters jobs", job_as_json(job), CHOSEN_BY_USERS) == set()


def test_the_fields_of_rules_are_described() -> None:
    publication = Publication('[[rules]]\nafter = "source"\nto = "end"\n', 0, "me", 1.0)
    assert undescribed("rules show", {"version": 1} | publication.as_json()) == set()
    assert undescribed("rules history", to_builtins(history_of([(1, publication)]))) == set()
    table = RulesTable.parse('[[rules]]\nafter = "source"\ndrop = "all"\n')
    seen = Seen("source-0-1", Shape((), Ending.DELIVERED, "", None), b"{}", 1.0, 2.0)
    unknown = NewWay((), "delivered", is_supposed=True, unknown=Unknown.CUT, unknown_after="source")
    ways = [NewWay(("a",), "delivered", Turn("source", "delivered", None, "a", "b")), unknown]
    told = preview(NewTable(table, {}), 1, [(seen, way) for way in ways], [], ["this"])
    told_meaning = to_builtins(difference(table, RulesTable.parse('[[rules]]\nafter = "source"\nto = "a"\n')))
    forecast = to_builtins(Forecast(1, 1, 0, {"delivered": 1}, {"a": 1}))
    free = frozenset({"outcomes", "visits"})
    assert undescribed("rules show", {"forecast": forecast, "reason": ""}, free) == set()
    assert undescribed("rules diff", {"meaning": told_meaning}, CHOSEN_BY_USERS) == set()
    assert undescribed("rules preview", to_builtins(told)) == set()
    assert undescribed("rules publish", Published(2, 1, []).as_json()) == set()


EVENTS: list[Event] = [
    Started(
        "orders", "signpost", "kafka://a:1", "orders.source", (LiveWorker(1, "http://a", "log"),), "push", "publish"
    ),
    Output("price", "a line", "log"),
    Counts(),
    Changed(("a.py",), (LiveWorker(2, "http://a", "log"),), 2, True, 1.0),
    Refused(("a.py",), ("a problem",), True),
    Problem("note", "a note"),
    Ended(Counts(), None),
]


def test_every_event_of_up_is_described_with_its_fields() -> None:
    assert {event.name for event in EVENTS} == {kind.name for kind in Event.__subclasses__()}
    paragraphs = dict(re.findall(r"^`(\w+)`: (.*?)(?=^`\w+`: |\Z)", SECTIONS["up"], re.M | re.S))
    assert list(paragraphs) == [event.name for event in EVENTS]
    for event in EVENTS:
        fields_of_one = {name for name in event.as_json() if name != "event"}
        assert {name for name in fields_of_one if f"`{name}`" not in paragraphs[event.name]} == set()
    assert undescribed("up", [event.as_json() for event in EVENTS]) == set()


def test_the_fields_of_a_comparison_are_described() -> None:
    routes = {"price>ship": {Ending.DELIVERED: 3, Ending.DROPPED: 1, Ending.DEAD: 1}}
    latency, pace = Latency(1.0, 2.0), Pace(20.0, 1.0, 0.0, False)
    run = Run("signpost", True, 5, 3, 1, 1, 0, 9.0, latency, pace, 20.0, 2.0, 1.0, 900.0, 0.1, routes, {"paid": 1})
    written = Comparison("orders", 5, "embedded", [run], True, []).as_json()
    assert undescribed("compare", written, CHOSEN_BY_USERS) == set()
    assert undescribed("compare", list(routes.values())) == set()
