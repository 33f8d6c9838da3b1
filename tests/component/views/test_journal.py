"""The page of the journal, and its entries among what changed on the first page."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

from metroline.agents.kafka.cluster import ClusterError
from metroline.agents.kafka.topic_tail import TopicTail
from metroline.agents.pulses.pulse import Pulse
from metroline.app.operations.journal_notes import Deed, Note
from metroline.routing.journeys.replay_job_messages import Act, Done, Message, encode
from metroline.routing.journeys.replay_job_messages import Start as StartJob
from tests.support.dead_letter_topic import TopicMessage
from tests.support.html_reader import HtmlReader
from tests.support.journey_topics import serve_topics
from tests.support.live_figures import NOW, Told
from tests.support.web_worker import HTML, Start, WebWorker

EVIL = "<script>alert(1)</script>"
JOB = StartJob(job="0123456789", at=NOW - 20, by="bert", group="4be3b2", reason="it is mended")
DISCARD = Done(order="a" * 32, act=Act.DISCARD, at=NOW - 30, by=EVIL, count=3, reason=EVIL, blocks=())
NOTES = [
    Note(deed=Deed.JOINED, at=NOW - 10, worker="http://other:6066", roles="all", code="c0de"),
]


@pytest.fixture
async def worker(start: Start, monkeypatch: pytest.MonkeyPatch) -> WebWorker:
    """Return a worker of a line with a note, a replay job, a discard and a version of the rules."""
    written: list[Message] = [JOB, DISCARD]
    jobs = [TopicMessage((0, offset), *encode(one)) for offset, one in enumerate(written)]
    notes = [TopicMessage((0, offset), None, one.encode()) for offset, one in enumerate(NOTES)]
    serve_topics(monkeypatch, {".journal": notes, ".replay-jobs": jobs})
    made = await start()
    made.app.pulses = cast(Any, Told())
    rules = {"rules": made.app.line.rules_text, "replaces": 0, "by": "ada", "at": NOW - 40}
    made.put(made.app.line_tables.rules, {"1": rules})
    return made


async def test_the_journal_puts_together_what_stands_in_several_places(worker: WebWorker) -> None:
    page = await worker.json("/journal/")
    assert [(entry["kind"], entry["by"], entry["at"]) for entry in page["entries"]] == [
        ("joined", "", NOW - 10),
        ("job", "bert", NOW - 20),
        ("discarded", EVIL, NOW - 30),
        ("published", "ada", NOW - 40),
    ]
    assert page["problems"] == []


async def test_people_see_who_did_what_with_links_to_it(worker: WebWorker) -> None:
    text = await (await worker.get("/journal/", HTML)).text()
    read = HtmlReader(text)
    assert EVIL not in text
    assert read.open == []
    assert f"{EVIL} 3 dead letters were discarded {EVIL}" in read.words
    assert "bert the replay job 0123456789 of the group 4be3b2 was started it is mended" in read.words
    assert {"/rules/1/", "/dead-letters/jobs/?job=0123456789"} <= set(read.attributes("a", "href"))


async def test_a_journal_that_cannot_be_read_says_so_and_shows_what_is_known(
    worker: WebWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Iterator[Any]:
        raise ClusterError("the brokers are away")

    monkeypatch.setattr(TopicTail, "read", fail)
    page = await worker.json("/journal/")
    assert [entry["kind"] for entry in page["entries"]] == ["published"]
    assert "the brokers are away" in page["problems"]
    shown = HtmlReader(await (await worker.get("/journal/", HTML)).text()).words
    assert "Something is missing here: the brokers are away" in shown


async def test_what_changed_has_the_latest_entries_and_each_worker_that_came_once(worker: WebWorker) -> None:
    other = "http://other:6066"
    pulse = Pulse("other", other, "metrobus@all", ("arrivals",), "signpost", 1, NOW - 12, NOW - 12)
    worker.app.pulses = cast(Any, Told(pulse))
    await worker.app.journal.read()
    events = (await worker.json("/api/live"))["events"]
    assert [event["kind"] for event in events].count("joined") == 1
    assert {event["kind"] for event in events} == {"joined", "job", "discarded", "published"}
    assert [event["at"] for event in events] == sorted((event["at"] for event in events), reverse=True)
    read = HtmlReader(await (await worker.get("/", HTML)).text())
    assert f"3 dead letters were discarded by {EVIL}: {EVIL}" in read.words
    assert {"/journal/", "/rules/1/"} <= set(read.attributes("a", "href"))


async def test_the_journal_is_read_for_the_first_page_without_making_it_wait(worker: WebWorker) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        events = (await worker.json("/api/live"))["events"]
        if any(event["kind"] == "discarded" for event in events):
            return
    raise AssertionError("the journal was not read in the background")
