"""Every door of the web server: each route with each method, for whoever may come, and what must come of it.

The pages themselves are replaced, so that a status says exactly who reaches them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, cast

import pytest
from aiohttp.web import Response
from faust import web
from faust.web.drivers.aiohttp import Web
from yarl import URL

from metroline.app.views.access.doors import (
    ACCESS,
    FORM_TOKEN_HEADER,
    LOGIN_PATH,
    READING_BY_POST,
    Door,
    door_of,
)
from metroline.app.views.access.forms import FORM_TYPE
from metroline.app.views.access.kept_forms import LOOKS
from metroline.app.views.live import STREAM
from metroline.app.web_server.gate import FORMS, LOGIN_BYTES, MAX_STRANGERS, QUESTIONS
from metroline.app.web_server.guesses import Guesses
from metroline.app.web_server.logins import Logins
from tests.support.web_worker import HTML, TOKEN, Start, WebWorker

IN = 299
"""The status of every page, once it is reached."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "SEARCH")


def routes(door: Door, methods: str, *paths: str) -> dict[tuple[str, str], Door]:
    return {(method, path): door for path in paths for method in methods.split()}


WRITING = [
    f"{beginning}/dead-letters/{what}/"
    for beginning in ("", "/api")
    for what in ("replay", "discard", "jobs/start", "jobs/ask")
]
WRITING += ["/compare/start/", "/compare/cancel/"]

PUBLISHING = [f"{beginning}/rules/{what}" for beginning in ("", "/api") for what in ("publish/", "{version}/rollback/")]
CHECKS = ("/rules/check/", "/api/rules/check/")

DOORS = {
    **routes(Door.OPEN, "GET HEAD", "/health/live", "/health/ready", "/metrics"),
    **routes(Door.OPEN, "GET HEAD POST", "/login"),
    **routes(Door.READ, "GET HEAD", "/", "/traffic/", "/api/openapi.json"),
    **routes(Door.READ, "GET HEAD", "/table", "/table/", "/table/{name}", "/table/{name}/", "/table/{name}/{key}"),
    **routes(Door.READ, "GET HEAD", "/table/rules", "/table/rules/", "/table/rules/{key}"),
    **routes(Door.OPEN, "GET HEAD", "/static/{name}"),
    **routes(Door.READ, "GET HEAD", "/api/live", "/dead-letters/"),
    **routes(Door.READ, "GET", "/api/live/stream"),
    **routes(Door.READ, "GET HEAD", "/journeys", "/journeys/", "/journeys/{name}", "/journeys/{name}/"),
    **routes(Door.READ, "GET HEAD", "/rules/", "/rules/{version}/", "/rules/{version}/seen/"),
    **routes(Door.READ, "GET HEAD", "/api/stop", "/journal/"),
    **routes(Door.READ, "POST", "/rules/"),
    **routes(Door.READ, "HEAD POST", *CHECKS),
    **routes(Door.READ, "GET", *PUBLISHING[1::2]),
    **routes(Door.READ, "HEAD", *PUBLISHING),
    **routes(Door.WRITE, "POST", *PUBLISHING),
    **routes(Door.READ, "GET HEAD", "/dead-letters/jobs/", "/api/dead-letters/", "/api/dead-letters/jobs/"),
    **routes(Door.READ, "GET HEAD", "/dead-letters/foreign/", "/api/dead-letters/foreign/"),
    **routes(Door.READ, "GET HEAD", "/dead-letters/journal/", "/api/dead-letters/journal/"),
    **routes(Door.READ, "GET HEAD", "/compare/", "/compare/{run}/"),
    **routes(Door.READ, "HEAD", "/logout", *WRITING),
    **routes(Door.WRITE, "POST", "/logout", *WRITING),
}
"""Every route with its kind. A route that is not listed fails the test below: decide who may use it."""

ELSEWHERE = {"Origin": "https://evil.example"}
ELSEWHERE_TOO = {"Sec-Fetch-Site": "same-site"}
BEARER = {"Authorization": f"Bearer {TOKEN}"}
WRONG = {"Authorization": "Bearer open barley"}

CLOSED = {
    Door.OPEN: {},
    Door.READ: {"nobody": 401, "wrong token": 401, "nobody, from elsewhere": 401},
    Door.WRITE: {
        "nobody": 401,
        "wrong token": 401,
        "wrong token with a cookie and its form": 401,
        "cookie": 403,
        "cookie with the form of another login": 403,
        "cookie with its form, from elsewhere": 403,
        "cookie with its form, from another port": 403,
        "cookie of another token": 401,
        "cookie that has expired": 401,
        "token, from elsewhere": 403,
        "nobody, from elsewhere": 403,
        "another worker": 401,
    },
}
"""Callers that are refused by a worker with a token whose pages other machines reach; the others come in."""
CLOSED[Door.READ] |= dict.fromkeys(("cookie of another token", "cookie that has expired"), 401)

ON_LOOPBACK = CLOSED | {Door.READ: {}}
"""Those that are refused by a worker that only this machine reaches: everybody may read."""

CALLERS = tuple(
    dict.fromkeys([*CLOSED[Door.WRITE], "token", "cookie with its form"]),
)
WITHOUT_TOKEN = {
    Door.OPEN: {},
    Door.READ: {},
    Door.WRITE: dict.fromkeys(CALLERS, 403),
}
"""Those that are refused by a worker without a token: everybody may read, and nobody may write."""

SETTINGS: dict[str, dict[str, Any]] = {
    "closed": {"web_bind": "0.0.0.0", "metroline_token": TOKEN},
    "on loopback": {"metroline_token": TOKEN},
    "without a token": {"web_bind": "0.0.0.0"},
}
EXPECTED = {"closed": CLOSED, "on loopback": ON_LOOPBACK, "without a token": WITHOUT_TOKEN}


def callers(worker: WebWorker) -> dict[str, dict[str, str]]:
    """Return the headers of everybody who may come."""
    now, prefix = time.time(), worker.app.line_topics.prefix
    logins = Logins(TOKEN, prefix)

    def cookie(value: str) -> dict[str, str]:
        return {"Cookie": f"{logins.cookie}={value}"}

    value = logins.issue("ada", now)
    login, other = logins.login(value, now), logins.login(logins.issue("bob", now), now)
    assert login is not None
    assert other is not None
    form = {FORM_TOKEN_HEADER: login.form_token}
    own = {"Sec-Fetch-Site": "same-origin", "Origin": worker.url}
    return {
        "nobody": {},
        "nobody, from elsewhere": ELSEWHERE,
        "wrong token": WRONG,
        "token": BEARER,
        "token, from elsewhere": BEARER | ELSEWHERE,
        "cookie": cookie(value) | own,
        "cookie with its form": cookie(value) | form | own,
        "cookie with the form of another login": cookie(value) | {FORM_TOKEN_HEADER: other.form_token},
        "cookie with its form, from elsewhere": cookie(value) | form | ELSEWHERE,
        "cookie with its form, from another port": cookie(value) | form | ELSEWHERE_TOO,
        "cookie of another token": cookie(Logins("open barley", prefix).issue("eve", now)) | form,
        "cookie that has expired": cookie(logins.issue("ada", now - 86_400)) | form,
        "wrong token with a cookie and its form": cookie(value) | form | WRONG,
        "another worker": {"Authorization": f"Metroline-Worker {logins.worker_pass(worker.url, now)}"},
    }


def served(worker: WebWorker) -> Iterable[tuple[str, str]]:
    """Yield the method and the pattern of each route of the web server."""
    for route in cast(Web, worker.app.web).web_app.router.routes():
        assert route.resource is not None
        yield route.method, route.resource.canonical


async def status_of(worker: WebWorker, method: str, path: str, headers: dict[str, str]) -> int:
    cast(Web, worker.app.web).web_app[ACCESS].guesses = Guesses(lambda: 0.0)
    path = path.replace("/static/{name}", "/static/first_page.js")
    path = path.replace("{run}", "0123456789")
    url = URL(worker.url + path.replace("{name}", "outcomes").replace("{key}", "0/source/0").replace("{version}", "1"))
    async with worker.client.request(method, url, headers=headers, allow_redirects=False) as response:
        return response.status


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace all pages."""

    async def reached(*_: Any) -> Response:
        return Response(status=IN)

    monkeypatch.setattr(web.View, "dispatch", reached)


@pytest.mark.usefixtures("pages")
@pytest.mark.parametrize("kind", SETTINGS)
async def test_every_route_lets_in_who_may_use_it_and_nobody_else(start: Start, kind: str) -> None:
    worker = await start(**SETTINGS[kind])
    there = callers(worker)
    assert set(CALLERS) == set(there)
    missing = {(method, path) for method, path in served(worker)} ^ set(DOORS)
    assert not missing, f"list every route, and who may use it: {sorted(missing)}"
    for (method, path), door in DOORS.items():
        assert door_of(method, path) is door, (method, path)
        for caller, headers in there.items():
            expected = EXPECTED[kind][door].get(caller, IN)
            is_other_site = caller.endswith(("from elsewhere", "from another port"))
            if method == "POST" and path in ("/login", "/rules/", *CHECKS) and is_other_site:
                expected = 403
            if expected == IN and path.startswith(("/static/", STREAM)):  # no pages, and not replaced
                expected = 200
            assert await status_of(worker, method, path, headers) == expected, (method, path, caller)


def test_what_strangers_may_post_is_bounded() -> None:
    assert ({*READING_BY_POST} - {*LOOKS}, {LOGIN_PATH, *LOOKS}) == ({*QUESTIONS}, {*FORMS})


@pytest.mark.usefixtures("pages")
@pytest.mark.parametrize("path", QUESTIONS)
async def test_a_question_of_a_stranger_is_refused_before_its_body_is_read(start: Start, path: str) -> None:
    worker = await start(**SETTINGS["closed"])
    url = URL(worker.url)

    async def status(body: bytes, *headers: str) -> bytes:
        """Return the first line of the answer to a question that has more bytes than are sent."""
        reader, writer = await asyncio.open_connection(url.host, url.port)
        lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Length: 1000", *headers, "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        line = await reader.readline()
        writer.close()
        return line

    wrong, right = (f"Authorization: {one['Authorization']}" for one in (WRONG, BEARER))
    assert await status(b"{") == await status(b"{", wrong) == b"HTTP/1.1 401 Unauthorized\r\n"
    assert f"HTTP/1.1 {IN}".encode() in await status(b"{" + b" " * 999, right)
    cast(Web, worker.app.web).web_app[ACCESS].guesses = guesses = Guesses(lambda: 0.0)
    for _ in range(10):
        guesses.missed("127.0.0.1")
    assert await status(b"{", right) == await status(b"{", wrong) == b"HTTP/1.1 429 Too Many Requests\r\n"


@pytest.mark.usefixtures("pages")
async def test_few_long_forms_of_strangers_are_held_at_once(start: Start) -> None:
    worker = await start(**SETTINGS["closed"])
    url = URL(worker.url)

    async def sent(path: str, length: int, *headers: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send a form but for its end."""
        reader, writer = await asyncio.open_connection(url.host, url.port)
        lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {FORM_TYPE}", *headers]
        writer.write("\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode() + b"a=b")
        return reader, writer

    long = LOGIN_BYTES + 1
    held = [await sent(path, long) for path in ("/rules/publish/", "/login") * (MAX_STRANGERS // 2)]
    await asyncio.sleep(0.1)
    reader, writer = await sent("/login", long)
    assert await reader.readline() == b"HTTP/1.1 503 Service Unavailable\r\n"
    writer.close()
    short, writer = await sent("/login", 3)
    assert b" 503 " not in await short.readline(), "a short one is read all the same"
    writer.close()
    right = f"Authorization: {BEARER['Authorization']}"
    reader, writer = await sent("/rules/", long, right)
    writer.write(b" " * (long - 3))
    assert b" 503 " not in await reader.readline(), "so is that of whoever may read the pages"
    for _, open_one in [*held, (reader, writer)]:
        open_one.close()


@pytest.mark.usefixtures("pages")
async def test_a_method_that_a_page_does_not_have_reaches_none(start: Start) -> None:
    worker = await start(**SETTINGS["closed"])
    absent = [
        (method, path) for path in {path for _, path in DOORS} for method in METHODS if (method, path) not in DOORS
    ]
    assert [(await status_of(worker, method, path, BEARER), method, path) for method, path in absent] == [
        (405, method, path) for method, path in absent
    ]


@pytest.mark.usefixtures("pages")
async def test_browsers_without_a_login_are_led_to_it_and_back(start: Start) -> None:
    worker = await start(**SETTINGS["closed"])
    url = f"{worker.url}/table/outcomes/?local=true"
    async with worker.client.get(url, headers=HTML, allow_redirects=False) as response:
        assert response.status == 303
        assert response.headers["Location"] == "/login?next=%2Ftable%2Foutcomes%2F%3Flocal%3Dtrue"


@pytest.mark.usefixtures("pages")
@pytest.mark.parametrize("header", ["Forwarded", "Via", "X-Forwarded-For", "X-Real-IP"])
async def test_on_loopback_who_comes_through_a_proxy_needs_a_login(start: Start, header: str) -> None:
    worker = await start(**SETTINGS["on loopback"])
    assert await status_of(worker, "GET", "/traffic/", {header: "for=10.0.0.1"}) == 401
    assert await status_of(worker, "GET", "/traffic/", {header: "for=10.0.0.1"} | BEARER) == IN


@pytest.mark.usefixtures("pages")
async def test_a_pass_for_one_worker_opens_no_other(start: Start) -> None:
    one, other = await start(**SETTINGS["closed"]), await start(**SETTINGS["closed"])
    assert one.url != other.url
    headers = callers(one)["another worker"]
    assert [await status_of(worker, "GET", "/traffic/", headers) for worker in (one, other)] == [IN, 401]


@pytest.mark.usefixtures("pages")
@pytest.mark.parametrize(("method", "path"), [("GET", "/traffic/"), ("POST", "/dead-letters/replay/")])
async def test_a_pass_that_opens_nothing_is_no_guess_of_the_token(start: Start, method: str, path: str) -> None:
    worker = await start(**SETTINGS["closed"])
    cast(Web, worker.app.web).web_app[ACCESS].guesses = Guesses(lambda: 0.0)

    async def status(headers: dict[str, str]) -> int:
        async with worker.client.request(method, f"{worker.url}{path}", headers=headers) as response:
            return response.status

    assert [await status({"Authorization": "Metroline-Worker 0.x"}) for _ in range(20)] == [401] * 20
    assert await status(BEARER) == IN


@pytest.mark.usefixtures("pages")
async def test_guesses_are_slowed_and_the_right_token_is_not_looked_at_meanwhile(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await start(**SETTINGS["closed"])
    now = [1_000.0]
    cast(Web, worker.app.web).web_app[ACCESS].guesses = Guesses(lambda: now[0])

    async def post(headers: dict[str, str]) -> tuple[int, str | None]:
        async with worker.client.post(f"{worker.url}/dead-letters/replay/", headers=headers) as response:
            return response.status, response.headers.get("Retry-After")

    assert [(await post(WRONG))[0] for _ in range(10)] == [401] * 10
    assert "127.0.0.1 sent a wrong token to the web server" in caplog.text
    assert "barley" not in caplog.text
    assert await post(BEARER) == (429, "6")
    assert await post(callers(worker)["cookie with its form"]) == (IN, None)
    now[0] += 6
    assert await post(BEARER) == (IN, None)
    assert await post(WRONG) == (401, None)
    assert await post(WRONG) == (429, "6")
