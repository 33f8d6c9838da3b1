"""Pages gathered over HTTP: every worker shows the same page, which names the workers that did not answer."""

from __future__ import annotations

import json
import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from metroline.app.operations.worker_client import MAX_ANSWER_BYTES
from tests.support.table_entries import block
from tests.support.web_worker import HTML, TOKEN, Start, share, two_workers

PAGE: dict[str, object] = {
    "partitions": [1],
    "partitions_in_all": 2,
    "totals": {"delivered": 1},
    "settled": 1,
    "lost": 0,
    "losses": [],
    "duplicates": 0,
    "bus_hops": 0,
    "counts": [],
    "strays": {"total": 0, "duplicates": 0, "counts": []},
    "origins": [],
    "blocks": [],
}
"""A page of the outcomes, as another worker answers."""


async def test_a_page_is_the_same_on_every_worker_and_leaves_out_what_a_worker_has_lost(start: Start) -> None:
    one, other = await two_workers(start)
    page = await one.json("/table/outcomes/")
    assert page == await other.json("/table/outcomes/")
    assert page["totals"] == {"delivered": 12, "dropped": 2, "dead": 0}
    assert page["workers"] == sorted([one.url, other.url])
    assert (page["partitions"], page["missing"], page["missing_partitions"]) == ([0, 1], [], [])


async def test_local_asks_nobody(start: Start) -> None:
    one, _ = await two_workers(start)
    page = await one.json("/table/outcomes/?local=true")
    assert page["totals"]["delivered"] == 5
    assert page["workers"] == [one.url]
    assert page["missing_partitions"] == [1]


@pytest.mark.parametrize("path", ["/table/outcomes/", "/table/journeys/", "/table/dead_letters/"])
async def test_who_does_not_answer_is_missing_and_nobody_waits_for_long(
    start: Start, silent: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metroline.app.operations.worker_client.TIMEOUT_SECONDS", 0.2)
    one = await start()
    gone = "http://127.0.0.1:1"
    one.put(one.outcomes, {"0/source/0": block(5)})
    await share({one: {0}, silent: {1}, gone: {2}})
    began = time.monotonic()
    page = await one.json(path)
    assert time.monotonic() - began < 10
    assert page["missing"] == sorted([silent, gone])
    assert page["missing_partitions"] == [1, 2]
    shown = await (await one.get(path, HTML)).text()
    assert silent in shown
    assert gone in shown


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(text="[1]"),
        web.Response(text="{}"),
        web.Response(text="no JSON"),
        web.Response(status=500),
        web.Response(status=302, headers={"Location": "/"}),
        web.Response(text='{"partitions": [1], "partitions_in_all": 2, "origins": [{}], "blocks": []}'),
        web.Response(text=json.dumps(PAGE | {"partitions_in_all": 10**9})),
        web.Response(text=json.dumps(PAGE | {"partitions": [10**9]})),
        web.Response(text=json.dumps(PAGE | {"partitions_in_all": -1})),
        web.Response(text=json.dumps(PAGE | {"more": "x" * MAX_ANSWER_BYTES})),
    ],
)
async def test_an_answer_that_cannot_be_used_is_no_answer(start: Start, answer: web.Response) -> None:
    app = web.Application()

    async def give(_: web.Request) -> web.Response:
        return web.Response(text=answer.text, status=answer.status, headers=answer.headers)

    app.router.add_get("/{path:.*}", give)
    async with TestServer(app) as server:
        strange = str(server.make_url("")).rstrip("/")
        one = await start()
        await share({one: {0}, strange: {1}})
        assert (await one.json("/table/outcomes/"))["missing"] == [strange]
        response = await one.get("/table/outcomes/1/source/0/")
        assert response.status == 404
        assert (await response.json())["missing"] == [strange]


async def test_another_role_asks_the_workers_that_announce_its_role(start: Start) -> None:
    owner, router = await start("arrivals"), await start("router")
    owner.put(owner.outcomes, {"0/source/0": block(4)})
    await share({owner: {0}})
    router.hear(owner.url, "arrivals")
    router.hear("http://127.0.0.1:1", "router")
    page = await router.json("/table/outcomes/")
    assert page["totals"]["delivered"] == 4
    assert page["workers"] == [owner.url]
    assert page["missing"] == []
    assert (await router.json("/table/outcomes/0/source/0/"))["settled"] == 4


@pytest.mark.parametrize("role", ["router", "arrivals"])
@pytest.mark.parametrize("path", ["/table/outcomes/", "/table/journeys/", "/table/dead_letters/"])
async def test_a_page_of_which_no_part_could_be_asked_for_names_the_worker_and_shows_no_zeros(
    start: Start, role: str, path: str
) -> None:
    one = await start(role)
    lost = "http://no-such-host.invalid:6066"
    if role == "arrivals":
        await share({one: set(), lost: {0, 1}})
    else:
        one.hear(lost, "arrivals")

    page = await one.json(path)
    assert (page["missing"], page["partitions"]) == ([lost], [])
    assert not {"totals", "settled", "journeys"} & set(page)
    shown = await (await one.get(path, HTML)).text()
    assert f"No answer from {lost}." in shown
    assert "so nothing is known about them here" in shown
    assert "<table" not in shown


async def test_workers_with_a_token_read_each_others_parts(start: Start) -> None:
    one, _ = await two_workers(start, web_bind="0.0.0.0", metroline_token=TOKEN)
    response = await one.get("/table/outcomes/", {"Authorization": f"Bearer {TOKEN}"})
    page = await response.json()
    assert (page["settled"], page["missing"]) == (14, [])


async def test_who_only_says_to_be_a_worker_does_not_learn_the_token(start: Start) -> None:
    app, asked = web.Application(), list[str]()

    async def note(request: web.Request) -> web.Response:
        asked.extend(f"{name}: {value}" for name, value in request.headers.items())
        return web.json_response(PAGE)

    app.router.add_get("/{path:.*}", note)
    async with TestServer(app) as server:
        strange = str(server.make_url("")).rstrip("/")
        one = await start(metroline_token=TOKEN)
        await share({one: {0}, strange: {1}})
        assert (await one.json("/table/outcomes/"))["missing"] == []
    assert [header for header in asked if header.startswith("Authorization: Metroline-Worker ")]
    assert not [header for header in asked if TOKEN in header]


async def test_a_worker_with_another_token_is_missing_from_the_page(start: Start) -> None:
    one = await start(web_bind="0.0.0.0", metroline_token=TOKEN)
    other = await start(web_bind="0.0.0.0", metroline_token="another token")
    await share({one: {0}, other: {1}})
    response = await one.get("/table/outcomes/", {"Authorization": f"Bearer {TOKEN}"})
    assert (await response.json())["missing"] == [other.url]
