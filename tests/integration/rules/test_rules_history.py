"""Earlier versions of a line's rules: listed, shown, compared, and told from each other in scripts."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.agents.services.line import Line
from metroline.agents.tables.publication import Publication
from metroline.app.cli import cli
from metroline.app.operations.permission import Permission
from metroline.app.operations.rules_topic import publish
from metroline.app.settings import Settings
from tests.support.brokers import Broker

FIRST = Line.load("metroline.agents.lines.metrobus").rules_text
SECOND = f"# changed\n{FIRST}"
AT = 1_700_000_000.5


async def published(broker: Broker) -> None:
    """Publish two versions, one that lost a race, and the first one again."""
    cluster = Cluster.at(broker.url)
    topics = Settings.read().topics(Line.load("metroline.agents.lines.metrobus"))
    await TopicAdmin(cluster).create([TopicPlan(topics.rules, 1)])
    for text, replaces, by in ((FIRST, 0, "the file"), (SECOND, 1, "ann"), (FIRST, 1, "late"), (FIRST, 2, "bob")):
        await publish(cluster, topics, Publication(text, replaces, by, AT), Permission.of_command())


@pytest.fixture
def folder(broker: Broker, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with two tables in files, after the versions were published."""
    for name, value in {"BROKER_URL": broker.url, "PREFIX": prefix, "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    asyncio.run(published(broker))
    (tmp_path / "routes.toml").write_text(FIRST)
    (tmp_path / "changed.toml").write_text(SECOND)
    return tmp_path


def rules(*words: str) -> Result:
    return CliRunner().invoke(cli, ["rules", *words])


def answered(*words: str) -> Any:
    done = rules(*words, "--json", "-")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.usefixtures("folder")
def test_earlier_versions_are_listed_shown_and_compared() -> None:
    listed = answered("history")
    assert [(one["version"], one["replaces"], one["by"], one["same_as"], one["current"]) for one in listed] == [
        (4, 2, "bob", 1, True),
        (2, 1, "ann", None, False),
        (1, 0, "the file", None, False),
    ]
    assert [(one["added"], one["removed"]) for one in listed[:2]] == [(0, 1), (1, 0)]
    assert {one["rules"] for one in listed} == {8}
    assert "current, same as 1" in rules("history").stdout

    assert rules("show", "--version", "2").stdout == (
        f"# version 2, published by ann at 2023-11-14T22:13:20+00:00\n{SECOND}"
    )
    assert rules("show").stdout.startswith("# version 4, published by bob at ")
    unknown = rules("show", "--version", "3")
    assert (unknown.exit_code, unknown.stderr) == (
        2,
        "error: there is no version 3; there are 1, 2, 4: see `metroline rules history`\n",
    )


@pytest.mark.usefixtures("folder")
def test_a_difference_is_an_exit_code_for_scripts() -> None:
    changed = rules("diff", "1", "2", "--exit-code")
    assert changed.exit_code == 1
    assert changed.stdout.splitlines()[:2] == ["--- version 1", "+++ version 2"]
    assert "+# changed" in changed.stdout.splitlines()
    assert rules("diff", "1", "2").exit_code == 0
    same = rules("diff", "1", "4", "--exit-code")
    assert (same.exit_code, same.stdout) == (0, "version 4 is the same as version 1\n")

    assert rules("diff", "routes.toml", "--exit-code").exit_code == 0
    told = answered("diff", "changed.toml")
    assert (told["from"], told["to"], told["same"]) == ("version 4", "changed.toml", False)
    assert "-# changed" in answered("diff", "2", "routes.toml")["lines"]
    assert rules("diff", "no.toml").exit_code == 2


@pytest.mark.usefixtures("folder")
def test_publishing_what_is_there_already_does_nothing_and_needs_no_worker() -> None:
    for words in (["publish", "routes.toml"], ["rollback", "1"], ["rollback", "4"]):
        done = rules(*words)
        assert (done.exit_code, done.stdout) == (0, "version 4 is this table already: nothing was published\n")
    assert answered("publish", "routes.toml") == {"published": False, "version": 4, "replaces": None, "warnings": []}
    assert len(answered("history")) == 3

    refused = rules("rollback", "2")
    assert refused.exit_code == 1
    assert "no worker of the line" in refused.stderr
