"""Publishing at `/rules/`: after its preview, with a reason, and refused when the table changed meanwhile."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

import orjson
import pytest
from aiohttp import ClientResponse
from aiokafka.errors import TopicAuthorizationFailedError
from faust.web.drivers.aiohttp import Web
from msgspec import to_builtins
from msgspec.structs import replace
from yarl import URL

from metroline.agents.tables.forecast import Forecast
from metroline.agents.tables.publication import MAX_REASON, Publication
from metroline.app.operations.permission import Permission
from metroline.app.operations.publishing import Grounds, NotPublished, Outdated, Published
from metroline.app.operations.rules_process import NoAnswer, RulesProcess
from metroline.app.operations.rules_topic import PublishedRules, Unconfirmed
from metroline.app.operations.table_checks import MAX_PROBLEMS
from metroline.app.preview.forecasts import Check, Difference
from metroline.app.preview.preview import preview
from metroline.app.preview.seen import Seen, Shape
from metroline.app.preview.ways import NewTable
from metroline.app.views.access.doors import FORM_TOKEN_HEADER, NAME_HEADER
from metroline.app.views.rules.drafts import Draft
from metroline.app.views.rules.page import RULES_PROCESS
from metroline.app.views.rules.parts import MAX_CHARACTERS, MAX_TRIED
from metroline.app.views.rules.publishing import CHECKER
from metroline.app.web_server.logins import Logins
from metroline.routing.outcome import Ending
from metroline.routing.rules.table import RulesTable
from tests.support.html_reader import HtmlReader
from tests.support.web_worker import HTML, TOKEN, Start, WebWorker

JSON = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}", NAME_HEADER: "ann"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Publishing:
    """Stands for the operation that publishes, and for the commands about a table."""

    def __init__(self) -> None:
        self.published: list[tuple[str, str, Grounds, int | None]] = []
        self.problem: Exception | None = None
        self.no_answer: Exception | None = None
        self.asked: list[str] = []
        self.version = 2

    async def publish(
        self,
        _settings: object,
        _topics: object,
        table: RulesTable,
        _file: str,
        permission: Permission,
        grounds: Grounds,
        replaces: int | None,
    ) -> Published:
        by = permission.demand()
        if self.problem is not None:
            raise self.problem
        self.published.append((table.text, by, grounds, replaces))
        return Published(self.version + 1, self.version, ["warning: mind the gap"])

    async def ask(self, _process: RulesProcess, command: str, text: str, *_: str) -> bytes:
        self.asked.append(command)
        if self.no_answer is not None:
            raise self.no_answer
        if command == "diff":
            return orjson.dumps({"lines": ["--- version 2", "+++ x", "+changed"], "warnings": [], "meaning": None})
        seen = Seen("source-0-1", Shape((), Ending.DELIVERED, "", None), b"{}", 1.0, 2.0)
        new = NewTable(RulesTable.parse(text), {})
        return orjson.dumps(to_builtins(preview(new, 2, [(seen, new.follow(seen))])))


@pytest.fixture
def publishing(monkeypatch: pytest.MonkeyPatch) -> Publishing:
    double = Publishing()
    monkeypatch.setattr("metroline.app.views.rules.publishing.publish_table", double.publish)
    monkeypatch.setattr("metroline.app.views.rules.publishing.APPLIED_SECONDS", 0.0)

    async def ask(process: RulesProcess, command: str, text: str, *options: str) -> bytes:
        return await double.ask(process, command, text, *options)

    monkeypatch.setattr(RulesProcess, "ask", ask)
    return double


@pytest.fixture
async def one(start: Start, monkeypatch: pytest.MonkeyPatch) -> WebWorker:
    """Return a worker with two versions of its rules."""
    worker = await start(metroline_token=TOKEN)
    text = worker.app.line.rules_text
    for number, table in enumerate((text, text + "# 2\n"), 1):
        put_version(worker, number, table)
    monkeypatch.setattr(worker.app.live_rules, "_recovered", lambda: True)
    return worker


def put_version(worker: WebWorker, number: int, text: str, by: str = "bob") -> Publication:
    publication = Publication(text, number - 1, by, 5.0, f"because of {number}")
    worker.put(worker.app.line_tables.rules, {str(number): publication.as_json()})
    return publication


async def post(
    one: WebWorker, path: str, data: object, headers: Mapping[str, str] = JSON
) -> tuple[ClientResponse, dict[str, Any]]:
    body = orjson.dumps(data) if headers.get("Content-Type") == "application/json" else data
    answer = await one.client.post(URL(f"{one.url}{path}"), data=body, headers=headers)
    await answer.read()
    return answer, await answer.json() if answer.content_type == "application/json" else {}


def browser(one: WebWorker) -> dict[str, str]:
    """Return the headers of a form that somebody sends who is logged in."""
    logins = Logins(TOKEN, one.app.line_topics.prefix)
    value = logins.issue("eve", time.time())
    login = logins.login(value, time.time())
    assert login is not None
    cookie = {"Cookie": f"{logins.cookie}={value}", FORM_TOKEN_HEADER: login.form_token}
    return {**FORM, **HTML, **cookie, "Sec-Fetch-Site": "same-origin", "Origin": one.url}


async def send(one: WebWorker, path: str, **fields: object) -> tuple[int, HtmlReader]:
    """Send the form of the page."""
    answer, _ = await post(one, path, {name: str(value) for name, value in fields.items()}, browser(one))
    return answer.status, HtmlReader(await answer.text())


def changed(one: WebWorker) -> str:
    return one.app.line.rules_text + "# 3\n"


async def test_a_table_is_published_with_its_reason_its_forecast_and_who_did_it(
    one: WebWorker, publishing: Publishing
) -> None:
    asked = {"table": changed(one), "reason": " a test ", "replaces": 2}
    answer, told = await post(one, "/rules/publish/", asked)
    assert (answer.status, told) == (
        200,
        {"published": True, "version": 3, "replaces": 2, "warnings": ["warning: mind the gap"]},
    )
    visits = dict.fromkeys(("contact_point", "allow_list", "log"), 0)
    forecast = Forecast(1, 1, 0, {"dead: unroutable": 1, "delivered": 0}, visits)
    [(text, by, grounds, replaces)] = publishing.published
    assert (text, by, replaces) == (changed(one), "ann over HTTP", 2)
    assert (grounds.reason, grounds.forecast) == ("a test", forecast)


async def test_both_addresses_publish(one: WebWorker, publishing: Publishing) -> None:
    answer, _ = await post(one, "/api/rules/publish/", {"table": changed(one), "reason": "a test"})
    assert answer.status == 200
    assert publishing.published[0][3] is None


async def test_a_form_publishes_what_was_previewed_and_nothing_else(one: WebWorker, publishing: Publishing) -> None:
    fields: dict[str, object] = {"table": changed(one), "reason": "<why>", "replaces": 2, "record": "", "previewed": ""}
    status, page = await send(one, "/rules/publish/", **fields)
    assert (status, publishing.published) == (409, [])
    assert "Not published yet: this is the preview of the table." in page.words
    assert "For 1 journey of this line" in page.words
    marks = dict(zip(page.attributes("input", "name"), page.attributes("input", "value"), strict=False))
    assert marks["previewed"] == Draft(changed(one), "", 2).mark
    assert "<why>" in page.attributes("input", "value")
    other = fields | {"previewed": marks["previewed"], "table": changed(one) + "# 4\n"}
    assert (await send(one, "/rules/publish/", **other))[0] == 409
    status, page = await send(one, "/rules/publish/", **fields | {"previewed": marks["previewed"]})
    assert status == 200
    assert "Published: version 3 replaces version 2." in page.words
    assert "mind the gap" in page.words
    assert [one[1:2] for one in publishing.published] == [("eve over HTTP",)]


async def test_a_preview_allows_the_form_to_publish(one: WebWorker, publishing: Publishing) -> None:
    _, page = await send(one, "/rules/", table=changed(one), reason="why", replaces=2, ask="preview", record="{}")
    assert Draft(changed(one), "", 2).mark in page.attributes("input", "value")
    assert "The table replaces version 2 for the decisions that follow." in page.words
    assert publishing.asked == ["diff", "preview"]


async def test_a_table_that_was_made_from_an_older_version_is_refused_and_kept(
    one: WebWorker, publishing: Publishing
) -> None:
    theirs = one.app.line.rules_text + "# theirs\n"
    current = PublishedRules(3, Publication(theirs, 2, "zoe", 6.0, "mine first"))
    publishing.problem = Outdated("version 3 by zoe is current, not 2", current)
    mark = Draft(changed(one), "", 2).mark
    status, page = await send(
        one, "/rules/publish/", table=changed(one), reason="why", replaces=2, previewed=mark, record='{"a": 1}'
    )
    assert status == 409
    assert "Not published: version 3 by zoe came first." in page.words
    assert "Version 3 was published meanwhile, by zoe," in page.words
    assert "mine first" in page.words
    assert "+# theirs" in page.text
    assert changed(one) in page.text
    assert '{"a": 1}' in page.text
    values = dict(zip(page.attributes("input", "name"), page.attributes("input", "value"), strict=False))
    assert (values["replaces"], values["previewed"], values["reason"]) == ("3", "", "why")
    answer, told = await post(one, "/rules/publish/", {"table": changed(one), "reason": "why", "replaces": 2})
    assert (answer.status, told["meanwhile"]["version"], told["meanwhile"]["by"]) == (409, 3, "zoe")


async def test_a_table_that_is_known_to_be_outdated_is_refused_before_its_forecast_is_made(
    one: WebWorker, publishing: Publishing
) -> None:
    answer, told = await post(one, "/rules/publish/", {"table": changed(one), "reason": "why", "replaces": 1})
    assert (answer.status, told["meanwhile"]["version"], told["meanwhile"]["by"]) == (409, 2, "bob")
    assert (publishing.asked, publishing.published) == ([], [])
    answer, _ = await post(one, "/rules/publish/", {"table": changed(one), "reason": "why", "replaces": 3})
    assert answer.status == 200, "this worker may not have read the latest version yet"


async def test_of_many_problems_the_first_are_told_and_all_are_counted(one: WebWorker, publishing: Publishing) -> None:
    table = "[[rules]]\n" * 3_000
    for path in ("/rules/", "/rules/publish/"):
        _, told = await post(one, path, {"table": table} | ({"reason": "x"} if "publish" in path else {}))
        assert len(told["problems"]) == MAX_PROBLEMS < 3_000 <= told["problem_count"]
    _, page = await send(one, "/rules/", table=table)
    assert f"problems. These are the first {MAX_PROBLEMS}." in page.words
    assert publishing.published == []


async def test_a_long_line_is_not_repeated_beside_each_of_its_problems(one: WebWorker) -> None:
    _, told = await post(one, "/rules/", {"table": f"{'x' * 100_000}"})
    [problem] = told["problems"]
    assert (problem["line"], len(problem["text"])) == (1, MAX_CHARACTERS)


async def test_of_many_rules_that_were_tried_the_last_ones_are_listed(one: WebWorker) -> None:
    rule = '[[rules]]\nafter = "source"\nmatch = { a = 1 }\nto = "log"\n'
    table = f'{rule * (MAX_TRIED + 4)}[[rules]]\nafter = "source"\nname = "others"\nto = "log"\n'
    _, told = await post(one, "/rules/", {"table": table, "record": {"a": 2}})
    step = told["steps"][0]
    assert (len(step["tried"]), step["left_out"], step["tried"][-1]["rule"]) == (MAX_TRIED, 5, "others")
    _, page = await send(one, "/rules/", table=table, record='{"a": 2}', ask="record")
    assert "5 rules before these did not hold" in page.words


async def test_a_preview_says_what_was_published_meanwhile(one: WebWorker, publishing: Publishing) -> None:
    status, page = await send(one, "/rules/", table=changed(one), replaces=1, ask="preview")
    assert status == 200
    assert "Version 2 was published meanwhile, by bob," in page.words
    assert Draft(changed(one), "", 2).mark in page.attributes("input", "value")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"reason": "x"}, "table is missing"),
        ({"table": "x", "reason": "  "}, "give the reason"),
        ({"table": "x", "reason": "x" * (MAX_REASON + 1)}, "the maximum is 1,000"),
        ({"table": "x", "reason": 3}, "reason is a text"),
        ({"table": "x", "reason": "x", "replaces": "two"}, "replaces is the number"),
        ({"table": "x", "reason": "x", "replaces": True}, "replaces is the number"),
        ({"table": "x", "reason": "x", "replaces": -1}, "replaces is the number"),
        ({"table": "x", "reason": "x", "by": "me"}, "unknown field 'by'"),
        ({"table": "#" * 300_000, "reason": "x"}, "the maximum here is 262,144"),
    ],
)
async def test_a_wrong_request_publishes_nothing(
    one: WebWorker, publishing: Publishing, given: dict[str, object], words: str
) -> None:
    answer, told = await post(one, "/rules/publish/", given)
    assert answer.status == 400
    assert words in told["error"]
    assert publishing.published == []


async def test_a_table_with_problems_is_refused_with_each_line(one: WebWorker, publishing: Publishing) -> None:
    table = '[[rules]]\nafter = "source"\nwhen = "a >"\nto = "log"\n[[rules]]\nafter = 3\nto = "log"\n'
    answer, told = await post(one, "/rules/publish/", {"table": table, "reason": "x"})
    assert answer.status == 400
    assert [(one["line"], one["text"]) for one in told["problems"]] == [(3, 'when = "a >"'), (6, "after = 3")]
    assert publishing.published == []


@pytest.mark.parametrize(
    ("problem", "status"),
    [
        (NotPublished("no worker of the line is alive"), 409),
        (NoAnswer("no broker"), 503),
        (Unconfirmed(), 503),
        (TopicAuthorizationFailedError(), 503),
    ],
)
async def test_what_cannot_be_published_now_is_said_and_nothing_that_was_typed_is_lost(
    one: WebWorker, publishing: Publishing, problem: Exception, status: int
) -> None:
    publishing.problem = problem
    mark = Draft(changed(one), "", 2).mark
    got, page = await send(one, "/rules/publish/", table=changed(one), reason="why", replaces=2, previewed=mark)
    assert got == status
    assert ("Not published: " in page.words) is not isinstance(problem, Unconfirmed)
    assert changed(one) in page.text
    assert mark in page.attributes("input", "value")
    assert "why" in page.attributes("input", "value")


async def test_without_a_forecast_the_table_is_published_all_the_same(one: WebWorker, publishing: Publishing) -> None:
    publishing.no_answer = NoAnswer("you may not read the journeys")
    _, told = await post(one, "/rules/publish/", {"table": changed(one), "reason": "x"})
    assert told["warnings"][1] == "no forecast is kept with the table: you may not read the journeys"
    assert publishing.published[0][2].forecast is None


async def test_publishing_waits_for_the_turn_of_a_preview_and_then_goes_on_without_a_forecast(
    one: WebWorker, publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metroline.app.preview.forecasts.SECONDS", 0.05)
    async with cast(Web, one.app.web).web_app[RULES_PROCESS].turn():
        _, told = await post(one, "/rules/publish/", {"table": changed(one), "reason": "x"})
    assert "it took longer than 0.05 s" in told["warnings"][1]


async def test_an_earlier_version_is_published_again(one: WebWorker, publishing: Publishing) -> None:
    answer, told = await post(one, "/rules/1/rollback/", {"replaces": 2})
    assert (answer.status, told["version"]) == (200, 3)
    [(text, by, grounds, replaces)] = publishing.published
    assert (text, by, grounds.reason, replaces) == (one.app.line.rules_text, "ann over HTTP", "back to version 1", 2)
    assert grounds.forecast is not None
    assert (await post(one, "/rules/9/rollback/", {}))[0].status == 404


async def test_a_rollback_asks_first_with_the_reason_and_the_changes(one: WebWorker, publishing: Publishing) -> None:
    shown = HtmlReader(await (await one.get("/rules/", browser(one))).text())
    assert shown.attributes("a", "href").count("/rules/1/rollback/") == 1
    assert "/rules/2/rollback/" not in shown.attributes("a", "href")
    page = HtmlReader(await (await one.get("/rules/1/rollback/", browser(one))).text())
    assert "Roll back to version 1?" in page.words
    assert "-# 2" in page.text
    values = dict(zip(page.attributes("input", "name"), page.attributes("input", "value"), strict=False))
    assert values["reason"] == "back to version 1"
    status, done = await send(one, "/rules/1/rollback/", replaces=2, reason="orders were lost")
    assert status == 200
    assert "Published: version 3 replaces version 2." in done.words
    assert publishing.published[0][2].reason == "orders were lost"
    assert (await one.json("/rules/1/rollback/"))["reason"] == "back to version 1"


async def test_where_the_forecast_does_not_hold_one_click_goes_back(
    one: WebWorker, publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Check(Forecast(100, 3, 0, {"delivered": 100}, {}), 50, is_enough=True, differences=[])
    gone = replace(check, differences=[Difference("dead: unroutable", 0.002, 0.04)])
    found: list[Check] = []

    async def checked(*_: object) -> Check:
        return found[-1]

    monkeypatch.setattr("metroline.app.views.rules.page.check_of_line", checked)
    for what in (check, gone):
        found.append(what)
        page = HtmlReader(await (await one.get("/rules/", browser(one))).text())
        assert ("See the changes first" in page.words) == (what is gone)
    fields = zip(page.attributes("input", "name"), page.attributes("input", "value"), strict=False)
    given = dict(reversed(list(fields)))  # those of the first form
    assert given["reason"] == "version 2: dead: unroutable: forecast 0.2 %, seen 4.0 %."
    status, done = await send(one, "/rules/1/rollback/", replaces=given["replaces"], reason=given["reason"])
    assert status == 200
    assert "Published: version 3 replaces version 2." in done.words
    assert publishing.published[0][2].reason == given["reason"]


async def test_a_rollback_from_a_version_that_is_not_current_any_more_is_refused(
    one: WebWorker, publishing: Publishing
) -> None:
    publishing.problem = Outdated("x", PublishedRules(3, put_version(one, 3, changed(one), "zoe")))
    status, page = await send(one, "/rules/1/rollback/", replaces=2, reason="orders were lost")
    assert status == 409
    assert "Not published: version 3 by zoe came first." in page.words
    assert "orders were lost" in page.attributes("input", "value")
    assert "3" in page.attributes("input", "value")


async def test_whoever_is_not_logged_in_is_led_to_the_login(one: WebWorker) -> None:
    for path in ("/rules/", "/rules/1/rollback/"):
        page = HtmlReader(await (await one.get(path, HTML)).text())
        assert any(str(link).startswith("/login?next=") for link in page.attributes("a", "href"))
        assert "reason" not in page.attributes("input", "id")


async def test_a_record_goes_by_the_table_and_by_the_current_version(one: WebWorker) -> None:
    table = one.app.line.rules_text.replace('when = "hold != null"', 'when = "account_number > 5"')
    record = {"message_type_code": "ALTBAL", "account_number": 9}
    _, told = await post(one, "/rules/", {"table": table, "record": record})
    assert told["steps"][-1]["verdict"].startswith("dropped: not on the allow list")
    assert [step["after"] for step in told["live_steps"]] == ["source", "contact_point", "allow_list", "log"]
    _, page = await send(one, "/rules/", table=table, record=orjson.dumps(record).decode(), ask="record")
    assert "The ways part after allow_list." in page.words
    _, page = await send(one, "/rules/", table=changed(one), record=orjson.dumps(record).decode(), ask="record")
    assert "Both tables take the record the same way." in page.words


async def test_a_table_is_checked_while_it_is_typed(one: WebWorker) -> None:
    table = '[[rules]]\nafter = "source"\nwhen = "a >"\nto = "nowhere"\n'
    for path in ("/rules/check/", "/api/rules/check/"):
        answer, told = await post(one, path, {"table": table}, {"Content-Type": "application/json"})
        assert answer.status == 200
        assert [(one["line"], one["text"]) for one in told["problems"]] == [(3, 'when = "a >"'), (4, 'to = "nowhere"')]
        assert told["count"] == 2
    _, told = await post(one, "/rules/check/", {"table": changed(one)})
    assert told == {"problems": [], "count": 0}
    answer, told = await post(one, "/rules/check/", {"table": "#" * 300_000})
    assert answer.status == 400
    assert "the maximum here is 262,144" in told["error"]
    await cast(Web, one.app.web).web_app[CHECKER].close()


async def test_the_page_says_where_its_script_finds_the_check_and_the_editor(
    one: WebWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for files, editors in (({"rules_editor.js": None}, ["/static/rules_editor.js"]), ({}, [])):
        monkeypatch.setattr("metroline.app.views.rules.forms.static_files", lambda files=files: files)
        page = HtmlReader(await (await one.get("/rules/", HTML)).text())
        assert [one for one in page.attributes("form", "data-editor") if one] == editors
        assert "/rules/check/" in page.attributes("form", "data-check")
        assert "/static/rules_page.js" in page.attributes("script", "src")


async def test_the_script_checks_at_once_what_is_not_the_current_table(one: WebWorker, publishing: Publishing) -> None:
    page = HtmlReader(await (await one.get("/rules/", HTML)).text())
    assert "" not in page.attributes("form", "data-changed")
    _, page = await send(one, "/rules/", table=changed(one), replaces=2, ask="preview")
    assert "" in page.attributes("form", "data-changed")
