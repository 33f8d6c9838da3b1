"""Comparisons of strategies over HTTP: the last runs, one as a report, several beside each other, and their start."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
import orjson
import pytest
from aiohttp import ClientResponse
from msgspec import Raw
from msgspec.structs import replace

from metroline.agents.kafka.topic_tail import TopicTail
from metroline.app.operations import comparison_runs, comparisons
from metroline.app.operations.comparison_runs import CANCEL, KeptRun, RunState
from metroline.app.operations.comparisons import Comparisons
from metroline.app.operations.journal_notes import Deed
from metroline.app.operations.permission import Permission
from metroline.app.views.comparisons.views import run_line
from metroline.app.web_server.logins import Logins
from tests.support.dead_letter_topic import TopicMessage
from tests.support.html_reader import HtmlReader
from tests.support.kept_comparisons import FIRST, RUNNING, SECOND, done
from tests.support.web_worker import HTML, TOKEN, Start, WebWorker

EVIL = "<script>alert('x')</script>"
BEARER = {"Authorization": f"Bearer {TOKEN}", "Metroline-User": "ada"}


class Log:
    """The topic of comparisons."""

    def __init__(self) -> None:
        self.messages: list[TopicMessage] = []
        self.noted: list[tuple[Deed, str, str]] = []
        """The deeds in the journal, with who and which comparison."""

    def write(self, key: bytes, value: bytes | None) -> None:
        self.messages.append(TopicMessage((0, len(self.messages)), key, value))

    def keep(self, *runs: KeptRun) -> None:
        for run in runs:
            self.write(run.id.encode(), msgspec.json.encode(run))


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """Return the topic, which stands for a broker. No process is started."""
    log = Log()

    async def write(_: object, __: str, messages: list[tuple[bytes, bytes | None]], permission: Permission) -> None:
        permission.demand()
        for key, value in messages:
            log.write(key, value)

    async def note(_: object, __: object, permission: Permission, deed: Deed, run: str) -> None:
        log.noted.append((deed, permission.demand(), run))

    async def carry_out(*_: Any) -> None:
        pass

    monkeypatch.setattr(TopicTail, "read", lambda *_: iter([list(log.messages)] if log.messages else []))
    monkeypatch.setattr(comparison_runs, "_write", write)
    monkeypatch.setattr(comparisons, "note_deed", note)
    monkeypatch.setattr(Comparisons, "_carry_out", carry_out)
    return log


@pytest.fixture
async def worker(start: Start, log: Log, monkeypatch: pytest.MonkeyPatch) -> WebWorker:
    """Return a worker with two versions of the rules, of which the first one is that of the line's file."""
    worker = await start(metroline_token=TOKEN)
    for number, table in enumerate((worker.app.line.rules_text, current_rules(worker)), 1):
        entry = {"rules": table, "replaces": number - 1, "by": "ann", "at": 5.0, "reason": ""}
        worker.put(worker.app.line_tables.rules, {str(number): entry})
    monkeypatch.setattr(worker.app.live_rules, "_recovered", lambda: True)
    return worker


def current_rules(worker: WebWorker) -> str:
    return worker.app.line.rules_text.replace('drop = "no contact point"', 'drop = "no address"')


async def page(worker: WebWorker, path: str, status: int = 200) -> HtmlReader:
    """Return a page as somebody sees it who is logged in."""
    logins = Logins(TOKEN, worker.app.line_topics.prefix)
    cookie = {"Cookie": f"{logins.cookie}={logins.issue('ada', time.time())}"}
    answer = await worker.get(path, {**HTML, **cookie})
    assert answer.status == status
    return HtmlReader(await answer.text())


async def post(
    worker: WebWorker, path: str, body: Mapping[str, Any], headers: Mapping[str, str] = BEARER
) -> ClientResponse:
    answer = await worker.client.post(f"{worker.url}{path}", data=orjson.dumps(body), headers=headers)
    await answer.read()
    return answer


async def test_a_line_without_comparisons_says_so_and_names_what_a_start_does(worker: WebWorker) -> None:
    assert (await (await worker.get("/compare/")).json()) == []
    found = await page(worker, "/compare/")
    assert "No comparison was run on this line yet." in found.words
    assert (
        "The services of the line (allow_list, contact_point, log) are called again with these records" in found.words
    )
    assert "Nothing is written to the ends of the line" in found.words
    required = [each for name, each in found.elements if name == "input" and each.get("name") == "services_run_again"]
    assert [("required" in each, "checked" in each) for each in required] == [(True, False)]


async def test_the_last_comparisons_are_listed_with_their_charts(worker: WebWorker, log: Log) -> None:
    log.keep(done(at=5_000.0), done(SECOND, at=6_000.0, by=EVIL, rules_version=None, rate="max"))
    listed = await (await worker.get("/compare/")).json()
    assert [(run["id"], run["by"], run["comparison"]) for run in listed] == [(SECOND, EVIL, None), (FIRST, "ada", None)]
    found = await page(worker, "/compare/")
    assert EVIL in found.text
    assert "alert('x')" not in [text for text in found.texts if text.startswith("alert")]
    assert f"{FIRST} done 1970-01-01 01:23 UTC ada 100,000 the topic orders.source signpost, conductor" in found.words
    assert "highest not published c0de" in found.words
    assert found.text.count("Records per second") >= 2
    assert f"{SECOND}: 100,000 records, not published, 1970-01-01 01:40" in found.words


async def test_a_comparison_is_shown_as_a_report(worker: WebWorker, log: Log) -> None:
    log.keep(done(machine={"machine": "a machine"}))
    answer = await (await worker.get(f"/compare/{FIRST}/")).json()
    assert (answer["state"], answer["rules_version"], answer["code"]) == ("done", 3, "c0de")
    assert answer["comparison"]["runs"][0]["routes"]["rating>archive"]["delivered"] == 91_234
    found = await page(worker, f"/compare/{FIRST}/")
    assert "Same outcome under all strategies" in found.words
    assert "Where the records went" in found.words
    assert "rating" in found.words
    assert "started by ada, on a page" in found.words
    assert "100,000 records of the topic orders.source, 2.00 MB" in found.words
    assert "rules version 3, the current one when it was started" in found.words
    assert "metroline compare --line orders --recent 100" in found.words
    assert "What the figures mean" in found.words


async def test_comparisons_are_shown_beside_each_other(worker: WebWorker, log: Log) -> None:
    log.keep(done(), done(SECOND))
    both = await (await worker.get(f"/compare/?runs={SECOND},{FIRST}")).json()
    assert [run["id"] for run in both] == [SECOND, FIRST]
    assert all(run["comparison"]["same_outcome"] for run in both)
    for path in (f"/compare/?runs={SECOND},{FIRST}", f"/compare/?runs={SECOND}&runs={FIRST}"):
        found = await page(worker, path)
        charts = [each for name, each in found.elements if name == "svg" and each.get("class") == "bars"]
        assert len(charts) == 2 * 4
        assert found.words.count("What each strategy costs") == 2


async def test_what_does_not_exist_or_is_too_much_is_refused(worker: WebWorker, log: Log) -> None:
    log.keep(done())
    missing = await worker.get(f"/compare/{SECOND}/")
    assert (missing.status, (await missing.json())["error"]) == (
        404,
        f"there is no comparison {SECOND!r}: the line keeps the last 50",
    )
    assert "there is no comparison" in (await page(worker, f"/compare/?runs={FIRST},{SECOND}", 404)).words
    many = ",".join(f"{number:010x}" for number in range(7))
    refused = await worker.get(f"/compare/?runs={many}")
    assert (refused.status, (await refused.json())["error"]) == (
        400,
        "at most 6 comparisons are shown beside each other",
    )


async def test_results_that_others_wrote_are_no_error_of_the_page(worker: WebWorker, log: Log) -> None:
    log.keep(replace(done(), comparison=Raw(b'{"runs": 1}'), at=253_402_300_799.0), done(SECOND, table="[[rules"))
    answer = await (await worker.get(f"/compare/{FIRST}/")).json()
    assert (answer["comparison"], answer["note"]) == (None, "its results cannot be read")
    assert "its results cannot be read" in (await page(worker, f"/compare/{FIRST}/")).words
    assert "Where the records went" not in (await page(worker, f"/compare/{SECOND}/")).words
    await page(worker, "/compare/")


async def test_the_progress_of_a_comparison_is_shown_and_who_may_can_cancel_it(worker: WebWorker, log: Log) -> None:
    log.keep(replace(RUNNING, updated=time.time()))
    found = await page(worker, f"/compare/{FIRST}/")
    assert "signpost: 40 of 100" in found.words
    assert [each.get("value") for name, each in found.elements if name == "progress"] == ["40"]
    assert "Cancel" in found.words
    listed = await page(worker, "/compare/")
    assert "ada runs a comparison. Another one can be started when it has ended." in listed.words
    stranger = HtmlReader(await (await worker.get(f"/compare/{FIRST}/", HTML)).text())
    assert "Log in to do this" in stranger.words

    answer = await post(worker, "/compare/cancel/", {"run": FIRST})
    assert answer.status == 200
    assert log.messages[-1].key() == FIRST.encode() + CANCEL
    assert orjson.loads(log.messages[-1].value() or b"")["by"] == "ada over HTTP"
    assert log.noted == [(Deed.CANCELLED, "ada over HTTP", FIRST)]


async def test_a_comparison_of_a_worker_that_is_gone_is_interrupted(worker: WebWorker, log: Log) -> None:
    log.keep(replace(RUNNING, updated=time.time() - 600))
    assert (await (await worker.get(f"/compare/{FIRST}/")).json())["state"] == "interrupted"
    assert "interrupted: the process that ran it has ended" in (await page(worker, f"/compare/{FIRST}/")).words
    answer = await post(worker, "/compare/cancel/", {"run": FIRST})
    assert (answer.status, (await answer.json())["error"]) == (
        400,
        f"the comparison {FIRST} cannot be cancelled: it is interrupted",
    )


async def test_a_comparison_is_started_once_it_is_confirmed(worker: WebWorker, log: Log) -> None:
    answer = await post(worker, "/compare/start/", {"records": 50})
    assert answer.status == 400
    assert "confirm it with services_run_again" in (await answer.json())["error"]
    assert log.messages == []

    answer = await post(worker, "/compare/start/", {"records": 50, "rates": True, "services_run_again": True})
    run = await answer.json()
    assert (answer.status, run["state"], run["by"], run["asked"], run["rate"]) == (
        200,
        "running",
        "ada over HTTP",
        50,
        "max",
    )
    assert run["strategies"] == ["hard_wired", "conductor", "map_maker", "signpost"]
    line = worker.app.settings.line
    assert run["command"] == (
        f"metroline rules show --version 2 --line {line} > rules.toml && metroline compare --line {line} --recent 50 "
        "--strategies hard_wired,conductor,map_maker,signpost --rate max --rules rules.toml"
    )
    assert run["rules_version"] == 2
    [message] = log.messages
    assert orjson.loads(message.value() or b"")["table"] == current_rules(worker)
    again = await post(worker, "/compare/start/", {"services_run_again": True})
    assert (again.status, (await again.json())["error"]) == (
        409,
        f"ada over HTTP runs the comparison {run['id']} on this line: wait until it has ended, or cancel it",
    )
    assert log.noted == [(Deed.COMPARED, "ada over HTTP", run["id"])], "a comparison that is refused was not started"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"records": 0}, "records: Input should be greater than or equal to 1"),
        ({"records": 20_001}, "records: Input should be less than or equal to 20000"),
        ({"records": "5"}, "records: Input should be a valid integer"),
        ({"strategies": []}, "strategies: List should have at least 1 item"),
        ({"strategies": ["signpots"]}, "there is no strategy 'signpots'"),
        ({"prefix": "x"}, "prefix: Extra inputs are not permitted"),
    ],
)
async def test_a_wrong_order_is_refused(worker: WebWorker, log: Log, body: dict[str, Any], problem: str) -> None:
    answer = await post(worker, "/compare/start/", {"services_run_again": True, **body})
    assert answer.status == 400
    assert problem in (await answer.json())["error"]
    assert log.messages == []


async def test_the_form_starts_a_comparison_and_leads_to_it(worker: WebWorker, log: Log) -> None:
    logins = Logins(TOKEN, worker.app.line_topics.prefix)
    cookie = {"Cookie": f"{logins.cookie}={logins.issue('ada', time.time())}"}
    shown = await (await worker.get("/compare/", {**HTML, **cookie})).text()
    token = re.findall(r'name="form_token" value="([^"]+)"', shown)[-1]
    headers = {**HTML, **cookie, "Content-Type": "application/x-www-form-urlencoded"}

    async def send(**fields: str) -> ClientResponse:
        body = urlencode({"form_token": token, "records": "70", "signpost": "true", **fields})
        url = f"{worker.url}/compare/start/"
        answer = await worker.client.post(url, data=body, headers=headers, allow_redirects=False)
        await answer.read()
        return answer

    refused = await send()
    assert refused.status == 400
    assert "confirm it" in HtmlReader(await refused.text()).words
    started = await send(services_run_again="true", chaining="true")
    [message] = log.messages
    run = orjson.loads(message.value() or b"")
    assert (started.status, started.headers["Location"]) == (303, f"/compare/{run['id']}/")
    assert (run["strategies"], run["chaining"], run["asked"], run["by"]) == (["signpost"], True, 70, "ada over HTTP")
    assert run["state"] == RunState.RUNNING


async def test_a_comparison_runs_by_the_current_rules_and_not_by_those_of_the_file(worker: WebWorker) -> None:
    assert "It runs by version 2 of the rules, the current one." in (await page(worker, "/compare/")).words
    line = await run_line(worker.app)
    assert (line.rules_version, line.table) == (2, current_rules(worker))


async def test_a_comparison_that_is_unknown_cannot_be_cancelled(worker: WebWorker, log: Log) -> None:
    answer = await post(worker, "/compare/cancel/", {"run": "<b>x</b>"})
    assert (answer.status, log.messages) == (404, [])


async def test_a_line_without_rules_is_not_compared(start: Start, log: Log) -> None:
    worker = await start(metroline_token=TOKEN)
    assert "It runs by no rules: there are none yet." in (await page(worker, "/compare/")).words
    answer = await post(worker, "/compare/start/", {"services_run_again": True})
    assert (answer.status, log.messages) == (409, [])
    assert "this worker has no rules yet" in (await answer.json())["error"]
