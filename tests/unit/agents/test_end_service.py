"""An end in another system is a stop, whose service answers for each record of a pack."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from metroline.agents.gateways import kinds
from metroline.agents.gateways.outside_end import (
    Answer,
    Delayed,
    EndUnavailable,
    EndWriter,
    Outgoing,
    OutsideEnd,
    RefusedByEnd,
)
from metroline.agents.membership.worker import LiveWorkers, WorkerInfo
from metroline.agents.services.line import Line
from metroline.agents.stops.open_resources import OpenResources
from metroline.app.cli import cli
from metroline.app.factory import create_app
from metroline.app.line_settings import LineSettings
from metroline.app.operations import publishing
from metroline.app.operations.permission import Permission
from metroline.app.operations.rules_process import RulesProcess
from metroline.app.settings import Settings
from metroline.app.testing.run import run_line, run_line_async
from metroline.app.views.rules.answers import answer_about
from metroline.app.views.rules.drafts import Draft
from metroline.routing.errors import InvalidLineOptions, InvalidRules
from metroline.routing.journeys.ends import End
from metroline.routing.meta import Meta
from metroline.routing.outcome import DeliveredAt, Retry
from metroline.routing.rules.table import RulesTable

SERVICES = """
from metroline import service

@service
def weigh(record):
    return record
"""

RULES = """
[[rules]]
after = "source"
to = "weigh"

[[rules]]
after = "weigh"
to = "shipped"
"""

OPTIONS = """
[ends.shipped]
kind = "shelf"
place = "left"
"""

META = Meta(None, {}, None, "source", 0, 0)


class Shelf(OutsideEnd):
    """An end that takes records with `good`, refuses those with `bad`, and delays all others."""

    place: str

    def open(self, name: str) -> AbstractAsyncContextManager[EndWriter]:
        return _open()


class ShelfWriter:
    async def write(self, pack: Sequence[Outgoing]) -> Sequence[Answer]:
        if any("away" in one.record for one in pack):
            raise EndUnavailable("it is away")
        if any("late" in one.record for one in pack):
            raise TimeoutError("of its own")
        if any("hangs" in one.record for one in pack):
            await asyncio.Event().wait()
        return [
            None if "good" in one.record else RefusedByEnd("it is bad") if "bad" in one.record else Delayed("full", 3.0)
            for one in pack
        ]


@asynccontextmanager
async def _open() -> AsyncIterator[EndWriter]:
    yield ShelfWriter()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("metroline.agents.services.line_options.END_KINDS", {**kinds.END_KINDS, "shelf": Shelf})
    (tmp_path / "services.py").write_text(SERVICES)
    (tmp_path / "routes.toml").write_text(RULES)
    (tmp_path / "line.toml").write_text(OPTIONS)
    return tmp_path


async def answers(folder: Path, *records: dict[str, Any]) -> list[Any]:
    """Return what the service of the end answers for records."""
    line = Line.load(str(folder))
    async with OpenResources(line.resources) as resources:
        service = await resources.connect(line.services["shipped"])
        handler = service.handler_of_all([str(number) for number in range(len(records))], [META] * len(records))
        found: list[Any] = await handler(list(records))
        return found


async def test_each_record_of_a_pack_has_its_own_answer(folder: Path) -> None:
    delivered, refused, delayed = await answers(folder, {"good": 1}, {"bad": 1}, {})

    assert delivered == DeliveredAt("shipped")
    assert isinstance(refused, RefusedByEnd)
    assert delayed == Retry("the end shipped: full", after=3.0)


async def test_all_records_wait_for_a_system_that_is_away(folder: Path) -> None:
    assert await answers(folder, {"good": 1}, {"away": 1}) == [Retry("the end shipped: it is away", after=5.0)] * 2


async def test_all_records_wait_for_a_system_that_never_answers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shelf, "patience", 0.05)

    found = await asyncio.wait_for(answers(folder, {"hangs": 1}, {"good": 1}), 60)

    assert found == [Retry("the end shipped: no answer within 0.05 s", after=5.0)] * 2


async def test_a_timeout_of_the_writer_itself_is_an_error(folder: Path) -> None:
    with pytest.raises(TimeoutError, match="of its own"):
        await answers(folder, {"late": 1})


async def test_an_end_in_order_writes_one_record_after_the_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shelf, "order", "customer")
    line = Line.load(str(folder))
    async with OpenResources(line.resources) as resources:
        service = await resources.connect(line.services["shipped"])

        assert (service.ordered, service.concurrency, service.batching) == ("customer", 1, None)
        assert await service.handler_of("0", META)({"good": 1}) == DeliveredAt("shipped")
        assert await service.handler_of("1", META)({}) == Retry("the end shipped: full", after=3.0)
        with pytest.raises(RefusedByEnd, match="it is bad"):
            await service.handler_of("2", META)({"bad": 1})

    assert (await run_line_async(str(folder), [{"away": 1}]))[0].end == "shipped"  # a trial writes nothing


def test_a_call_is_cancelled_before_it_would_use_up_an_attempt(folder: Path) -> None:
    end = Line.load(str(folder)).options.outside["shipped"]

    assert end.patience < end.timeout


@pytest.mark.parametrize(("chosen", "prefix"), [("", "shop"), ("orders", "orders")])
async def test_an_end_is_told_the_prefix_of_the_line(folder: Path, chosen: str, prefix: str) -> None:
    line = replace(Line.load(str(folder)), name="shop")
    service = LineSettings(prefix=chosen).as_run(line).services["shipped"]
    told: list[str] = []

    class Writer:
        async def write(self, pack: Sequence[Outgoing]) -> Sequence[Answer]:
            told.extend(one.prefix for one in pack)
            return [None] * len(pack)

    await service.handler([{}], ["source-0-1"], [META], **{"end:shipped": Writer()})

    assert told == [prefix]


def test_a_trial_writes_nothing_and_every_record_is_delivered_at_the_end(folder: Path) -> None:
    (folder / "line.toml").write_text(f'{OPTIONS}[ends.end]\nkey = "no_such_field"\n')
    journey = run_line(str(folder), [{"away": 1}])[0]

    assert (list(journey.stops), journey.outcome, journey.end) == (["weigh", "shipped"], "delivered", "shipped")


@pytest.mark.parametrize("has_line", [True, False])
def test_explain_delivers_at_the_end_with_and_without_the_services(folder: Path, has_line: bool) -> None:
    (folder / "line.toml").write_text(f'{OPTIONS}[ends.end]\nkey = "no_such_field"\n')
    (folder / "record.json").write_text("{}")
    given = ["explain", str(folder), str(folder / "record.json"), "--json", "-"]
    ended = CliRunner().invoke(cli, [*given, "--line", str(folder)] if has_line else given)

    steps = orjson.loads(ended.stdout)[0]["steps"]
    assert [(step["after"], step["verdict"]) for step in steps] == [
        ("source", "weigh"),
        ("weigh", "shipped"),
        ("shipped", "delivered at shipped"),
    ]


async def test_a_record_that_is_tried_on_the_page_of_the_rules_is_delivered_at_the_end(folder: Path) -> None:
    app = create_app(Settings(line=str(folder)))
    answer = await answer_about(app, RulesProcess(str(folder)), Draft(RULES, "{}"))

    assert [step.verdict for step in answer.steps or []] == ["weigh", "shipped", "delivered at shipped"]


def test_cases_can_expect_the_end(folder: Path) -> None:
    (folder / "cases.toml").write_text('[[cases]]\nname = "a"\nrecord = { a = 1 }\nend = "shipped"\n')
    ended = CliRunner().invoke(cli, ["test", str(folder)])

    assert ended.exit_code == 0, ended.output + ended.stderr


async def test_a_worker_for_trials_delivers_to_its_own_topic(folder: Path) -> None:
    (folder / "line.toml").write_text(f"{OPTIONS}[ends.end]\nformat = 'packed'\n")
    settings, loaded = LineSettings(end_topics="delivered"), Line.load(str(folder))
    line = settings.as_run(loaded)

    assert await line.services["shipped"].handler([{}, {}]) == [DeliveredAt("shipped")] * 2
    assert settings.ends(line)["shipped"] == settings.ends(line)["end"] == End(is_packed=True)
    assert settings.end_formats(line)["shipped"] == settings.end_formats(line)["end"]
    assert settings.topics(line).end("shipped") == f"{line.name}.delivered"
    assert LineSettings().ends(loaded)["shipped"] == End(is_outside=True)


AFTER = '[[rules]]\nafter = "shipped"\nto = "weigh"\n'
AFTER_PROBLEM = "rule 3: no rule may come after the end 'shipped', where journeys are over"


def test_no_rule_may_come_after_the_end(folder: Path) -> None:
    (folder / "routes.toml").write_text(RULES + AFTER)

    with pytest.raises(InvalidRules, match=AFTER_PROBLEM):
        Line.load(str(folder)).rules_table()
    with pytest.raises(InvalidRules, match=AFTER_PROBLEM):
        run_line(str(folder), [{}])
    for arguments in ([], ["--line", str(folder)]):
        ended = CliRunner().invoke(cli, ["check", str(folder / "routes.toml"), *arguments])
        assert ended.exit_code == 1
        assert AFTER_PROBLEM in ended.stderr


def test_a_table_is_checked_without_the_services_of_its_line(folder: Path) -> None:
    (folder / "services.py").unlink()
    (folder / "routes.toml").write_text(RULES + AFTER)

    ended = CliRunner().invoke(cli, ["check", str(folder / "routes.toml")])

    assert AFTER_PROBLEM in ended.stderr


def test_a_worker_announces_its_ends_in_kafka_and_elsewhere(folder: Path) -> None:
    app = create_app(Settings(line=str(folder)))
    told = app.describe(1.0, gone=False)

    assert told.ends == ("end", "shipped")


def worker(url: str, *parts: str, ends: tuple[str, ...] = ("end", "shipped")) -> WorkerInfo:
    """Return the announcement of a live worker."""
    stops, now = ("shipped", "weigh"), time.time()
    return WorkerInfo(f"{url}/1", "all", parts, stops, "signpost", url, 1, now, now, ends=ends)


async def publish(monkeypatch: pytest.MonkeyPatch, line: Line, text: str, *alive: WorkerInfo) -> None:
    """Publish a table where these workers are alive, as far as it is checked: there is no first version yet."""
    known = LiveWorkers()
    for one in alive:
        known.observe(orjson.dumps(one.as_json()))

    async def workers(*_: object) -> LiveWorkers:
        return known

    async def nothing(*_: object) -> None:
        return None

    monkeypatch.setattr(publishing, "live_workers", workers)
    monkeypatch.setattr(publishing, "read_published", nothing)
    table = RulesTable.parse(text, ends=line.ends)
    permission, grounds = Permission.of_command(), publishing.Grounds()
    await publishing.publish_table(Settings(), line, table, "routes.toml", permission, grounds)


async def test_a_table_with_a_rule_after_the_end_is_not_published(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidRules, match=AFTER_PROBLEM):
        await publish(monkeypatch, Line.load(str(folder)), RULES + AFTER, worker("http://a", "arrivals"))


async def test_a_table_is_not_published_while_the_arrivals_do_not_know_the_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line.load(str(folder))
    new, stop = worker("http://new", "arrivals"), worker("http://stop", "service:weigh", ends=("end",))

    with pytest.raises(publishing.NotPublished, match="no first version"):
        await publish(monkeypatch, line, RULES, new, stop)

    old = worker("http://old", "arrivals", ends=("end",))
    with pytest.raises(InvalidRules, match="rule 2: no end 'shipped' is known to http://old: restart"):
        await publish(monkeypatch, line, RULES, new, stop, old)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[ends.a]\nkind = 'shell'\n", "2: ends.a.kind: must be one of kafka, "),
        ("[ends.a]\nkind = 'shelf'\n", "1: ends.a.place: is missing"),
        (
            "[ends.a]\nkind = 'shelf'\nplaice = 'b'\nplace = 'c'\n",
            "3: ends.a.plaice: unknown key; there are kind",
        ),
        ("[ends.weigh]\nkind = 'shelf'\nplace = 'c'\n", "1: the end 'weigh' has the name of a service"),
        ("[ends.end]\nkind = 'shelf'\nplace = 'c'\n", "1: the end 'end' cannot be of the kind shelf"),
    ],
)
def test_options_that_are_wrong_are_named_with_their_line(folder: Path, text: str, problem: str) -> None:
    (folder / "line.toml").write_text(text)

    with pytest.raises(InvalidLineOptions) as refused:
        Line.load(str(folder))

    [told] = refused.value.problems
    assert told.startswith(f"{folder}/line.toml:{problem}")
