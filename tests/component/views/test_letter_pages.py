"""Dead letters and replay jobs in a browser: pages and forms without script, which write as programs do."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace as replaced
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from metroline.agents.tables.live_rules import LiveRules
from metroline.app.operations.letter import Letter
from metroline.app.operations.letter_journal import entries_of
from metroline.app.operations.permission import Permission
from metroline.app.operations.replay_jobs import new_job
from metroline.app.operations.replays import discard
from metroline.app.views.letters import replay_jobs as job_views
from metroline.app.web_server.logins import Logins
from metroline.routing.journeys.replay_job_messages import Ask, JobState, Message, Progress, Start, Tally, Wish, encode
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Attempts, Replay, Segment, Visit
from metroline.routing.outcome import Cause, Outcome
from metroline.routing.records.record_types import DeclaredTypes, record_type
from metroline.routing.strategies import RuleTables
from tests.support.dead_letter_topic import TopicMessage, counted, dead_letters_of, serve_dead_letters
from tests.support.web_worker import HTML, WebWorker
from tests.support.web_worker import Start as StartWorker

TOKEN = "a secret"
BROWSER = {**HTML, "Authorization": f"Bearer {TOKEN}", "Content-Type": "application/x-www-form-urlencoded"}
EVIL = "<script>alert('x')</script>"
SEGMENTS = [
    Segment(
        (number,),
        (b'{"n":%d,"text":"%s"}' % (number, EVIL.encode()),),
        1.0,
        outcome=Outcome.dead(Cause.SERVICE_ERROR, f"ValueError: {EVIL}"),
        hops=3,
        history=(Visit("weigh", 2.0, "all of them", "signpost", 4),),
        attempts=Attempts("weigh", ("ValueError: first", "ValueError: second"), 0.0, ("services.py:8 in weigh",)),
        replays=(Replay(3.0, "anna (job 0123456789: it is mended)", "the reason before", '{"n":"before"}'),),
    )
    for number in range(3)
]
STARTED = Start(job="0123456789", at=5.0, by="anna", group="4be3b2", fields={"n": 1}, reason=EVIL)
JOB: list[Message] = [
    STARTED,
    Ask(order=uuid.uuid4().hex, job=STARTED.job, wish=Wish.PAUSE, at=6.0, by="bert", reason="the scales are hot"),
    Progress(
        job=STARTED.job,
        epoch=1,
        seen=2,
        at=7.0,
        state=JobState.PAUSED,
        tally=Tally(30, 11, 8, 2, 1, 3),
        left_out={"it still cannot be read": 3},
        note="the scales are hot",
    ),
]


def messages(*written: Message) -> list[TopicMessage]:
    return [TopicMessage((0, offset), *encode(message)) for offset, message in enumerate(written)]


class Parcel(Struct):
    n: int


def letter(number: int) -> Letter:
    segment = replace(SEGMENTS[0], ids=(number,))
    return Letter(Envelope("signpost", Origin("source", 0), (segment,)), 1.0)


@pytest.fixture
def jobs() -> list[TopicMessage]:
    """Return the messages on the topic of jobs."""
    return messages(*JOB)


@pytest.fixture
async def worker(start: StartWorker, monkeypatch: pytest.MonkeyPatch, jobs: list[TopicMessage]) -> WebWorker:
    """Return a worker with three dead letters and a job."""
    serve_dead_letters(monkeypatch, dead_letters_of(SEGMENTS), [counted(SEGMENTS)], jobs)

    async def write(cluster: object, topics: object, order: Start, permission: Permission) -> None:
        permission.demand()
        jobs.append(TopicMessage((0, len(jobs)), *encode(order)))

    monkeypatch.setattr(job_views, "start_job", write)
    made = await start()
    made.app.settings = made.app.settings.model_copy(update={"metroline_token": TOKEN})
    table = made.app.live_rules.from_file
    monkeypatch.setattr(LiveRules, "rule_tables", RuleTables(table, table))
    return made


async def page(worker: WebWorker, path: str, status: int = 200) -> str:
    logins = Logins(TOKEN, worker.app.line_topics.prefix)
    response = await worker.get(path, {**HTML, "Cookie": f"{logins.cookie}={logins.issue('ada', time.time())}"})
    assert (response.status, response.content_type) == (status, "text/html")
    text = await response.text()
    assert EVIL not in text, "records and reasons are escaped"
    return text


async def post(worker: WebWorker, path: str, fields: dict[str, str], **headers: str) -> tuple[int, str, str]:
    """Return the status, the address and the text of the answer to a form."""
    url = f"{worker.url}/dead-letters/{path}"
    async with worker.client.post(url, data=fields, headers=BROWSER | headers, allow_redirects=False) as response:
        return response.status, response.headers.get("Location", ""), await response.text()


async def group_of(worker: WebWorker) -> str:
    response = await worker.get("/dead-letters/")
    [group] = await response.json()
    return str(group["group"])


async def test_the_first_page_has_the_causes_with_an_example_and_the_jobs_under_way(worker: WebWorker) -> None:
    text = await page(worker, "/dead-letters/")
    group = await group_of(worker)
    for part in ("<dd>3</dd>", "weigh", "service_error", f'?group={group}"', '?id=source-0-0"', "?job=0123456789"):
        assert part in text
    assert "paused" in text


async def test_the_groups_of_one_stop_or_of_one_kind_there_have_an_address(worker: WebWorker) -> None:
    group = await group_of(worker)
    for query, is_there in (
        ("stop=weigh", True),
        ("stop=weigh&kind=service_error", True),
        ("stop=weigh&kind=timeout", False),
        ("stop=price", False),
    ):
        found = await (await worker.get(f"/dead-letters/?{query}")).json()
        assert [one["group"] for one in found] == ([group] if is_there else [])
        text = await page(worker, f"/dead-letters/?{query}")
        assert (f'?group={group}"' in text) == is_there
        assert ("There are no such dead letters." in text) != is_there
        assert "All dead letters" in text


async def test_a_stop_tells_its_dead_letters_by_cause(worker: WebWorker) -> None:
    [group] = (await worker.json("/api/stop?name=weigh"))["groups"]
    assert group["group"] == await group_of(worker)
    assert (group["kind"], group["count"], group["reason"]) == ("service_error", 3, f"ValueError: {EVIL}")
    assert (await worker.json("/api/stop?name=price"))["groups"] == []


async def test_a_group_lists_its_letters_and_what_can_be_done_about_all_of_them(worker: WebWorker) -> None:
    text = await page(worker, f"/dead-letters/?group={await group_of(worker)}&limit=2")
    assert "source-0-1" in text
    assert "source-0-2" not in text
    assert "after=source-0-1" in text, "the next page"
    assert 'action="/dead-letters/jobs/start/"' in text
    assert 'name="discard" value="true"' in text, "all of them are discarded by a job, too"


async def test_all_letters_of_a_group_are_discarded_by_a_job(worker: WebWorker) -> None:
    fields = {"group": await group_of(worker), "discard": "true", "reason": "test orders"}
    status, location, _ = await post(worker, "jobs/start/", fields)
    assert status == 303
    job = await worker.json(location)
    assert (job["act"], job["reason"], job["topic"]) == ("discard", "test orders", None)
    assert "discarded" in await page(worker, location)


async def test_what_was_done_to_a_letter_is_shown_also_when_it_is_gone(
    worker: WebWorker, jobs: list[TopicMessage]
) -> None:
    [done] = entries_of([discard(letter(2), EVIL, "bert"), discard(letter(7), EVIL, "bert")], "a" * 32)
    jobs.append(TopicMessage((0, len(jobs)), *encode(done)))
    dead = await page(worker, "/dead-letters/?id=source-0-2")
    assert "discarded by bert" in dead
    assert "it has had no effect so far" in dead, "it is noted before it is done"
    gone = await page(worker, "/dead-letters/?id=source-0-7")
    assert "It is no dead letter any more" in gone
    assert "no effect" not in gone
    assert "discarded by bert" in gone
    [entry] = await (await worker.get("/dead-letters/journal/?id=source-0-7")).json()
    assert (entry["what"], entry["by"], entry["reason"], entry["generation"]) == ("discard", "bert", EVIL, 0)
    assert await (await worker.get("/dead-letters/journal/?id=source-0-8")).json() == []
    assert await (await worker.get("/dead-letters/journal/?id=nonsense")).json() == []


async def test_an_edited_record_that_does_not_fit_its_stop_is_refused(
    worker: WebWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = sorted(worker.app.line.services)[0]
    typed = DeclaredTypes(record_type(Parcel, "Parcel"))
    services = worker.app.line.services
    monkeypatch.setitem(services, stop, replaced(services[stop], types=typed, reads=None))
    fields = {"ids": "source-0-1", "record": '{"n": "seven"}', "to": stop, "dry_run": "true"}
    status, _, text = await post(worker, "replay/", fields)
    assert status == 409
    assert "Parcel: n: expected int, got str" in text
    status, _, text = await post(worker, "replay/", fields | {"record": '{"n": 7}'})
    assert status == 200
    status, _, text = await post(worker, "jobs/start/", {"group": await group_of(worker), "to": stop, "set": "n=seven"})
    assert (status, "Parcel: n: expected int, got str" in text) == (409, True)


async def test_a_letter_has_its_history_attempts_traceback_and_all_that_was_done_to_it(worker: WebWorker) -> None:
    text = await page(worker, "/dead-letters/?id=source-0-1")
    assert "by the rule &#39;all of them&#39; of version 4" in text or "by the rule &#x27;all of them&#x27;" in text
    for part in ("ValueError: first", "services.py:8 in weigh", "anna (job 0123456789: it is mended)", "before"):
        assert part in text


@pytest.mark.parametrize("path", ["?id=source-0-9", "?group=nope", "jobs/?job=none"])
async def test_what_is_not_there_is_a_page_that_says_so(worker: WebWorker, path: str) -> None:
    assert "there is no" in await page(worker, f"/dead-letters/{path}", 404) or "is no dead letter" in await page(
        worker, f"/dead-letters/{path}", 404
    )


async def test_a_job_has_its_progress_its_journal_and_the_orders_that_it_takes(worker: WebWorker) -> None:
    text = await page(worker, "/dead-letters/jobs/?job=0123456789")
    assert "paused: the scales are hot" in text
    assert "paused by bert: the scales are hot" in text
    assert "started by anna" in text
    assert "3: it still cannot be read" in text
    assert 'value="resume"' in text
    assert 'value="pause"' not in text
    assert "0123456789" in await page(worker, "/dead-letters/jobs/")


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_programs_get_the_same_as_json(worker: WebWorker, prefix: str) -> None:
    response = await worker.get(f"{prefix}/dead-letters/jobs/")
    [job] = await response.json()
    assert (job["state"], job["replayed"], job["ended"], job["dead_again"]) == ("paused", 11, 8, 2)
    assert job["orders"] == [{"what": "pause", "by": "bert", "at": 6.0, "reason": "the scales are hot"}]
    assert await worker.json(f"{prefix}/dead-letters/jobs/?job=0123456789") == job


async def test_a_form_starts_a_job_and_leads_to_its_page(worker: WebWorker) -> None:
    fields = {"group": await group_of(worker), "set": "n=2\ntext=fine", "to": "", "ramp": "1, 5", "rate": "50"}
    status, location, _ = await post(worker, "jobs/start/", fields | {"stop_at": "2.5%", "reason": "mended"})
    assert status == 303
    job = await worker.json(location)
    asked = {"set": {"n": 2, "text": "fine"}, "to": None, "ramp": [1, 5], "rate": 50.0, "stop_at": 0.025}
    assert {name: job[name] for name in asked} == asked
    assert (job["state"], job["reason"], job["is_taken_up"]) == ("running", "mended", False)


async def test_a_program_starts_a_job_with_the_same_words(worker: WebWorker) -> None:
    body = {"group": await group_of(worker), "set": {"n": 2}, "ramp": [1, 5], "stop_at": 0.5}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with worker.client.post(f"{worker.url}/api/dead-letters/jobs/start/", json=body, headers=headers) as answer:
        job = await answer.json()
    assert (answer.status, job["ramp"], job["stop_at"]) == (200, [1, 5], 0.5)


@pytest.mark.parametrize(
    ("path", "fields", "status", "told"),
    [
        ("jobs/start/", {"group": "nope"}, 409, "there is no group"),
        ("jobs/start/", {"group": "000000"}, 409, "there is no group"),
        ("jobs/start/", {"ramp": "1,x"}, 400, "is no ramp"),
        ("jobs/start/", {"stop_at": "200%"}, 400, "is no share"),
        ("jobs/start/", {"rate": "fast"}, 400, "is not a number"),
        ("jobs/start/", {"to": "nowhere"}, 409, "no worker serves the stop"),
        ("jobs/start/", {"set": "n.a.b=1"}, 409, "is a number"),
        ("jobs/ask/", {"job": "none", "wish": "pause"}, 409, "there is no replay job"),
        ("jobs/ask/", {"job": "0123456789", "wish": "dance"}, 400, "wish"),
        ("jobs/ask/", {"job": "0123456789", "wish": "pause"}, 409, "cannot be paused: it is paused"),
        ("replay/", {"ids": "source-0-1", "record": "{"}, 400, "the record cannot be used"),
        ("discard/", {"ids": "source-0-1"}, 400, "reason"),
    ],
)
async def test_a_wrong_form_is_refused_on_a_page_that_says_why(
    worker: WebWorker, path: str, fields: dict[str, str], status: int, told: str
) -> None:
    whole = fields if {"group", "ids", "job"} & fields.keys() else fields | {"group": await group_of(worker)}
    found, _, text = await post(worker, path, whole)
    assert (found, "<h1>Not done</h1>" in text) == (status, True)
    assert told in text


async def test_a_form_without_the_token_writes_nothing(worker: WebWorker) -> None:
    fields = {"group": await group_of(worker)}
    for path in ("jobs/start/", "jobs/ask/", "replay/", "discard/"):
        status, _, text = await post(worker, path, fields, Authorization="Bearer wrong")
        assert (status, "the header Authorization" in text) == (401, True)


async def test_an_edited_letter_is_shown_where_it_would_go(worker: WebWorker) -> None:
    stop = sorted(worker.app.served_stops())[0]
    fields: dict[str, Any] = {"ids": "source-0-1", "record": '{\n  "n": 7\n}', "to": stop, "dry_run": "true"}
    status, _, text = await post(worker, "replay/", fields)
    assert status == 200
    assert f"{stop} (as asked)" in text


async def test_a_group_is_shown_where_it_would_go_before_a_job_begins(
    worker: WebWorker, jobs: list[TopicMessage]
) -> None:
    stop, before = sorted(worker.app.served_stops())[0], len(jobs)
    fields = {"group": await group_of(worker), "to": stop, "ramp": "1,10", "reason": "why", "dry_run": "true"}
    status, _, text = await post(worker, "jobs/start/", fields)
    assert status == 200
    assert text.count(f"{stop} (as asked)") == 3
    assert len(jobs) == before, "no job was started"


def test_the_order_to_begin_a_job_is_checked_as_it_is_made() -> None:
    made = new_job("anna", group="4be3b2")
    assert (made.ramp, made.stop_at, made.rate) == ((1, 10, 100, 1_000), 0.05, 100.0)
