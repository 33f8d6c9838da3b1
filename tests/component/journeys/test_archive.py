"""The archive finds journeys by their ids and by queries, on both topics, whatever else is there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import orjson
import pytest

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_tail import TopicTail
from metroline.agents.kafka.topics import Topics
from metroline.app.operations.journeys import archive as archive_module
from metroline.app.operations.journeys.archive import MAX_WAITING, ArchiveBusy, Cursor, JourneyArchive
from metroline.app.operations.journeys.memory import JourneyMemory
from metroline.app.operations.journeys.query import Query
from metroline.routing.errors import UsageError
from metroline.routing.messages.segment import Attempts, Segment, Visit
from metroline.routing.outcome import DELIVERED, Cause, Outcome
from tests.support.dead_letter_topic import TopicMessage, dead_letters_of
from tests.support.journey_topics import kept_message, serve_topics

SETTLED = 1_700_000_000.5
"""The time at which the dead letters of the tests were settled."""


def delivered(*numbers: int, stop: str = "a", **fields: object) -> Segment:
    lines = tuple(orjson.dumps({"n": number, **fields}) for number in numbers)
    history = (Visit(stop, SETTLED - 1, "all", "on-ramp", 1, 0.5),)
    return Segment(numbers, lines, SETTLED - 10, history, outcome=DELIVERED, hops=2)


DEAD = Segment(
    (40,),
    (b'{"n":40}',),
    SETTLED - 60,
    (Visit("a", SETTLED - 1, "all", "on-ramp", 1, 0.5),),
    outcome=Outcome.dead(Cause.TIMEOUT, "no answer"),
    attempts=Attempts("a", ("no answer", "no answer"), 0.0),
)
KEPT = [
    kept_message((delivered(1, 2), SETTLED - 3), (delivered(3, stop="b"), SETTLED - 2), count=30),
    kept_message((delivered(5), SETTLED + 1), offset=1, count=9),
    TopicMessage((0, 2), None, b"no journeys"),
    TopicMessage((0, 3), None, None),
    kept_message((delivered(1), SETTLED - 1), partition=1, count=1),
]
LETTERS = [*dead_letters_of([DEAD]), TopicMessage((0, 7), b"\xff", b"\xff", [("metroline-dead-letter", b"[")])]


def archive_of(memory: JourneyMemory | None = None) -> JourneyArchive:
    return JourneyArchive(Cluster.at("kafka://127.0.0.1:1"), Topics("test", "test.source"), memory)


@pytest.fixture
async def archive(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[JourneyArchive]:
    serve_topics(monkeypatch, {".journeys": KEPT, ".dead-letters": LETTERS})
    made = archive_of()
    yield made
    await made.aclose()


async def ids(archive: JourneyArchive, **query: str) -> list[str]:
    return [journey.id for journey in (await archive.search(Query.of(**query))).journeys]


async def test_journeys_of_both_topics_are_listed_with_the_newest_first(archive: JourneyArchive) -> None:
    found = await archive.search(Query())
    assert [journey.id for journey in found.journeys] == [
        *("source-0-5", "source-0-40", "source-1-1", "source-0-3", "source-0-1", "source-0-2"),
    ]
    assert (found.searched, found.next, archive.memory.foreign) == (6, None, 3)
    stock = found.stock
    assert (stock.kept.journeys, stock.kept.ended, stock.kept.since) == (5, 40, SETTLED - 3)
    assert (stock.failed.journeys, stock.is_read, stock.has_forgotten) == (1, True, False)


async def test_queries_ask_for_outcomes_stops_and_conditions_on_the_record_and_the_journey(
    archive: JourneyArchive,
) -> None:
    assert await ids(archive, outcome="dead") == ["source-0-40"]
    assert await ids(archive, stop="b") == ["source-0-3"]
    assert await ids(archive, where="n > 2 && n < 10") == ["source-0-5", "source-0-3"]
    assert await ids(archive, where="journey.seconds > 30.0") == ["source-0-40"]
    assert await ids(archive, where='journey.cause == "timeout" && journey.failed_attempts == 2') == ["source-0-40"]
    assert await ids(archive, where='"b" in journey.stops && n == 3') == ["source-0-3"]
    assert await ids(archive, where="journey.partition == 1", outcome="delivered") == ["source-1-1"]
    assert await ids(archive, where='n == 1 && journey.outcome == "dropped"') == []


async def test_a_condition_that_cannot_be_evaluated_is_counted_and_told(archive: JourneyArchive) -> None:
    found = await archive.search(Query.of(where='n == 3 || n > "x"'))
    assert [journey.id for journey in found.journeys] == ["source-0-3"]
    assert found.failures == 5
    assert found.failure.startswith("source-0-5: ")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"where": "n >"}, "the condition cannot be used"),
        ({"where": "n == 1 ||" * 300}, "at most 2000 are allowed"),
        ({"outcome": "lost"}, "there is no outcome 'lost'; there are delivered, dropped, dead"),
    ],
)
def test_a_query_that_cannot_be_used_is_refused(query: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Query.of(**query)


async def test_a_page_begins_after_the_last_journey_of_the_page_before(archive: JourneyArchive) -> None:
    everything, pages, after = await ids(archive), list[str](), None
    while True:
        page = await archive.search(Query(), after, limit=2)
        pages += [journey.id for journey in page.journeys]
        if page.next is None:
            break
        after = Cursor.parse(str(page.next))
    assert pages == everything


@pytest.mark.parametrize("text", ["", "x", "1~", "~source-0-1", "nan~source-0-1"])
def test_what_is_no_place_in_the_list_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no place in the list"):
        Cursor.parse(text)


async def test_a_search_ends_with_its_time_and_the_next_page_goes_on(
    archive: JourneyArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "SEARCH_SECONDS", -1.0)
    page = await archive.search(Query.of(where="n == 3"))
    assert (page.journeys, page.searched) == ([], 1)
    looked = 1
    while page.next is not None:
        page = await archive.search(Query.of(where="n == 3"), page.next)
        looked += page.searched
        if page.journeys:
            break
    assert ([journey.id for journey in page.journeys], looked) == (["source-0-3"], 4)


async def test_a_record_is_found_by_its_id_on_either_topic(archive: JourneyArchive) -> None:
    for name in ("source-0-2", "source-0-40", "source-1-1"):
        [found] = await archive.find(name)
        assert found.id == name
        assert len(found.envelope) == 1
        [on_topic] = await archive.find_on_topics(name)
        assert on_topic.id == name
    assert await archive.find("source-0-4") == await archive.find_on_topics("source-0-4") == []
    with pytest.raises(UsageError, match="is not the id of a record"):
        await archive.find("nonsense")


async def test_the_id_of_a_message_stands_for_all_of_its_records(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = tuple(b'{"n":%d}' % number for number in range(3))
    several = Segment(((7, 0, 3), (7, 1, 3), (7, 2, 3)), lines, SETTLED - 1, outcome=DELIVERED)
    serve_topics(monkeypatch, {".journeys": [kept_message((several, SETTLED))]})
    archive = archive_of()
    assert [journey.id for journey in await archive.find("source-0-7.1")] == ["source-0-7.1"]
    assert len(await archive.find("source-0-7")) == 3
    await archive.aclose()


async def test_a_journey_that_was_written_twice_is_listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = [kept_message((delivered(1), SETTLED)), kept_message((delivered(1), SETTLED + 0.1), offset=1)]
    serve_topics(monkeypatch, {".journeys": twice})
    archive = archive_of()
    assert await ids(archive) == ["source-0-1"]
    assert len(await archive.find("source-0-1")) == 1
    await archive.aclose()


async def test_what_is_forgotten_is_found_by_its_id_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metroline.app.operations.journeys.memory.CHUNK_MESSAGES", 1)
    many = [kept_message((delivered(number), SETTLED + number), offset=number) for number in range(50)]
    serve_topics(monkeypatch, {".journeys": many})
    memory = JourneyMemory(shelf_bytes=3_000)
    archive = archive_of(memory)
    found = await archive.search(Query())
    assert found.stock.has_forgotten
    assert 0 < len(found.journeys) < 50
    assert [journey.id for journey in found.journeys][:2] == ["source-0-49", "source-0-48"]
    assert [journey.id for journey in await archive.find("source-0-0")] == ["source-0-0"]
    await archive.aclose()


async def test_a_page_does_not_look_for_an_id_for_long(
    archive: JourneyArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "READ_SECONDS", -1.0)
    monkeypatch.setattr(archive_module, "FIND_SECONDS", -1.0)
    with pytest.raises(ArchiveBusy, match="try `metroline trace source-0-4`"):
        await archive.find("source-0-4")
    assert await archive.find_on_topics("source-0-4") == []


async def test_a_topic_is_read_on_where_it_was_left_and_each_message_counts_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive_module, "READ_SECONDS", -1.0)
    monkeypatch.setattr(archive_module, "FRESH_SECONDS", -1.0)
    serve_topics(monkeypatch, {".journeys": KEPT})
    archive = archive_of()
    first = await archive.search(Query())
    assert (first.stock.is_read, first.stock.kept.journeys) == (False, 3)
    monkeypatch.setattr(archive_module, "READ_SECONDS", 60.0)
    second = await archive.search(Query())
    assert (second.stock.is_read, second.stock.kept.journeys, second.stock.kept.ended) == (True, 5, 40)
    await archive.aclose()


async def test_a_topic_that_was_created_anew_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "FRESH_SECONDS", -1.0)
    served = {".journeys": [kept_message((delivered(1), SETTLED))]}
    serve_topics(monkeypatch, served)
    archive = archive_of()
    assert await ids(archive) == ["source-0-1"]

    def anew(tail: TopicTail, _: object = None) -> Iterator[list[TopicMessage]]:
        if tail.topic.endswith(".journeys"):
            yield []
            yield [kept_message((delivered(2), SETTLED))]

    monkeypatch.setattr(TopicTail, "read", anew)
    assert await ids(archive) == ["source-0-2"]
    await archive.aclose()


async def test_reading_leaves_the_event_loop_and_only_so_many_wait(
    archive: JourneyArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()

    def read(_: TopicTail, __: object = None) -> Iterator[list[TopicMessage]]:
        gate.wait(10)
        yield from ()

    monkeypatch.setattr(TopicTail, "read", read)
    waiting = [asyncio.create_task(archive.search(Query())) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(ArchiveBusy, match="try again in a moment"):
        await archive.search(Query())
    gate.set()
    await asyncio.gather(*waiting)
