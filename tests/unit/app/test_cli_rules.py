"""`metroline rules diff` and `preview` tell what they found, in words, as JSON and by their exit codes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from metroline.agents.kafka.cluster import ClusterError
from metroline.agents.tables.publication import Publication
from metroline.app.cli import cli
from metroline.app.operations.publishing import Grounds, Published
from metroline.app.operations.rules_topic import PublishedRules
from metroline.app.preview.reading import Remembered
from metroline.app.preview.seen import Chosen, Seen, Shape
from metroline.routing.outcome import Ending
from metroline.routing.rules.table import RulesTable

OLD = """
[[rules]]
name = "customers who wait"
after = "source"
when = "days > 3"
to = "contact_point"

[[rules]]
name = "the others"
after = "source"
drop = "not yet"

[[rules]]
after = "contact_point"
to = "allow_list"

[[rules]]
after = "allow_list"
to = "log"
"""
NEW = OLD.replace("days > 3", "days > 5")


@pytest.fixture(autouse=True)
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to a folder with both tables, and give the commands a line that remembers some journeys."""
    monkeypatch.chdir(tmp_path)
    Path("old.toml").write_text(OLD)
    Path("new.toml").write_text(NEW)
    Path("broken.toml").write_text(OLD + "[[rules]]\n")
    current = PublishedRules(4, Publication(OLD, 0, "me", 5.0))

    async def remembered(*_: object) -> Remembered:
        way = (
            Chosen("contact_point", "customers who wait", 4),
            Chosen("allow_list", "rule 3", 4),
            Chosen("log", "rule 4", 4),
        )
        delivered, dropped = Shape(way, Ending.DELIVERED, "", None), Shape((), Ending.DROPPED, "not yet", "the others")
        journeys = [
            Seen(f"source-0-{days}", delivered if days > 3 else dropped, orjson.dumps({"days": days}), 1.0, 2.0)
            for days in range(8)
        ]
        return Remembered(current, {4: RulesTable.parse(OLD, 4)}, journeys, [], [], ["records that wait in the source"])

    monkeypatch.setattr("metroline.app.cli.rules.read_remembered", remembered)


def rules(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["rules", *arguments])


def test_the_difference_is_shown_by_a_record() -> None:
    shown = rules("diff", "old.toml", "new.toml").stdout
    assert '+when = "days > 5"' in shown
    after = shown.partition("decided differently:\n")[2].splitlines()
    assert after == [
        '  after source, {"days":4}',
        "    old.toml: contact_point (customers who wait)",
        "    new.toml: dropped: not yet (the others)",
    ]


def test_the_difference_is_written_as_json() -> None:
    written = json.loads(rules("diff", "old.toml", "new.toml", "--json", "-").stdout)
    [one] = written["meaning"]["differences"]
    assert (one["after"], one["record"], one["before"], one["to"]) == (
        "source",
        {"days": 4},
        "contact_point",
        "dropped: not yet",
    )


def test_a_table_with_another_text_may_decide_alike() -> None:
    Path("same.toml").write_text(OLD.replace("the others", "all others"))
    assert rules("diff", "old.toml", "same.toml").stdout.endswith("every record is decided alike: this is proven\n")


def test_what_a_table_with_problems_decides_is_not_compared() -> None:
    assert "what they decide is not compared" in rules("diff", "old.toml", "broken.toml").stdout
    assert json.loads(rules("diff", "old.toml", "broken.toml", "--json", "-").stdout)["meaning"] is None


def test_a_preview_tells_what_would_change() -> None:
    ended = rules("preview", "new.toml")
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert ended.stdout.startswith("8 journeys: 6 go the same way, 2 (25.0 %) another one, 0 are not decided\n")
    assert "  2 (25.0 %) newly dropped\n" in ended.stdout
    assert "contact_point (customers who wait)" in ended.stdout
    assert "source-0-4 source-0-5" in ended.stdout
    assert ended.stdout.endswith("not seen:\n  records that wait in the source\n")


def test_a_preview_is_written_as_json() -> None:
    written = json.loads(rules("preview", "new.toml", "--json", "-").stdout)
    assert (written["replaces"], written["journeys"]["dropped"], written["starved"]) == (4, 2, [])
    assert written["load"][0] == {"stop": "contact_point", "before": 4, "after": 2, "journeys": 2}


@pytest.mark.parametrize(("kinds", "code"), [("dropped", 1), ("unroutable,looping", 0), ("unroutable, changed", 1)])
def test_a_preview_fails_on_the_kinds_that_it_is_told(kinds: str, code: int) -> None:
    assert rules("preview", "new.toml", "--fail-on", kinds).exit_code == code


def test_a_kind_that_there_is_not_is_wrong_use() -> None:
    ended = rules("preview", "new.toml", "--fail-on", "droped")
    assert ended.exit_code == 2
    assert "'droped' is none of changed, dropped" in ended.stderr
    assert "did you mean 'dropped'?" in ended.stderr


def test_a_table_with_problems_has_no_preview() -> None:
    ended = rules("preview", "broken.toml")
    assert ended.exit_code == 1
    assert "broken.toml:" in ended.stderr


def test_a_stop_that_no_service_serves_is_named_with_its_line() -> None:
    Path("far.toml").write_text(OLD.replace('to = "log"', 'to = "moon"'))
    ended = rules("preview", "far.toml")
    assert ended.exit_code == 1
    assert "no service serves the stop 'moon'" in ended.stderr


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[Grounds]:
    """Publish nothing, and return the grounds of the tables that would have been published."""
    grounds: list[Grounds] = []

    async def publish(*arguments: object) -> Published:
        grounds.extend(one for one in arguments if isinstance(one, Grounds))
        return Published(5, 4, [])

    async def versions(*_: object) -> AsyncIterator[PublishedRules]:
        yield PublishedRules(1, Publication(OLD, 0, "me", 5.0, "it\nbegins"))

    async def current(*_: object) -> PublishedRules:
        return PublishedRules(4, Publication(OLD, 0, "me", 5.0))

    monkeypatch.setattr("metroline.app.cli.rules.publish_table", publish)
    monkeypatch.setattr("metroline.app.cli.rules.read_published", current)
    monkeypatch.setattr("metroline.app.cli.rules.published_versions", versions)
    return grounds


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["publish", "new.toml", "--reason", " days were too few "], "days were too few"),
        (["publish", "new.toml"], ""),
        (["rollback", "1"], "back to version 1"),
        (["rollback", "1", "--reason", "orders were lost"], "orders were lost"),
    ],
)
def test_the_reason_is_published(published: list[Grounds], arguments: list[str], reason: str) -> None:
    assert rules(*arguments).exit_code == 0
    assert [one.reason for one in published] == [reason]


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("arguments", [["publish", "new.toml"], ["rollback", "1"]])
def test_what_is_replaced_is_the_version_that_was_current_when_the_command_started(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[object] = []

    async def current(*_: object) -> PublishedRules:
        order.append("read")
        return PublishedRules(7, Publication(OLD, 0, "me", 5.0))

    async def publish(*given: object) -> Published:
        order.append(given[-1])
        return Published(8, 7, [])

    monkeypatch.setattr("metroline.app.cli.rules.read_published", current)
    monkeypatch.setattr("metroline.app.cli.rules.publish_table", publish)

    def asked() -> str:
        order.append("reason")
        return "it is better"

    monkeypatch.setattr("metroline.app.cli.rules._asked", asked)
    assert rules(*arguments, "--no-forecast").exit_code == 0
    assert [one for one in order if one != "reason"] == ["read", 7]
    assert order[0] == "read"


def test_a_reason_that_is_too_long_is_wrong_use(published: list[Grounds]) -> None:
    ended = rules("publish", "new.toml", "--reason", 1_001 * "a")
    assert (ended.exit_code, published) == (2, [])
    assert "it has 1,001 characters, the maximum is 1,000" in ended.stderr


@pytest.mark.usefixtures("published")
def test_the_history_shows_the_reason_in_one_line() -> None:
    assert "it begins" in rules("history").stdout
    assert json.loads(rules("history", "--json", "-").stdout)[0]["reason"] == "it\nbegins"


def test_a_forecast_is_published_with_the_table(published: list[Grounds]) -> None:
    assert rules("publish", "new.toml").stderr == ""
    assert rules("publish", "new.toml", "--no-forecast").stderr == ""
    [first, second] = [one.forecast for one in published]
    assert first is not None
    assert (first.journeys, first.changed, first.outcomes) == (8, 2, {"dropped: not yet": 6, "delivered": 2})
    assert second is None


def test_a_table_is_published_without_a_forecast_that_cannot_be_made(
    published: list[Grounds], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object) -> Remembered:
        raise ClusterError("the topic may not be read")

    monkeypatch.setattr("metroline.app.cli.rules.read_remembered", refused)
    ended = rules("publish", "new.toml")
    assert (ended.exit_code, ended.stderr) == (0, "no forecast is kept with the table: the topic may not be read\n")
    assert [one.forecast for one in published] == [None]
