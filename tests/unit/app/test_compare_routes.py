"""Routes in a report: the paths of the records, shown once for all strategies that agree."""

from __future__ import annotations

import re
from itertools import product

from msgspec.structs import replace

from tests.support.comparisons import comparison, outcomes, report, run
from tests.support.html_reader import HtmlReader


def test_every_route_is_in_it_with_its_outcomes_and_share() -> None:
    text = HtmlReader(report(comparison())).words
    assert re.search(r"source rating archive 91,234 · · 91\.2 %", text)
    assert re.search(r"source rating · 8,000 66 8\.1 %", text)
    assert re.search(r"source · · 700 0\.7 %", text)


def test_strategies_that_agree_share_one_map() -> None:
    assert HtmlReader(report(comparison())).words.count("Where the records went") == 1


def test_strategies_that_differ_get_a_map_each() -> None:
    third = replace(run("signpost"), routes={"rating": outcomes(dropped=91_234)})
    text = HtmlReader(report(comparison(run("hard_wired"), run("conductor"), third))).words
    assert "Where the records went under hard_wired and conductor" in text
    assert "Where the records went under signpost" in text


def test_many_routes_fold_away_and_none_is_lost() -> None:
    routes = {">".join(["rating"] * length): outcomes(delivered=length) for length in range(1, 61)}
    page = report(comparison(replace(run("signpost"), routes=routes)))
    table = page[page.index('class="routes"') :]
    assert table.count('<th scope="row">') == 60
    assert "35 more routes with fewer records" in page


def test_routes_without_end_share_a_row_that_sums_them_up() -> None:
    names = [">".join(stops) for length in range(1, 11) for stops in product("ab", repeat=length)]
    routes = {name: outcomes(delivered=1) for name in names[:1_200]}
    text = HtmlReader(report(comparison(replace(run("signpost"), sent=1_200, routes=routes)))).words
    assert "200 more 200 · · 16.7 %" in text


def test_named_ends_are_told_with_the_number_of_records_delivered_there() -> None:
    assert "Delivered:" not in report(comparison(run("signpost")))
    delivered = run("signpost").delivered
    page = report(comparison(replace(run("signpost"), ends={"shipped": 1_000, "kept": 1})))
    assert (
        f"Delivered: 1 at kept, 1,000 at shipped, and {delivered - 1_001:,} at the default end."
        in HtmlReader(page).words
    )
