"""The report of a comparison: complete, self-contained, and clear about whether the strategies agree."""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ET

from msgspec.structs import replace

from metroline.app.compare.comparison import Pace
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable
from metroline.routing.strategies import STRATEGIES
from tests.support.comparisons import COMMAND, comparison, differing, drawings, outcomes, report, run
from tests.support.html_reader import HtmlReader


def words(page: str) -> str:
    return HtmlReader(page).words


def test_every_figure_of_every_strategy_is_in_it() -> None:
    text = words(report(comparison()))
    for number, strategy in enumerate(STRATEGIES):
        shown = [
            strategy,
            f"{40 + number}",
            f"{20_001 + number:,}",
            f"{11.1 + number:.1f}",
            f"{91.1 + number:.1f}",
            f"{3.25 + number:.2f}",
            f"{0.0125 + number:.4f}",
            f"{4_321 + number:,}",
            f"{0.77 + number:.2f}",
        ]
        assert [figure for figure in shown if figure not in text] == []
    for count in ("100,000", "91,234", "8,000", "766"):
        assert count in text


def test_every_strategy_says_where_the_table_is_consulted() -> None:
    text = words(report(comparison()))
    for strategy in STRATEGIES.values():
        assert (strategy.__doc__ or "").split("\n")[0] in text


def test_the_same_outcome_is_the_verdict() -> None:
    text = words(report(comparison()))
    assert "Same outcome under all strategies" in text
    assert "sent = delivered + dropped + dead" in text


def test_differences_are_the_verdict_and_stand_out_in_the_table() -> None:
    third = replace(run("signpost"), delivered=0, dropped=99_234)
    found = differing(
        comparison(run("hard_wired"), run("conductor"), third),
        "record 7: rating under hard_wired, no stop under signpost",
        "<b>2 more</b>",
    )
    page = report(found)
    text = words(page)
    assert "Same outcome" not in text
    assert "The outcome differs between strategies" in text
    assert "record 7: rating under hard_wired, no stop under signpost" in text
    assert "<b>2 more</b>" in text
    assert page.count('<td data-label="dropped" class="differs">99,234</td>') == 1


def test_a_single_run_claims_no_agreement() -> None:
    text = words(report(comparison(run("map_maker"))))
    assert "Same outcome under all strategies" not in text
    assert "nothing to compare it with" in text
    assert "one strategy" in text
    assert "conductor" not in text.replace("Process Manager", "").split("How it was measured")[0]


def test_a_single_run_whose_sums_are_wrong_says_so() -> None:
    text = words(report(differing(comparison(run("map_maker")), "map_maker: sent 100000 does not equal ...")))
    assert "do not add up" in text
    assert "map_maker: sent 100000 does not equal ..." in text


def test_latency_that_was_not_measured_is_not_shown_as_a_figure() -> None:
    page = report(comparison(*(replace(run(strategy), latency_ms=None) for strategy in STRATEGIES)))
    assert 'data-label="p50 ms"' not in page
    assert "Latency was not measured" in words(page)


def test_a_strategy_that_did_not_keep_up_is_named_in_words() -> None:
    behind = Pace(3_000.0, 0.41, 4.13, growing=True)
    text = words(report(comparison(run("conductor"), replace(run("signpost"), pace=behind))))
    assert "Did not keep up" in text
    assert "signpost did not keep up with 3,000 records/s: 41 % of the records had an outcome in time" in text
    assert "Same outcome under all strategies" in text


def test_nothing_is_said_of_pace_where_every_strategy_kept_up() -> None:
    kept_up = [replace(run(strategy), pace=Pace(100.0, 1.0, 0.0, growing=False)) for strategy in STRATEGIES]
    assert "Did not keep up" not in words(report(comparison(*kept_up)))


def test_the_highest_rate_has_a_column_and_a_chart() -> None:
    runs = [replace(run(strategy), highest_rate=1_234.0 + number) for number, strategy in enumerate(STRATEGIES)]
    page = report(comparison(*runs))
    assert 'data-label="highest rate/s">1,236' in page
    assert "Highest rate held, records per second" in page
    assert "Highest rate held" not in report(comparison())


def test_chaining_stands_beside_every_hop_on_the_bus() -> None:
    both = (run("signpost"), run("signpost", chaining=True))
    text = words(report(comparison(*both)))
    assert "one strategy" in text
    assert "signpost, chained" in text
    assert "Same outcome with chaining and without" in text
    assert "With chaining and without, each record visited the same stops" in text


def test_it_says_how_it_was_measured() -> None:
    text = words(report(comparison()))
    for fact in (COMMAND, "a machine with 8 CPUs", "3.11.9", "2026-05-06 07:08 UTC", "embedded broker"):
        assert fact in text
    assert "A hop is one record written to the bus once" in text
    assert "CPU time of the worker processes alone" in text


def test_it_stands_alone() -> None:
    page = report(comparison())
    assert re.findall(r"https?://[^\"' ]*", page.replace("http://www.w3.org/2000/svg", "")) == []
    assert not re.search(r"\bsrc=|@import|url\(|<script|<iframe", page)
    assert re.findall(r'href="([^"]*)"', page) == ["data:,"]


def test_its_drawings_are_valid_xml_with_a_title_and_a_description() -> None:
    found = [ET.fromstring(svg) for svg in drawings(report(comparison()))]
    assert len(found) == 5
    for drawing in found:
        names = [element.tag.rpartition("}")[2] for element in drawing]
        assert names[:2] == ["title", "desc"]
        assert all(drawing[index].text for index in (0, 1))


def test_what_people_wrote_is_text_wherever_it_is_shown() -> None:
    hostile = "<script>alert('x')</script>&\"\x07"
    found = replace(
        comparison(replace(run("hard_wired"), routes={f"{hostile}>rating": outcomes(delivered=1)})),
        line=hostile,
        broker=f"kafka://{hostile}",
    )
    table = '[[rules]]\nname = "</title><script>"\nafter = "source"\nto = "rating"\n'
    page = report(found, Network.of(RulesTable.parse(table)), hostile, {hostile: hostile})
    reader = HtmlReader(page)
    assert "<script" not in page
    assert "\x07" not in page
    assert reader.open == []
    assert reader.words.count("<script>alert('x')</script>&\"") >= 5
    for svg in drawings(page):
        ET.fromstring(svg)


def test_it_is_one_well_formed_document_for_any_width_and_either_scheme() -> None:
    page = report(comparison())
    reader = HtmlReader(page)
    assert page.startswith("<!DOCTYPE html>")
    assert reader.open == []
    assert "script" not in reader.names
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert (
        html.unescape(re.findall(r"<title>(.*?)</title>", page)[0]) == "reviews: 100,000 records under four strategies"
    )
