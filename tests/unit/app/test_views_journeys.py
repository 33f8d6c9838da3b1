"""What the pages of the latest journeys and dead letters say."""

from __future__ import annotations

from typing import Any

from metroline.app.views.tables import journeys
from tests.support.table_entries import Entries, journey


def entry(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"number": 0, "entries": list(entries)}


async def ids(entries: dict[str, Any], partitions: frozenset[int] = frozenset({0, 1})) -> list[str]:
    page = await journeys.read(Entries(entries).table, partitions)
    return [one["id"] for one in page["journeys"]]


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
    assert [said["id"] for said in journeys.merge([one, two])["journeys"]] == ["source-0-2", "source-0-3", "source-0-1"]


async def test_what_ended_at_the_same_time_has_one_order_on_all_workers() -> None:
    pages = [{"journeys": [journeys.shown(journey(number))]} for number in (1, 2)]
    assert journeys.merge(pages) == journeys.merge(reversed(pages))


def test_a_journey_tells_its_times_its_stops_and_how_long_it_took() -> None:
    shown = journeys.shown(journey(7, 1_000.0, ["a", "b"]))
    assert shown["id"] == "source-0-7"
    assert (shown["entered"], shown["settled"]) == ("1970-01-01T00:16:38.000Z", "1970-01-01T00:16:40.000Z")
    assert shown["seconds"] == 2.0
    assert shown["stops"][1] == {
        "stop": "b",
        "at": "1970-01-01T00:16:39.000Z",
        "rule": "to b",
        "by": "on-ramp",
        "version": 1,
    }
