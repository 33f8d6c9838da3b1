"""The search of a strategy for its highest rate: which workers are used again, and what is returned."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topics import Topics
from metroline.agents.services.line import Line
from metroline.app.compare.comparison import Latency, Pace
from metroline.app.compare.plan import Plan
from metroline.app.compare.rate_run import Messages, RateRun
from metroline.app.compare.strategy_run import StrategyRun
from metroline.app.compare.strategy_workers import worker_environment
from metroline.app.compare.variant import Variant, variants
from metroline.app.line_settings import InvalidSettings
from metroline.app.settings import Settings
from metroline.routing.errors import InvalidRules
from metroline.routing.journeys.ends import End

TABLE = '[[rules]]\nafter = "source"\ndrop = "none is kept"\n'
PLAN = Plan("line", "10", ("signpost", "conductor"), "kafka://localhost", "kafka", {}, finds_highest_rate=True)


@dataclass(slots=True)
class FakeWorkers:
    """Workers that keep up to a rate, and whose latency grows with it."""

    capacity: float
    p99_ms: Callable[[float], float] = lambda rate: 10.0
    starts: list[list[float]] = field(default_factory=list)

    @asynccontextmanager
    async def warm(self, messages: Messages) -> AsyncIterator[RateRun]:
        self.starts.append([])
        yield cast(RateRun, self)

    async def at(self, rate: float, seconds: float) -> tuple[Pace, Latency]:
        self.starts[-1].append(rate)
        keeps_up = rate <= self.capacity
        return Pace(rate, 1.0 if keeps_up else 0.5, 0.0 if keeps_up else 3.0, not keeps_up), Latency(
            1.0, self.p99_ms(rate)
        )


async def searched(
    workers: FakeWorkers, monkeypatch: pytest.MonkeyPatch, start: float = 500
) -> tuple[float, Pace | None, Latency | None]:
    monkeypatch.setattr(StrategyRun, "_warm", workers.warm)
    run = StrategyRun(Variant("signpost"), PLAN, cast(Cluster, None), "prefix", Path(), lambda *_: None, lambda: None)
    return await run.highest_rate([(b"{}", 1)], start)


async def test_the_figures_are_those_at_the_highest_rate_that_was_held(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = FakeWorkers(1_500)
    highest, pace, latency = await searched(workers, monkeypatch)
    assert 1_500 / 1.15 <= highest <= 1_500
    assert pace is not None
    assert pace.rate == highest
    assert latency is not None


async def test_workers_that_fell_behind_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = FakeWorkers(1_500)
    await searched(workers, monkeypatch)
    assert len(workers.starts) > 1
    for rates in workers.starts:
        assert all(rate <= 1_500 for rate in rates[:-1])


async def test_a_rate_with_a_late_percentile_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = FakeWorkers(1e9, lambda rate: 499 if rate <= 700 else 501)
    highest, _, latency = await searched(workers, monkeypatch)
    assert highest <= 700
    assert latency == Latency(1.0, 499)
    assert len(workers.starts) == 1, "they kept up"


async def test_a_strategy_that_holds_no_rate_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await searched(FakeWorkers(1), monkeypatch) == (0.0, None, None)


def test_every_hop_goes_through_the_bus_unless_chaining_is_compared() -> None:
    (first, *others) = variants(PLAN)
    assert (first.name, first.environment) == ("signpost", {"ROUTING_STRATEGY": "signpost", "CHAINING": "off"})
    assert [variant.name for variant in others] == ["conductor"]


def test_chaining_compares_each_strategy_both_ways() -> None:
    both = Plan("line", "10", ("signpost",), "kafka://localhost", "kafka", {}, chaining=True)
    assert [(variant.slug, variant.environment["CHAINING"]) for variant in variants(both)] == [
        ("signpost", "off"),
        ("signpost-chained", "stops"),
    ]
    assert [variant.at_a_rate for variant in variants(both)] == [{}, {"CHAINING": "on"}]


def test_a_worker_writes_to_no_topics_but_those_of_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "services.py").write_text(
        "from metroline import service\n\n\n@service\ndef ship(record):\n    return record\n"
    )
    (folder / "routes.toml").write_text('[[rules]]\nafter = "source"\nto = "shipped"\n')
    (folder / "line.toml").write_text(
        '[source]\ntopic = "in"\n[ends.shipped]\ntopic = "out"\n[ends.end]\ntopic = "rest"\n'
    )
    variables = worker_environment(Variant("signpost"), PLAN, Topics("run", "run.source"), {})
    for name, value in (variables | {"LINE": str(folder)}).items():
        monkeypatch.setenv(name, value)

    settings, line = Settings.read(), Line.load(str(folder))

    topics = settings.topics(line)
    assert (topics.source, topics.end("shipped"), topics.delivered) == ("run.source", "run.delivered", "run.delivered")
    assert all(plan.name.startswith("run.") for plan in topics.plans(1, line.stops, 1))
    assert set(settings.ends(line).values()) == {End(is_packed=True)}


def test_workers_run_by_the_rules_of_the_comparison(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(TABLE)
    variables = worker_environment(Variant("signpost"), PLAN, Topics("run", "run.source"), {}, str(rules))
    assert variables["RULES_FILE"] == str(rules)
    line = Settings(rules_file=str(rules)).as_run(Line.load("metroline.agents.lines.metrobus"))
    assert (line.rules_text, line.rules_table().text) == (TABLE, TABLE)
    planned = replace(PLAN, where="metroline.agents.lines.metrobus", rules="[[rules]]", rules_name="new.toml")
    with pytest.raises(InvalidRules, match=r"^new\.toml:1"):
        planned.load_line().rules_table()


def test_a_file_of_rules_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    settings = Settings(rules_file=str(tmp_path / "none.toml"))
    with pytest.raises(InvalidSettings, match=r"RULES_FILE: .*none\.toml cannot be read"):
        settings.as_run(Line.load("metroline.agents.lines.metrobus"))
