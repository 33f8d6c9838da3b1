"""The pages of the latest journeys and dead letters."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import convert
from msgspec.structs import replace

from metroline.app.views.tables import journeys
from metroline.app.views.tables.journeys import Journey, JourneysContent, Visit, Waits
from metroline.routing.journeys.summary import StoredJourney
from tests.support.html_reader import HtmlReader
from tests.support.table_entries import Entries, journey

EVIL = "<script>alert(1)</script>\"'&"


def entry(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"number": 0, "entries": list(entries)}


def shown(number: int = 0, at: float = 1_000.0, stops: tuple[str, ...] = ("a",)) -> Journey:
    return Journey.of(convert(journey(number, at, stops), StoredJourney))


def page(*shown_journeys: Journey) -> HtmlReader:
    return HtmlReader(journeys.show(JourneysContent(list(shown_journeys))))


async def ids(entries: dict[str, Any], partitions: frozenset[int] = frozenset({0, 1})) -> list[str]:
    content = await journeys.read(Entries(entries).table, partitions)
    return [one.id for one in content.journeys]


async def test_the_newest_stands_first_whichever_place_it_has_in_the_ring() -> None:
    entries = {"0/0": entry(journey(1, 30.0), journey(2, 10.0)), "1/0": entry(journey(3, 20.0))}
    assert await ids(entries) == ["source-0-1", "source-0-3", "source-0-2"]


async def test_a_page_is_bounded_to_the_newest() -> None:
    entries = {
        f"0/{place}": entry(*(journey(10 * place + n, 10.0 * place + n) for n in range(10))) for place in range(50)
    }
    found = await ids(entries)
    assert len(found) == journeys.LISTED
    assert found[0] == "source-0-499"
    assert found[-1] == "source-0-400"


async def test_partitions_that_are_not_held_are_left_out() -> None:
    assert await ids({"0/0": entry(journey(1)), "1/0": entry(journey(2))}, frozenset({1})) == ["source-0-2"]


async def test_pages_of_several_workers_merge_by_time_and_without_doubles() -> None:
    one = await journeys.read(Entries({"0/0": entry(journey(1, 10.0), journey(2, 30.0))}).table, frozenset({0}))
    two = await journeys.read(Entries({"1/0": entry(journey(3, 20.0), journey(2, 30.0))}).table, frozenset({1}))
    assert [each.id for each in journeys.merge([one, two]).journeys] == ["source-0-2", "source-0-3", "source-0-1"]


def test_what_ended_at_the_same_time_has_one_order_on_all_workers() -> None:
    parts = [JourneysContent([shown(number)]) for number in (1, 2)]
    assert journeys.merge(parts) == journeys.merge(reversed(parts))


def test_a_journey_says_where_it_waited_since_when_and_how_often() -> None:
    stored = convert(journey(7) | {"waited": [{"stop": "a", "since": 999.5, "times": 2}]}, StoredJourney)
    found = Journey.of(stored)
    assert found.waited == [Waits("a", "1970-01-01T00:16:39.500Z", 2)]
    assert "2 waits at a since 1970-01-01T00:16:39.500Z" in page(found).text


def test_a_journey_has_its_times_its_stops_and_how_long_it_took() -> None:
    found = shown(7, 1_000.0, ("a", "b"))
    assert found.id == "source-0-7"
    assert (found.entered, found.settled) == ("1970-01-01T00:16:38.000Z", "1970-01-01T00:16:40.000Z")
    assert found.seconds == 2.0
    assert found.stops[1] == Visit(stop="b", at="1970-01-01T00:16:39.000Z", rule="to b", by="on-ramp", version=1)


@pytest.mark.parametrize("field", ["id", "outcome", "reason", "rule", "record"])
def test_a_journey_with_markup_in_it_shows_it_as_text(field: str) -> None:
    read = page(replace(shown(), **{field: EVIL}))
    assert set(read.names) <= {"ol", "li", "div", "span", "b", "time", "details", "summary", "code", "pre"}
    titles = [str(title) for title in [*read.attributes("b", "title"), *read.attributes("span", "title")]]
    assert EVIL in read.text or any(EVIL in title for title in titles)


def test_a_journey_names_its_stops_in_order_and_their_rules() -> None:
    read = page(shown(stops=("a", "b")))
    assert "source → a → b → delivered" in read.text
    assert [str(title).splitlines()[0] for title in read.attributes("span", "title")][1:] == [
        "rule: to a",
        "rule: to b",
    ]


def test_a_journey_tells_its_stops_from_its_hops_on_the_bus() -> None:
    assert (shown().bus_hops, len(shown().stops)) == (3, 1)
    assert "1 stop" in page(shown()).text
    assert "3 hops on the bus" in page(shown()).text
    assert "2 stops" in page(replace(shown(stops=("a", "b")), bus_hops=1)).text
    assert "1 hop on the bus" in page(replace(shown(), bus_hops=1)).text


def test_a_record_that_is_json_is_laid_out_and_another_is_shown_as_it_is() -> None:
    laid_out = page(replace(shown(), record='{"a":{"b":"<i>"}}'))
    as_it_is = page(replace(shown(), record='{"a":"<i>'))
    assert '{\n  "a": {\n    "b": "<i>"\n  }\n}' in laid_out.text
    assert '{"a":"<i>' in as_it_is.text


def test_a_page_without_journeys_says_so() -> None:
    assert page().text == "Nothing so far."
