"""Journeys on real workers: each record is told as it went, with hops on the bus and in memory."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from functools import partial

import orjson
import pytest

from metroline.agents.services.line import Line
from metroline.app.operations.journeys.archive import JourneyArchive
from metroline.app.operations.journeys.ended_journey import EndedJourney
from metroline.app.operations.journeys.query import Query
from metroline.app.operations.journeys.telling import JourneyTeller, texts_of
from metroline.app.operations.rules_topic import published_versions
from metroline.app.settings import Settings
from metroline.routing.journeys.timeline import Certainty, Timeline
from metroline.routing.strategies import STRATEGIES
from tests.support.brokers import EMBEDDED_FIRST
from tests.support.cli import metroline
from tests.support.depot import Depot, expected, numbered

RECORDS = 40


async def ended(depot: Depot, archive: JourneyArchive, count: int) -> list[EndedJourney]:
    """Return all journeys of a line once there are `count`."""
    found: list[EndedJourney] = []

    async def are_there() -> bool:
        found[:] = (await archive.search(Query(), limit=1_000)).journeys
        return len(found) >= count

    await depot.until(are_there)
    assert len(found) == count
    return found


def check(journey: Timeline, strategy: str) -> None:
    """Assert that a journey is told as its record went."""
    source, *stops = journey.places
    assert journey.strategy == strategy
    assert [one.worked is not None for one in stops] == [True] * len(stops)
    assert [one.left for one in journey.places] == sorted(one.left for one in journey.places)
    if journey.record["n"] == "refused":
        assert (journey.outcome, [stop.place for stop in stops]) == ("dead", ["weigh"])
        assert "it cannot be weighed" in stops[0].attempts[0].cause
        assert stops[0].attempts[0].at is not None
        return
    number = journey.record["n"]
    assert (tuple(stop.place for stop in stops), journey.outcome, journey.reason) == expected(number)
    assert source.decided.certainty is Certainty.EXACT
    assert source.decided.rule == "all are weighed"
    behind_weigh = stops[0].decided
    assert behind_weigh.certainty in (Certainty.EXACT, Certainty.LATER)
    if number % 2:
        assert {"heavy": "false"} in [tried.read for tried in behind_weigh.tried]
    else:
        assert behind_weigh.rule == "heavy ones need the crane"
        assert behind_weigh.tried[-1].read == {"heavy": "true"}
    assert stops[0].replanned == (["heavy"] if strategy == "map_maker" else None)


@pytest.mark.parametrize("chaining", ["off", "on"])
@EMBEDDED_FIRST
async def test_every_record_is_told_as_it_went_under_each_strategy(depot: Depot, chaining: str) -> None:
    await depot.create_source()
    lines = {name: replace(depot, prefix=f"{depot.prefix}.{name}", workers=depot.workers) for name in STRATEGIES}
    for strategy, line in lines.items():
        line.start(strategy, SOURCE=depot.topics.source, CHAINING=chaining)
    await depot.push(numbered([*range(RECORDS), "refused"]))

    for strategy, line in lines.items():
        await line.settled(RECORDS + 1)
        topics = replace(line.topics, source=depot.topics.source)
        async with aclosing(JourneyArchive(line.cluster, topics)) as archive:
            journeys = await ended(line, archive, RECORDS + 1)
            stock = (await archive.search(Query())).stock
            assert (stock.kept.journeys, stock.kept.ended, stock.failed.journeys) == (RECORDS, RECORDS, 1)
            [letter] = (await archive.search(Query.of(where='journey.outcome == "dead" && n == "refused"'))).journeys
            heavy = (await archive.search(Query.of(where="heavy == true", stop="crane"))).journeys
            assert (letter.segment.last_stop, len(heavy)) == ("weigh", RECORDS // 2)
            for journey in journeys[:: RECORDS // 8]:
                assert [one.id for one in await archive.find(journey.id)] == [journey.id]
        for one in await told_by(line, depot, [letter, *journeys[:: RECORDS // 8]]):
            check(one, strategy)


async def told_by(line: Depot, depot: Depot, journeys: list[EndedJourney]) -> list[Timeline]:
    """Tell journeys of a line whose source is that of another one."""
    loaded = Line.load(str(line.folder))
    versions = {one.version: one.text async for one in published_versions(line.cluster, line.topics)}
    topics = replace(line.topics, source=depot.topics.source)
    teller = JourneyTeller(line.cluster, topics, Settings(broker_url=line.broker.url), loaded, texts_of(versions))
    return await teller.tell(journeys)


async def test_a_record_is_found_while_it_is_under_way_and_told_when_it_has_ended(depot: Depot) -> None:
    worker = depot.start()
    await depot.push(numbered([2], waits=True))
    command = partial(metroline, cwd=depot.folder, **depot.environment())

    async def is_at_weigh() -> bool:
        said = await asyncio.to_thread(command, "trace", "source-0-0", "--json", "-")
        return said.returncode == 1 and orjson.loads(said.stdout)["whereabouts"]["stop"] == "weigh"

    await depot.until(is_at_weigh)
    missing = await asyncio.to_thread(command, "trace", "source-0-7")
    assert (missing.returncode, "it never came" in missing.stdout) == (1, True), missing.stderr
    depot.open_gate()
    await depot.settled(1)

    async def is_kept() -> bool:
        said = await asyncio.to_thread(command, "trace", "source-0-0")
        return said.returncode == 0 and "source-0-0 was delivered after" in said.stdout

    await depot.until(is_kept)
    page = await asyncio.to_thread(worker.get, "/journeys/source-0-0")
    assert page is not None
    assert [place["place"] for place in page["journeys"][0]["places"]] == ["source", "weigh", "crane", "shelf"]
