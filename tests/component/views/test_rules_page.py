"""The page of the rules: versions and reasons, problems by line, previews of a table, and the way of a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson
import pytest
from aiohttp import ClientResponse
from faust.web.drivers.aiohttp import Web
from msgspec import to_builtins

from metroline.agents.pulses.pulse import Pulse, RuleSum
from metroline.agents.tables.forecast import Forecast
from metroline.agents.tables.publication import Publication
from metroline.app.operations.rules_process import NoAnswer, RulesBusy, RulesProcess
from metroline.app.preview.preview import preview
from metroline.app.preview.seen import Seen, Shape
from metroline.app.preview.ways import NewTable
from metroline.app.views.anchors import rule_link
from metroline.app.views.rules.drafts import MAX_TABLE_CHARACTERS
from metroline.app.views.rules.page import RULES_PROCESS
from metroline.routing.outcome import Ending
from metroline.routing.rules.meaning.difference import difference
from metroline.routing.rules.table import RulesTable
from tests.support.html_reader import HtmlReader
from tests.support.live_figures import NOW, Told
from tests.support.table_entries import journey
from tests.support.web_worker import HTML, Start, WebWorker, share

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


Answering = Callable[..., None]


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Answering:
    """Return a function that gives the answers of commands, or what goes wrong with them, without a process."""

    def answer(answers: Mapping[str, Any], problem: Exception | None = None) -> None:
        async def ask(_: RulesProcess, command: str, text: str, *options: str) -> bytes:
            if problem is not None:
                raise problem
            return orjson.dumps(answers[command])

        monkeypatch.setattr(RulesProcess, "ask", ask)

    return answer


def pulse_of(name: str, **more: Any) -> Pulse:
    """Return the pulse of a worker that started a minute ago."""
    return Pulse(name, f"http://{name}:6066", "metrobus@all", ("arrivals",), "signpost", 2, NOW - 60, NOW, **more)


def given_versions(one: WebWorker, *texts: str) -> None:
    for number, text in enumerate(texts, 1):
        publication = Publication(text, number - 1, "ann", 5.0, f"because of <{number}>")
        one.put(one.app.line_tables.rules, {str(number): publication.as_json()})


@pytest.fixture
async def one(start: Start, monkeypatch: pytest.MonkeyPatch) -> WebWorker:
    """Return a worker with two versions of its rules."""
    worker = await start()
    worker.app.pulses = cast(Any, Told())
    text = worker.app.line.rules_text
    given_versions(worker, text, text.replace('drop = "no contact point"', 'drop = "no address"'))
    monkeypatch.setattr(worker.app.live_rules, "_recovered", lambda: True)
    return worker


async def post(
    one: WebWorker, data: object, headers: Mapping[str, str] = FORM, accept: Mapping[str, str] | None = None
) -> ClientResponse:
    body = orjson.dumps(data) if "json" in headers["Content-Type"] else data
    answer = await one.client.post(f"{one.url}/rules/", data=body, headers={**headers, **(accept or {})})
    await answer.read()
    return answer


async def test_versions_are_listed_with_who_when_and_why(one: WebWorker) -> None:
    page = await one.json("/rules/")
    assert [(row["version"], row["by"], row["why"], row["current"]) for row in page["versions"]] == [
        (2, "ann", "because of <2>", True),
        (1, "ann", "because of <1>", False),
    ]
    assert (page["versions"][0]["added"], page["versions"][0]["removed"]) == (1, 1)
    words = HtmlReader(await (await one.get("/rules/", HTML)).text()).words
    assert "version 2 1970-01-01 00:00:05 UTC ann because of <2> +1 -1 current" in words


async def test_rules_that_never_held_are_named(one: WebWorker) -> None:
    one.app.bus.metrics.journeys.rule_hits["the others are logged"] += 3
    page = await one.json("/rules/")
    held = {row["rule"]: row["held"] for row in page["rules"]}
    assert (held["the others are logged"], held["nobody to write to"]) == (3, 0)
    words = HtmlReader(await (await one.get("/rules/", HTML)).text()).words
    assert f"{len(held) - 1} of {len(held)} rules never held." in words
    assert "nobody to write to contact_point 0 never" in words
    assert "Counted by this worker alone" in words


async def test_rules_are_counted_on_the_whole_line(one: WebWorker) -> None:
    one.app.bus.metrics.journeys.rule_hits["the others are logged"] += 3
    pulses = [
        pulse_of(name, rules=(RuleSum("the others are logged", count),), rules_held=1)
        for name, count in (("one", 4), ("other", 5))
    ]
    one.app.pulses = cast(Any, Told(*pulses))
    page = await one.json("/rules/")
    held = {row["rule"]: row["held"] for row in page["rules"]}
    assert (held["the others are logged"], held["nobody to write to"]) == (9, 0)
    assert page["counted_by"] == {"workers": 2, "since": NOW - 60, "is_complete": True}
    words = HtmlReader(await (await one.get("/rules/", HTML)).text()).words
    assert "Counted by 2 workers" in words
    assert "may have held now and then" not in words


async def test_rules_of_which_workers_do_not_tell_are_not_said_to_have_never_held(one: WebWorker) -> None:
    one.app.pulses = cast(Any, Told(pulse_of("one", rules=(RuleSum("the others are logged", 4),), rules_held=2)))
    words = HtmlReader(await (await one.get("/rules/", HTML)).text()).words
    assert "one with 0 may have held now and then" in words


async def test_each_rule_has_a_place_to_which_other_pages_lead(one: WebWorker) -> None:
    read = HtmlReader(await (await one.get("/rules/", HTML)).text())
    anchors = {rule_link(rule.name).partition("#")[2] for rule in one.app.live_rules.from_file.rules}
    assert anchors <= set(read.attributes("span", "id"))
    assert rule_link(None).partition("#")[2] in read.attributes("h2", "id")


async def test_a_version_is_shown_with_the_lines_that_changed(one: WebWorker) -> None:
    page = await one.json("/rules/2/")
    assert [line for line in page["lines"] if line[:1] in "+-"][2:] == [
        '-drop = "no contact point"',
        '+drop = "no address"',
    ]
    assert (await one.get("/rules/7/")).status == 404
    assert "the rules have no version 7" in await (await one.get("/rules/7/", HTML)).text()
    shown = HtmlReader(await (await one.get("/rules/2/", HTML)).text()).words
    assert "Changes to version 1" in shown


async def test_the_form_holds_the_current_table_and_may_be_sent_to_this_page_alone(one: WebWorker) -> None:
    page = await one.get("/rules/", HTML)
    assert "form-action 'self'" in page.headers["Content-Security-Policy"]
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    assert 'drop = "no address"' in HtmlReader(await page.text()).text


async def test_problems_stand_at_their_lines(one: WebWorker) -> None:
    table = '[[rules]]\nafter = "source"\nto = "log"\n[[rules]]\nafter = "log"\nwhen = "a >"\nto = "<b>"\n'
    answer = await (await post(one, {"table": table}, {"Content-Type": "application/json"})).json()
    assert [(found["line"], found["text"]) for found in answer["problems"]] == [
        (6, 'when = "a >"'),
        (7, 'to = "<b>"'),
    ]
    page = await post(one, {"table": table}, FORM, HTML)
    text = HtmlReader(await page.text())
    assert "The table has 2 problems." in text.words
    assert "<b>" in text.text
    assert table in text.text


async def test_a_table_is_compared_and_previewed(one: WebWorker, answering: Answering) -> None:
    before = RulesTable.parse(one.app.line.rules_text)
    text = one.app.line.rules_text.replace('when = "hold != null"', 'when = "account_number > 0"')
    table = RulesTable.parse(text)
    seen = Seen("source-0-1", Shape((), Ending.DELIVERED, "", None), b"{}", 1.0, 2.0)
    new = NewTable(table, {2: before})
    found = preview(new, 2, [(seen, new.follow(seen))], [], ["records that are under way"])
    lines = ["--- version 2", "+++ /tmp/x/table.toml", "+changed"]
    answers = {
        "diff": {"lines": lines, "warnings": ["mind"], "meaning": to_builtins(difference(before, table))},
        "preview": to_builtins(found),
    }
    answering(answers)
    answer = await (await post(one, {"table": text}, {"Content-Type": "application/json"})).json()
    assert answer["lines"] == ["--- version 2", "+++ this table", "+changed"]
    assert answer["preview"]["journeys"]["seen"] == 1
    words = HtmlReader(await (await post(one, {"table": text}, FORM, HTML)).text()).words
    assert "Decided differently After The smallest record Current version This table" in words
    assert '{"account_number":1}' in words
    assert "For 1 journey of this line" in words
    assert "records that are under way" in words


async def test_the_current_table_is_recognized(one: WebWorker, answering: Answering) -> None:
    answering({"diff": {"lines": [], "warnings": [], "meaning": None}})
    words = HtmlReader(await (await post(one, {}, FORM, HTML)).text()).words
    assert "This is the current table." in words


@pytest.mark.parametrize("problem", [RulesBusy("another table is being looked at"), NoAnswer("no broker")])
async def test_what_cannot_be_looked_at_now_is_said(one: WebWorker, answering: Answering, problem: Exception) -> None:
    answering({}, problem)
    answer = await post(one, {}, FORM)
    assert (answer.status, await answer.json()) == (503, {"error": str(problem)})


async def test_the_way_of_a_record_is_shown_without_calling_a_service(one: WebWorker) -> None:
    record = {"message_type_code": "ALTBAL", "account_number": 1, "hold": "<b>"}
    answer = await (await post(one, {"record": record}, {"Content-Type": "application/json"})).json()
    assert [step["after"] for step in answer["steps"]] == ["source", "contact_point", "allow_list"]
    assert answer["steps"][-1]["verdict"].startswith("dropped: not on the allow list")
    text = await (await post(one, {"record": orjson.dumps(record).decode()}, FORM, HTML)).text()
    assert "<b>" in HtmlReader(text).text
    assert "those on hold leave the line" in text


@pytest.mark.parametrize(
    ("data", "headers", "words"),
    [
        ({"record": "[1]"}, FORM, "not a JSON object but a list"),
        ({"tabel": "x"}, FORM, "unknown field 'tabel'; there are table and record"),
        ({"table": 3}, {"Content-Type": "application/json"}, "table is a text"),
        ([1], {"Content-Type": "application/json"}, "not a JSON object but a list"),
        ({"table": "#" * (MAX_TABLE_CHARACTERS + 1)}, FORM, "the maximum here is 262,144"),
        (b"x", {"Content-Type": "text/plain"}, "the body is text/plain, not a form or JSON"),
        (b"&".join([b"a=1"] * 1_001), FORM, "the body is not a form in UTF-8"),
        (b"table=%FF", FORM, "the body is not a form in UTF-8"),
        (b"table=\xff", FORM, "the body is not a form in UTF-8"),
    ],
)
async def test_a_wrong_request_is_refused_with_the_reason(
    one: WebWorker, data: object, headers: Mapping[str, str], words: str
) -> None:
    answer = await post(one, data, headers)
    assert answer.status == 400
    assert words in (await answer.json())["error"]


async def test_a_worker_without_a_table_says_so(start: Start) -> None:
    empty = await start()
    page = await empty.json("/rules/")
    assert page.pop("counted_by")["workers"] == 0
    assert page == {"version": 0, "text": "", "versions": [], "rules": [], "forecast": None}
    assert "No version yet." in await (await empty.get("/rules/", HTML)).text()


@pytest.mark.parametrize("data", [{}, {"table": "no table"}, {"record": {"account_number": 1}}])
async def test_one_table_is_looked_at_at_a_time(one: WebWorker, data: object) -> None:
    process = cast(Web, one.app.web).web_app[RULES_PROCESS]
    async with process.turn():
        answer = await post(one, data, {"Content-Type": "application/json"})
    assert answer.status == 503
    assert "another table is being looked at" in (await answer.json())["error"]


async def test_the_turn_ends_with_an_answer_and_with_an_error(one: WebWorker, answering: Answering) -> None:
    answering({}, NoAnswer("no broker"))
    for data in ({"table": "no table"}, {"record": "{"}, {}):
        await post(one, data, {"Content-Type": "application/json"})
    async with cast(Web, one.app.web).web_app[RULES_PROCESS].turn():
        pass


async def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(NoAnswer, match=r"there is no line 'no\.such\.line'"):
        await RulesProcess("no.such.line").ask("diff", "")


async def test_a_command_that_takes_too_long_is_ended() -> None:
    with pytest.raises(NoAnswer, match=r"longer than 0\.01 s"):
        await RulesProcess("no.such.line", 0.01).ask("diff", "")


async def test_the_forecast_is_held_against_what_all_workers_hold(
    one: WebWorker, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await start()
    monkeypatch.setattr(other.app.live_rules, "_recovered", lambda: True)
    publication = Publication(one.app.line.rules_text + "# 3", 2, "ann", 5.0, "", Forecast(100, 3, 0, {}, {}))
    good = journey() | {"stops": [], "outcome": "delivered", "reason": None, "rule": None, "entered": 6.0}
    for place, worker in enumerate((one, other)):
        given_versions(worker, one.app.line.rules_text, one.app.line.rules_text + "# 2")
        worker.put(worker.app.line_tables.rules, {"3": publication.as_json()})
        recent = worker.app.line_tables.journeys
        assert recent is not None
        worker.put(recent.table, {f"{place}/0": {"number": 0, "entries": [good] * (20 + place)}})
    await share({one: {0}, other: {1}})
    page = await one.json("/rules/")
    assert (page["forecast"]["seen"], page["forecast"]["missing"]) == (41, [])
    assert (await other.json("/rules/3/seen/"))["journeys"] == 21
    await share({one: {0}, other: {1}, "http://127.0.0.1:1": {2}})
    page = await one.json("/rules/")
    assert (page["forecast"]["seen"], page["forecast"]["missing"]) == (41, ["http://127.0.0.1:1"])
    assert (await one.get("/rules/9/seen/")).status == 404


@pytest.mark.parametrize(
    ("dead", "words"), [(0, "All is as forecast."), (10, "dead: unroutable: forecast 0.0 %, seen")]
)
async def test_the_forecast_is_held_against_what_happens(one: WebWorker, dead: int, words: str) -> None:
    text = one.app.line.rules_text + "# 3"
    forecast = Forecast(100, 3, 0, {"delivered": 100}, {})
    publication = Publication(text, 2, "ann", 5.0, "", forecast)
    one.put(one.app.line_tables.rules, {"3": publication.as_json()})
    await share({one: {0}})
    recent = one.app.line_tables.journeys
    assert recent is not None
    good = journey() | {"stops": [], "outcome": "delivered", "reason": None, "rule": None, "entered": 6.0}
    bad = good | {"outcome": "dead", "reason": "unroutable: no rule after source holds"}
    one.put(recent.table, {"0/0": {"number": 0, "entries": [good] * 40 + [bad] * dead}})
    page = await one.json("/rules/")
    assert (page["forecast"]["seen"], page["forecast"]["is_enough"]) == (40 + dead, True)
    shown = HtmlReader(await (await one.get("/rules/", HTML)).text()).words
    assert words in shown
