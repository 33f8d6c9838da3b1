"""The index page, and the page of a worker's traffic."""

from __future__ import annotations

import pytest

from metroline.agents.gateways.sqs.client import CallCounts
from tests.support.html_reader import HtmlReader
from tests.support.web_worker import HTML, TOKEN, Start


async def test_programs_get_the_same_as_from_the_readiness_check(start: Start) -> None:
    one = await start()
    first, ready = await one.get("/"), await one.get("/health/ready")
    assert first.status == ready.status == 503
    assert await first.json() == await ready.json()


async def test_browsers_see_the_worker_and_the_live_workers_of_its_line(start: Start) -> None:
    one = await start()
    one.hear("http://other:6066", "arrivals", "on-ramp")
    text = HtmlReader(await (await one.get("/", HTML)).text()).words
    assert "strategy for new journeys signpost" in text
    assert "Worker Group Roles Strategy Rules Code Behind In Settled Up since Told" in text
    assert "http://other:6066 metrobus@arrivals arrivals, on-ramp signpost 1 \N{EN DASH} no" in text


@pytest.mark.parametrize(
    ("token", "told"),
    [(None, "Nothing can be written here"), (TOKEN, "You may look at everything. Log in to change something")],
)
async def test_whoever_is_not_logged_in_reads_that_nothing_can_be_changed(
    token: str | None, told: str, start: Start
) -> None:
    one = await start(metroline_token=token)
    assert told in HtmlReader(await (await one.get("/", HTML)).text()).words


async def test_traffic_is_what_the_meter_says(start: Start) -> None:
    one = await start()
    one.app.bus.metrics.sent("arrivals", 3, 100)
    assert (await one.json("/traffic/"))["traffic"] == {"arrivals": {"messages": 1, "records": 3, "bytes": 100}}


async def test_the_calls_of_ends_in_sqs_are_told(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await start()
    assert (await one.json("/traffic/"))["ends"] == {}
    counts = CallCounts()
    counts.count("send_message_batch", 10, 100_000)
    monkeypatch.setattr(type(one.app), "calls_of_ends", {"shipped": counts})

    told = (await one.json("/traffic/"))["ends"]["shipped"]

    assert told.pop("seconds") >= 0
    assert told == {
        "messages": 10,
        "bytes": 100_000,
        "calls": {"send_message_batch": 1},
        "billed_calls": 2,
        "failed_calls": {},
    }


async def test_how_far_a_worker_is_behind_is_told_on_the_first_page_and_to_programs(start: Start) -> None:
    one = await start()
    one.hear("http://other:6066", "arrivals", "on-ramp", behind=0.2, source_behind=4.4)
    text = HtmlReader(await (await one.get("/", HTML)).text()).words
    assert "arrivals, on-ramp signpost 1 \N{EN DASH} 4 s" in text
    one.app.bus.metrics.entering(7, 12.5)
    traffic = await one.json("/traffic/")
    assert (traffic["entered"], traffic["behind"], traffic["behind_bus"], traffic["work_in_hand"]) == (7, 12.5, 0.0, 0)
