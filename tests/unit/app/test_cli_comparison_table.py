"""The table of `metroline compare`, and the sentences below it."""

from __future__ import annotations

import io
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from rich.console import Console

from metroline.app.cli.comparison_table import print_comparison
from metroline.app.cli.rate import HIGHEST, RateType
from metroline.app.compare.comparison import Comparison, Pace
from tests.support.comparisons import comparison, run


def printed(found: Comparison, results: Path | None = None) -> str:
    output = io.StringIO()
    print_comparison(found, Console(file=output, width=140), results)
    return output.getvalue()


def test_one_strategy_claims_no_agreement() -> None:
    text = printed(comparison(run("signpost")))
    assert "one strategy was run, every sum adds up" in text
    assert "same outcome" not in text
    assert "strategies" not in text


def test_results_are_offered_where_records_are_dead_and_named_where_they_were_written() -> None:
    found = comparison(replace(run("signpost"), dead=1))
    assert "dead: --results DIR writes the outcome of every record" in printed(found)
    written = printed(found, Path("results"))
    assert "results: the outcome of every record is in results" in written
    assert "--results" not in written


def test_several_strategies_are_counted() -> None:
    assert "same outcome: every record went the same way under 4 strategies, every sum adds up" in printed(comparison())


def test_what_services_make_different_is_named_and_changes_no_verdict() -> None:
    text = printed(replace(comparison(), unsteady=["the service stamp is not deterministic"]))
    assert "not compared: the service stamp is not deterministic" in text
    assert "under 4 strategies, apart from what is not compared, every sum adds up" in text


def test_chaining_counts_a_strategy_once() -> None:
    both = printed(comparison(run("signpost"), run("signpost", chaining=True)))
    assert "signpost, chained" in both
    assert "every record went the same way, with chaining and without, every sum adds up" in both


def test_what_did_not_keep_up_stands_in_the_table_and_below_it() -> None:
    behind = replace(run("signpost"), pace=Pace(3_000, 0.41, 4.13, growing=True))
    text = printed(comparison(behind, replace(run("conductor"), pace=Pace(3_000, 1.0, 0.0, growing=False))))
    assert "no: 41 %" in text
    assert "yes" in text
    assert "signpost did not keep up with 3,000 records/s: 41 % of the records had an outcome in time" in text


def test_the_highest_rate_replaces_the_pace() -> None:
    runs = (
        replace(run("signpost"), highest_rate=8_200.0),
        replace(run("conductor"), highest_rate=0.0, latency_ms=None),
    )
    text = printed(comparison(*runs))
    assert "8,200" in text
    assert "none" in text
    assert "conductor held no rate that was tried" in text


@click.command()
@click.option("--rate", type=RateType())
def example(rate: float) -> None:
    click.echo("highest" if rate == HIGHEST else f"{rate:g}")


@pytest.mark.parametrize(("value", "read"), [("100", "100"), ("0.5", "0.5"), ("max", "highest")])
def test_a_rate_is_a_number_or_the_highest(value: str, read: str) -> None:
    assert CliRunner().invoke(example, ["--rate", value]).output.strip() == read


@pytest.mark.parametrize("value", ["fast", "0", "-3", "inf", "nan"])
def test_what_is_no_rate_is_refused_with_what_it_may_be(value: str) -> None:
    ended = CliRunner().invoke(example, ["--rate", value])
    assert ended.exit_code == 2
    assert "`max`" in ended.output
