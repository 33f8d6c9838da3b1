"""The report of a comparison: all of the result is in it, it stands alone, and it says whether the strategies agree."""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ET
from copy import deepcopy
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from metroline.app.compare.report import render
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable
from metroline.routing.strategies import STRATEGIES

NETWORK = Network.of(
    RulesTable.parse("""
[[rules]]
after = "source"
to = "rating"
[[rules]]
after = "rating"
when = "stars < 2"
drop = "too bad"
[[rules]]
after = "rating"
to = "archive"
""")
)
ROUTES = {
    "rating>archive": {"delivered": 91_234, "dropped": 0, "dead": 0},
    "rating": {"delivered": 0, "dropped": 8_000, "dead": 66},
    "": {"delivered": 0, "dropped": 0, "dead": 700},
}
COMMAND = "metroline compare --line lines/reviews --records 100000 --html r.html"
WHEN = datetime(2026, 5, 6, 7, 8, tzinfo=UTC)
ENVIRONMENT = {"machine": "a machine with 8 CPUs", "Python": "3.11.9"}


def run(strategy: str, number: int) -> dict[str, Any]:
    return {
        "strategy": strategy,
        "sent": 100_000,
        "delivered": 91_234,
        "dropped": 8_000,
        "dead": 766,
        "duplicates": 40 + number,
        "records_per_second": 20_001.4 + number,
        "latency_ms": {"p50": 11.1 + number, "p99": 91.1 + number},
        "hops_per_record": 3.25 + number,
        "bus_messages_per_record": 0.0125 + number,
        "bus_bytes_per_record": 4_321.0 + number,
        "cpu_seconds_per_10k": 0.77 + number,
        "routes": deepcopy(ROUTES),
    }


def result(*strategies: str) -> dict[str, Any]:
    runs = [run(strategy, number) for number, strategy in enumerate(strategies or STRATEGIES)]
    return {
        "line": "reviews",
        "records": 100_000,
        "broker": "embedded",
        "runs": runs,
        "same_outcome": True,
        "differences": [],
    }


def report(found: dict[str, Any], network: Network = NETWORK, command: str = COMMAND) -> str:
    return render(found, network, command, WHEN, ENVIRONMENT)


class Reader(HTMLParser):
    """What a person reads: all text but that of style sheets; and the tags as they are opened and closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_every_figure_of_every_strategy_is_in_it() -> None:
    text = Reader(report(result())).text
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
    text = Reader(report(result())).text
    for strategy in STRATEGIES.values():
        assert (strategy.__doc__ or "").split("\n")[0] in text


def test_every_route_is_in_it_with_its_outcomes_and_share() -> None:
    text = Reader(report(result())).text
    assert re.search(r"source rating archive 91,234 · · 91\.2 %", text)
    assert re.search(r"source rating · 8,000 66 8\.1 %", text)
    assert re.search(r"source · · 700 0\.7 %", text)


def test_many_routes_fold_away_and_none_is_lost() -> None:
    found = result("signpost")
    found["runs"][0]["routes"] = {
        ">".join(["rating"] * length): {"delivered": length, "dropped": 0, "dead": 0} for length in range(1, 61)
    }
    page = report(found)
    table = page[page.index('class="routes"') :]
    assert table.count('<th scope="row">') == 60
    assert "35 more, less travelled" in page


def test_the_same_outcome_is_the_verdict() -> None:
    text = Reader(report(result())).text
    assert "Same outcome under all strategies" in text
    assert text.count("Where the records went") == 1


def test_differences_are_the_verdict_and_each_way_gets_its_map() -> None:
    found = result("hard_wired", "conductor", "signpost")
    found["same_outcome"] = False
    found["differences"] = ["record 7: rating under hard_wired, no stop under signpost", "<b>2 more</b>"]
    found["runs"][2]["routes"] = {"rating": {"delivered": 0, "dropped": 91_234, "dead": 0}}
    found["runs"][2] |= {"delivered": 0, "dropped": 99_234}
    page = report(found)
    text = Reader(page).text
    assert "Same outcome" not in text
    assert "Not the same outcome under all strategies" in text
    assert "record 7: rating under hard_wired, no stop under signpost" in text
    assert "<b>2 more</b>" in text
    assert "Where the records went under hard_wired and conductor" in text
    assert "Where the records went under signpost" in text
    assert page.count('<td data-label="dropped" class="differs">99,234</td>') == 1


def test_a_single_run_claims_no_agreement() -> None:
    text = Reader(report(result("map_maker"))).text
    assert "Same outcome under all strategies" not in text
    assert "nothing to compare it with" in text
    assert "one strategy" in text
    assert "conductor" not in text.replace("Process Manager", "").split("How it was measured")[0]


def test_a_single_run_whose_sums_are_wrong_says_so() -> None:
    found = result("map_maker") | {"same_outcome": False, "differences": ["map_maker: sent 100000 is not ..."]}
    text = Reader(report(found)).text
    assert "do not add up" in text
    assert "map_maker: sent 100000 is not ..." in text


def test_latency_that_was_not_measured_is_not_shown_as_a_figure() -> None:
    found = result()
    for each in found["runs"]:
        each["latency_ms"] = None
    page = report(found)
    assert 'data-label="p50 ms"' not in page
    assert "Latency was not measured" in Reader(page).text


def test_it_says_how_it_was_measured() -> None:
    text = Reader(report(result())).text
    for fact in (COMMAND, "a machine with 8 CPUs", "3.11.9", "2026-05-06 07:08 UTC", "embedded broker"):
        assert fact in text
    assert "A hop is one record written to the bus once" in text
    assert "CPU time of the worker processes alone" in text


def test_it_stands_alone() -> None:
    page = report(result())
    assert re.findall(r"https?://[^\"' ]*", page.replace("http://www.w3.org/2000/svg", "")) == []
    assert not re.search(r"\bsrc=|@import|url\(|<script|<iframe", page)
    assert re.findall(r'href="([^"]*)"', page) == ["data:,"]


def test_its_drawings_are_valid_xml_with_a_title_and_a_description() -> None:
    drawings = [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", report(result()), re.DOTALL)]
    assert len(drawings) == 5
    for drawing in drawings:
        names = [element.tag.rpartition("}")[2] for element in drawing]
        assert names[:2] == ["title", "desc"]
        assert all(drawing[index].text for index in (0, 1))


def test_a_chart_shows_values_in_proportion() -> None:
    found = result("hard_wired", "conductor")
    found["runs"][0]["hops_per_record"], found["runs"][1]["hops_per_record"] = 3.0, 6.0
    chart = next(svg for svg in re.findall(r"<svg.*?</svg>", report(found), re.DOTALL) if "Hops per record" in svg)
    widths = [float(bar.get("width", "")) for bar in ET.fromstring(chart).iter("rect")]
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.01)
    assert "2.0 \N{MULTIPLICATION SIGN}" in chart


def test_a_run_that_cost_nothing_draws_no_bar_and_no_error() -> None:
    found = result("hard_wired")
    found["runs"][0] |= {"records_per_second": 0.0, "hops_per_record": 0.0, "cpu_seconds_per_10k": 0.0, "routes": {}}
    assert "hard_wired" in report(found)


def test_what_people_wrote_is_text_wherever_it_is_shown() -> None:
    hostile = "<script>alert('x')</script>&\"\x07"
    found = result("hard_wired")
    found |= {"line": hostile, "broker": f"kafka://{hostile}"}
    found["runs"][0]["routes"] = {f"{hostile}>rating": {"delivered": 1, "dropped": 0, "dead": 0}}
    table = '[[rules]]\nname = "</title><script>"\nafter = "source"\nto = "rating"\n'
    page = render(found, Network.of(RulesTable.parse(table)), hostile, WHEN, {hostile: hostile})
    reader = Reader(page)
    assert "<script" not in page
    assert "\x07" not in page
    assert reader.open == []
    assert reader.text.count("<script>alert('x')</script>&\"") >= 5
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ET.fromstring(svg)


def test_it_is_one_well_formed_document_for_any_width_and_either_scheme() -> None:
    page = report(result())
    reader = Reader(page)
    assert page.startswith("<!DOCTYPE html>")
    assert reader.open == []
    assert "script" not in reader.tags
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert (
        html.unescape(re.findall(r"<title>(.*?)</title>", page)[0]) == "reviews: 100,000 records under four strategies"
    )
