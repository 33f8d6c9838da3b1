"""The pages of journeys: a search that works without scripts, and the timeline of a record."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from pyroaring import BitMap

from metroline.agents.kafka.cluster import ClusterError
from metroline.agents.kafka.topic_tail import TopicTail
from metroline.app.operations.journeys import archive as archive_module
from metroline.app.operations.journeys.whereabouts import Whereabouts
from metroline.app.views.journeys import pages
from metroline.routing.journeys.replay_job_messages import Act, Done, encode
from metroline.routing.messages.itinerary import Provenance
from metroline.routing.messages.segment import Attempts, Replan, Segment, Visit
from metroline.routing.outcome import DELIVERED, Cause, Outcome
from tests.support.dead_letter_topic import TopicMessage, dead_letters_of
from tests.support.html_reader import HtmlReader
from tests.support.journey_topics import kept_message, serve_topics
from tests.support.web_worker import HTML, Start, WebWorker

RULES = """
[[rules]]
name = "all"
after = "source"
when = "n > 0"
to = "price"
"""
AT = 1_700_000_000.0
EVIL = "<script>alert(1)</script>\"'&"


def ended(number: int, **fields: Any) -> Segment:
    line = orjson.dumps({"n": number, "text": EVIL})
    visits = (Visit("price", AT + 2, "all", "on-ramp", 1, 1.5),)
    end: dict[str, Any] = {"outcome": DELIVERED, "chosen": Provenance(None, "switch", 1), "hops": 2} | fields
    return Segment((number,), (line,), AT, visits, **end)


DEAD = ended(
    40,
    outcome=Outcome.dead(Cause.SERVICE_ERROR, EVIL),
    attempts=Attempts("price", (EVIL, "OSError: no"), AT, ("", f"services.py:5 in {EVIL}"), (AT + 1, AT + 2)),
)
KEPT = [
    kept_message(
        (ended(1, replans=(Replan("price", (EVIL,)),)), AT + 3),
        *((ended(number), AT + 3 + number) for number in range(2, 6)),
        count=90,
    )
]


@pytest.fixture(autouse=True)
def topics(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[TopicMessage]]:
    """Serve the topics of a line without a broker."""
    served = {
        ".journeys": KEPT,
        ".dead-letters": dead_letters_of([DEAD]),
        ".source": [TopicMessage((0, 1), None, orjson.dumps({"n": 1}))],
    }
    serve_topics(monkeypatch, served)
    return served


@pytest.fixture
async def worker(start: Start) -> WebWorker:
    made = await start()
    rules = {"rules": RULES, "replaces": 0, "by": "me", "at": 1.0}
    made.put(made.app.line_tables.rules, {"1": rules})
    return made


async def read(worker: WebWorker, path: str, status: int = 200) -> HtmlReader:
    response = await worker.get(path, HTML)
    assert response.status == status, await response.text()
    found = HtmlReader(await response.text())
    assert found.open == []
    assert "script" not in found.names
    assert "style" not in {name for element, own in found.elements if element != "svg" for name in own}
    return found


@pytest.mark.parametrize("path", ["/journeys", "/journeys/"])
async def test_programs_get_the_newest_journeys_and_how_many_are_kept(worker: WebWorker, path: str) -> None:
    found = await worker.json(path)
    assert [one["id"] for one in found["journeys"]] == [f"source-0-{number}" for number in (5, 4, 3, 2, 1, 40)]
    assert found["journeys"][0] == {
        "id": "source-0-5",
        "outcome": "delivered",
        "reason": None,
        "rule": None,
        "entered": AT,
        "ended": AT + 8,
        "seconds": 8.0,
        "stops": ["price"],
        "strategy": "signpost",
        "generation": 0,
    }
    assert found["searchable"]["kept"] == {"searchable": 5, "ended": 90, "since": AT + 3}
    assert found["searchable"]["failed"]["searchable"] == 1
    assert (found["searchable"]["is_complete"], found["searchable"]["has_older"], found["next"]) == (True, False, None)


async def test_a_search_is_an_address_and_so_is_its_next_page(worker: WebWorker) -> None:
    ids = []
    path: str | None = f"/journeys/?limit=2&outcome=delivered&where={quote('n > 1 && journey.seconds > 1.0')}"
    while path is not None:
        page = await worker.json(path)
        ids += [one["id"] for one in page["journeys"]]
        path = page["next"]
    assert ids == ["source-0-5", "source-0-4", "source-0-3", "source-0-2"]
    assert (await worker.json("/journeys/?stop=ship"))["journeys"] == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("where=n+%3E", "the condition cannot be used"),
        ("outcome=lost", "there is no outcome"),
        ("limit=0", "limit is a number from 1 to 1000"),
        ("after=x", "is no place in the list of journeys"),
        ("id=nonsense", "is not the id of a record"),
    ],
)
async def test_what_cannot_be_searched_is_said_above_the_form_that_still_has_it(
    worker: WebWorker, query: str, words: str
) -> None:
    response = await worker.get(f"/journeys/?{query}")
    assert response.status == 400
    assert words in (await response.json())["error"]
    page = await read(worker, f"/journeys/?{query}", 400)
    assert words in page.text
    if query.startswith("where"):
        assert "n >" in page.attributes("input", "value")


async def test_people_get_a_form_that_this_page_may_send_and_a_list(worker: WebWorker) -> None:
    page = await read(worker, "/journeys/?outcome=dead")
    assert page.attributes("form", "action") == ["/journeys/", "/journeys/"]
    assert page.names.count("label") == 4
    assert "journey.seconds > 5.0, journey.cause" in page.text
    assert "<code>" not in page.text
    assert "5 of the 90 journeys that were delivered or dropped since" in page.text
    assert "Dead letters: all 1 since" in page.text
    assert "/journeys/source-0-40" in page.attributes("a", "href")
    assert EVIL in page.text
    policy = (await worker.get("/journeys/", HTML)).headers["Content-Security-Policy"]
    assert "form-action 'self'" in policy
    assert "default-src 'none'" in policy


async def test_a_condition_that_fails_for_some_journeys_says_so(worker: WebWorker) -> None:
    page = await read(worker, "/journeys/?where=n+%3E+%22x%22")
    assert "The condition could not be evaluated for 6 journeys: source-0-5: " in page.text
    assert "No journey fits, of 6 that were looked at." in page.text


@pytest.mark.parametrize("path", ["/journeys/source-0-1", "/journeys/source-0-1/", "/journeys/?id=source-0-1"])
async def test_a_journey_is_told_to_programs_as_the_command_writes_it(worker: WebWorker, path: str) -> None:
    found = await worker.json(path)
    [journey] = found["journeys"]
    assert (found["id"], found["whereabouts"], journey["seconds"]) == ("source-0-1", None, 3.0)
    source, price = journey["places"]
    assert source["decided"]["certainty"] == "exact"
    assert source["decided"]["tried"] == [{"rule": "all", "holds": True, "verdict": "holds", "read": {"n": "1"}}]
    assert (price["came"], price["waited"], price["worked"], price["left"]) == (AT, 0.5, 1.5, AT + 2)
    assert price["replanned"] == [EVIL]


async def test_a_journey_is_told_to_people_place_by_place(worker: WebWorker) -> None:
    page = await read(worker, "/journeys/source-0-1")
    assert page.names.count("h3") == 2
    assert page.names.count("svg") == 2
    for words in ("waited 0.500 s", "worked on for 1.500 s", "by the rule all of version 1", "n = 1", EVIL):
        assert words in page.text
    assert "/rules/1/" in page.attributes("a", "href")


async def test_a_dead_letter_is_told_with_its_attempts(worker: WebWorker) -> None:
    page = await read(worker, "/journeys/source-0-40")
    assert f"Attempt 1 failed at +1.000 s: {EVIL}" in page.text
    assert f"services.py:5 in {EVIL}" in page.text
    assert "/dead-letters/?id=source-0-40" in page.attributes("a", "href")
    assert page.attributes("rect", "class").count("failed") == 2


async def test_a_record_without_a_kept_journey_is_told_by_where_it_is(
    worker: WebWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def somewhere(*_: Any) -> Whereabouts:
        return Whereabouts("under_way", "it waits at the stop ship", "ship", AT)

    monkeypatch.setattr(pages, "whereabouts", somewhere)
    response = await worker.get("/journeys/source-0-9")
    assert response.status == 404
    assert (await response.json())["whereabouts"]["stop"] == "ship"
    page = await read(worker, "/journeys/source-0-9", 404)
    assert "There is no kept journey of source-0-9: it waits at the stop ship." in page.text


async def test_only_a_few_look_for_records_under_way_at_a_time(
    worker: WebWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()

    async def slow(*_: Any) -> Whereabouts:
        await gate.wait()
        return Whereabouts("none", "it never came")

    monkeypatch.setattr(pages, "whereabouts", slow)
    asked = [asyncio.create_task(worker.get("/journeys/source-0-9")) for _ in range(pages.MAX_LOOKING + 1)]
    refused, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result().status for task in refused] == [503]
    gate.set()
    assert sorted([(await task).status for task in asked]) == [404, 404, 503]


async def test_a_cluster_that_does_not_answer_is_said(worker: WebWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: TopicTail, __: object = None) -> Iterator[list[TopicMessage]]:
        raise ClusterError("no Kafka broker answers")
        yield []

    monkeypatch.setattr(TopicTail, "read", away)
    for path in ("/journeys/", "/journeys/source-0-1"):
        response = await worker.get(path)
        assert response.status == 503
        assert (await response.json())["error"] == "no Kafka broker answers"


async def test_a_page_says_that_there_is_more_to_read(worker: WebWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "READ_SECONDS", -1.0)
    monkeypatch.setattr(archive_module, "SEARCH_SECONDS", -1.0)
    page = await read(worker, "/journeys/")
    assert "There is more to read: search again in a moment." in page.text
    assert "Search further back" in page.text


@pytest.mark.parametrize("text", ["source-0-40", " source-0-40 "])
async def test_the_search_of_the_first_page_takes_an_id(worker: WebWorker, text: str) -> None:
    found = await worker.json(f"/journeys/?find={quote(text)}")
    assert (found["id"], len(found["journeys"])) == ("source-0-40", 1)


async def test_the_search_of_the_first_page_takes_a_condition(worker: WebWorker) -> None:
    found = await worker.json(f"/journeys/?find={quote('n > 3 && n < 40')}")
    assert [one["id"] for one in found["journeys"]] == ["source-0-5", "source-0-4"]
    shown = await read(worker, f"/journeys/?find={quote('n > 3 && n < 40')}")
    assert "n > 3 && n < 40" in shown.attributes("input", "value")


async def test_a_browser_comes_straight_to_the_only_journey_that_fits(worker: WebWorker) -> None:
    path = f"{worker.url}/journeys/?find={quote('n == 5')}"
    async with worker.client.get(path, headers=HTML, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, "/journeys/source-0-5")


async def test_what_is_neither_an_id_nor_a_condition_is_refused_in_one_line(worker: WebWorker) -> None:
    shown = await read(worker, f"/journeys/?find={quote('where is it?')}", 400)
    assert "the condition cannot be used" in shown.words


async def test_a_stop_has_its_latest_journeys(worker: WebWorker) -> None:
    found = await worker.json("/api/stop?name=price")
    assert [one["id"] for one in found["journeys"]] == [f"source-0-{number}" for number in (5, 4, 3, 2, 1)]
    assert found["problems"] == []
    assert len((await worker.json("/api/stop?name=source"))["journeys"]) == 5
    nowhere = await worker.json("/api/stop?name=nowhere")
    assert (nowhere["journeys"], nowhere["groups"]) == ([], [])


async def test_a_stop_says_what_cannot_be_read_now(worker: WebWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Iterator[Any]:
        raise ClusterError("the brokers are away")

    monkeypatch.setattr(TopicTail, "read", fail)
    found = await worker.json("/api/stop?name=source")
    assert (found["journeys"], found["groups"]) == ([], [])
    assert set(found["problems"]) == {"the brokers are away"}


async def test_a_journey_tells_what_was_done_to_the_record_as_a_dead_letter(
    worker: WebWorker, topics: dict[str, list[TopicMessage]]
) -> None:
    marks = base64.b64encode(BitMap([1]).serialize()).decode()
    done = Done(order="a" * 32, act=Act.REPLAY, at=AT, by=EVIL, blocks=(("0/source/0", 0, marks),))
    topics[".replay-jobs"] = [TopicMessage((0, 0), *encode(done))]
    response = await worker.get("/journeys/source-0-1")
    assert [entry["by"] for entry in (await response.json())["done"]] == [EVIL]
    text = await (await worker.get("/journeys/source-0-1", HTML)).text()
    assert "Done to it as a dead letter" in text
    assert EVIL not in text
