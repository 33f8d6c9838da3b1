"""The OpenAPI document: it has every page that programs use, and what it says holds, whatever is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from http import HTTPStatus
from typing import Any, cast

import msgspec
import pytest
import schemathesis
from aiohttp import ClientSession
from faust.web.drivers.aiohttp import Web

from metroline.app.line_app import LineApp
from metroline.app.operations.letter import Letter
from metroline.app.views.access.doors import Door, door_of
from metroline.app.views.letters import dead_letters
from metroline.app.views.letters.answers import LetterAnswer
from metroline.app.views.live import STREAM
from metroline.app.views.openapi import document
from metroline.app.views.view import LineView
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Attempts, Replay, Segment, Visit, Waits
from metroline.routing.outcome import Cause, Outcome
from tests.support.openapi_requests import check, operations_of, schema_of, send_many
from tests.support.web_worker import TOKEN

EXAMPLES = 15
"""Requests to each operation."""

KNOWN: list[tuple[str, str, dict[str, Any]]] = [
    ("/table/{name}/", "GET", {"path_parameters": {"name": "outcomes"}}),
    ("/table/{name}/", "GET", {"path_parameters": {"name": "journeys"}, "query": {"local": "true"}}),
    ("/dead-letters/", "GET", {}),
    ("/dead-letters/", "GET", {"query": {"id": "source-0-0"}}),
    ("/dead-letters/replay/", "POST", {"body": {"ids": ["source-0-0"], "dry_run": True}}),
    ("/dead-letters/replay/", "POST", {"body": {"ids": ["source-0-0"], "set": {"n": 2}}}),
    ("/dead-letters/discard/", "POST", {"body": {"ids": ["source-0-0"], "reason": "a test"}}),
]
"""Requests that are carried out."""

NEEDS_BROKERS = ("/journeys", "/dead-letters/jobs/", "/api/dead-letters/jobs/", "/rules/", "/compare/")
"""Beginnings of paths whose pages read topics. test_openapi_of_a_line.py asks them on a line that runs."""

NO_PAGES = {"/static/{name}", STREAM}
"""Paths of files, and of events that do not end."""

Address = tuple[LineApp, str, int]


@pytest.fixture
def schema(address: Address) -> Any:
    app, host, port = address
    return schema_of(document(app.web.views, "metroline"), f"http://{host}:{port}")


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Envelope]:
    """Return the requests to the arrivals that were sent, in place of a broker."""
    sent: list[Envelope] = []

    async def send(_: object, __: object, portions: AsyncIterable[list[Envelope]], *___: object) -> AsyncIterator[int]:
        number = 0
        async for requests in portions:
            for request in requests:
                sent.append(request)
                number += 1
                yield number

    monkeypatch.setattr(dead_letters, "send_requests", send)
    return sent


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
async def test_no_request_makes_a_page_fail_or_answer_in_another_form(
    schema: Any, mode: schemathesis.GenerationMode
) -> None:
    sent = 0
    for operation in operations_of(schema):
        if not operation.path.startswith(NEEDS_BROKERS):
            sent += bool(await asyncio.to_thread(send_many, operation, mode, TOKEN, EXAMPLES))
    assert sent > 5


@pytest.mark.parametrize(("path", "method", "given"), KNOWN)
async def test_what_is_carried_out_is_answered_as_described(
    schema: Any, path: str, method: str, given: dict[str, Any]
) -> None:
    case = schema[path][method].Case(**given, **({"media_type": "application/json"} if "body" in given else {}))
    assert await asyncio.to_thread(check, case, TOKEN) == HTTPStatus.OK


async def test_every_page_is_in_the_document_with_who_may_use_it(address: Address) -> None:
    app, host, port = address
    async with ClientSession() as client, client.get(f"http://{host}:{port}/api/openapi.json") as response:
        paths = (await response.json())["paths"]
    described = {(method.upper(), path) for path, page in paths.items() for method in page}
    routes = cast(Web, app.web).web_app.router.routes()
    served = {
        (one.method, one.resource.canonical)
        for one in routes
        if one.resource and one.method != "HEAD" and one.resource.canonical not in NO_PAGES
    }
    assert described == {(method, path) for method, path in served if (method, f"{path}/") not in served}
    for method, path in described:
        security = paths[path][method.lower()]["security"]
        door = door_of(method, path)
        assert ({} in security, security == []) == (door is Door.READ, door is Door.OPEN), path


async def test_every_method_of_a_page_is_declared(address: Address) -> None:
    for view in address[0].web.views.values():
        assert isinstance(view, LineView)
        own = {method for method in ("get", "post", "put", "patch", "delete") if method in vars(type(view))}
        assert {operation.method for operation in view.api} == own, type(view).__name__


def test_a_dead_letter_with_all_that_can_be_known_of_it_is_as_described() -> None:
    segment = Segment(
        (7,),
        (b'{"n":1}',),
        900.0,
        (Visit("pay", 901.0, None, "on-ramp", 1),),
        outcome=Outcome.dead(Cause.EXPIRED, "too old"),
        attempts=Attempts("pay", ("OSError: no",), 902.0, ("a\nb",)),
        replays=(Replay(800.0, "ada over HTTP", "too old", '{"n":0}'),),
        waits=Waits("pay", 900.5, 2),
        waited=(Waits("pay", 900.5, 2),),
    )
    told = Letter(Envelope("signpost", Origin("source", 0), (segment,)), 950.0, "orders.source").as_json()
    assert msgspec.convert(told, LetterAnswer).waits is not None
