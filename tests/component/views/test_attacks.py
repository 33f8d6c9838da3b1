"""Every page with odd input: each request gets an answer that is no error of the server, and no traceback is logged.

The routes come from the web server itself, so a page that is added is attacked, too.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from typing import cast

import pytest
from aiohttp import ClientSession
from faust.web.drivers.aiohttp import Web
from yarl import URL

from metroline.app.line_app import LineApp
from metroline.app.views.live import STREAM
from tests.support.web_worker import TOKEN

GIVEN = b"Authorization: Bearer " + TOKEN.encode()
MANY = b"9" * 5_000
ODD = [
    b"",
    b"0",
    b"-1",
    MANY,
    b"1e999",
    b"nan",
    b"source-0-" + MANY,
    b"source-" + MANY + b"-0",
    b"source-0-0." + MANY,
    b"source-99999999999-9999999999999999999",
    b"0/source/0",
    b"0/source/" + MANY,
    MANY + b"/source/0",
    b"a/b/c/d",
    b"outcomes",
    b"x" * 3_000,
    b"%00",
    b"%ff%fe",
    b"%ed%a0%80",
    b"%e2%80%ae",
    b"%0d%0aX-Injected:%201",
    b"%",
    b"%zz",
    b"..%2f..%2fetc%2fpasswd",
    b"<script>alert(1)</script>",
    b"%1b]8;;http://evil.example%07",
    b"{}",
    b"{name}",
    b"'\"`;--",
    b"true",
]
PARAMETERS = [b"format", b"local", b"unknown"]
OF_LETTERS = [b"id", b"group", b"after", b"limit"]
HEADERS = [
    b"Authorization: Bearer \xff",
    b"Authorization: Bearer \xed\xa0\x80",
    b"Authorization:",
    b"Authorization: Bearer " + b"x" * 5_000,
    b"Accept: text/html",
    b"Accept: \xff\xfe",
    b"Accept: text/html;q=" + MANY,
    b"Accept-Encoding: " + b"gzip," * 500,
    b"Cookie: \xff=\xff",
    b"Content-Type: \xff",
    b"Content-Encoding: gzip",
    b"If-Modified-Since: yesterday",
    b"Range: bytes=" + MANY + b"-",
    b"Expect: 100-continue",
    b"Expect: \xff",
    b"Upgrade: websocket\r\nConnection: Upgrade",
    b"X-Forwarded-For: \xff",
    b"Content-Type: multipart/form-data; boundary=\xff",
]
BODIES = [
    b"",
    b"\xff",
    b"null",
    b"[]",
    b"{",
    b"{}\n{}",
    b'{"ids": null}',
    b'{"ids": ["source-0-%s"]}' % MANY,
    b'{"ids": ["\\ud800"]}',
    b'{"ids": [""]}',
    b'{"ids": ["source-0-0"], "ids": 1}',
    b'{"group": "\\u0000"}',
    b'{"group": "' + b"x" * 5_000 + b'"}',
    b'{"ids": ["source-0-0"], "to": "\\udcff"}',
    b'{"ids": ["source-0-0"], "to": "' + b"x" * 5_000 + b'"}',
    *(
        b'{"ids": ["source-0-0"], "dry_run": true, %s}' % field
        for field in (
            b'"set": {"n": 99999999999999999999999}',
            b'"set": {"n": -9223372036854775809}',
            b'"set": {"n": 1e999}',
            b'"set": {"n": NaN}',
            b'"set": {"n": Infinity}',
            b'"set": {"n": %s}' % MANY,
            b'"set": {"": 1}',
            b'"set": {"a.b": 1}',
            b'"set": {"n": "\\ud800"}',
            b'"set": {"n": ' + b"[" * 400 + b"]" * 400 + b"}",
            b'"set": ' + b'{"n":' * 3_000 + b"1" + b"}" * 3_000,
            b'"record": {"n": 99999999999999999999999}',
            b'"record": {"n": NaN}',
            b'"record": []',
            b'"record": {}',
            b'"rate": 1e999',
            b'"rate": -1',
            b'"rate": 1e-300',
            b'"rate": NaN',
            b'"rate": "1"',
            b'"rate": %s' % MANY,
            b'"reason": ""',
            b'"reason": "\\ud800"',
            b'"%s": 1' % MANY,
        )
    ),
]


def paths(app: LineApp) -> Iterator[tuple[str, bytes]]:
    """Yield the method and the path of every route, with an odd value in the place of each parameter of a path."""
    for route in cast(Web, app.web).web_app.router.routes():
        pattern = route.resource.canonical if route.resource is not None else "/"
        if "{" not in pattern:
            yield route.method, pattern.encode()
            continue
        for value in ODD:
            named = pattern.replace("{name}", "outcomes").replace("{key}", "KEY").replace("{run}", "KEY")
            yield route.method, named.encode().replace(b"KEY", value)
            yield route.method, pattern.replace("{name}", "NAME").replace("{key}", "0").encode().replace(b"NAME", value)


def requests(app: LineApp) -> Iterator[bytes]:
    """Yield odd requests, each as it is sent."""
    routes = list(dict.fromkeys(paths(app)))
    plain = [(method, path) for method, path in routes if path in {one.encode() for one in app.web.views}]
    for method, path in routes:
        yield message(method, path)
    for method, path in plain:
        if method == "GET":
            names = PARAMETERS + (OF_LETTERS if path.startswith(b"/dead-letters") else [])
            for name, value in itertools.product(names, ODD):
                yield message(method, path + b"?" + name + b"=" + value)
        if method != "HEAD":
            for header in HEADERS:
                yield message(method, path, header)
        if method == "POST":
            for body in BODIES:
                yield message(method, path, GIVEN, body=body)
            yield message(method, path, GIVEN, b"Content-Encoding: gzip", body=b"no gzip")


def message(method: str, path: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join([method.encode() + b" " + path + b" HTTP/1.1", b"Host: localhost", length, *headers, b"", body])


async def answer(host: str, port: int, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(sent.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
    endless = sent.startswith(b"GET " + STREAM.encode())
    received = await (reader.readuntil(b"\r\n\r\n") if endless else reader.read())
    writer.close()
    await writer.wait_closed()
    return received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")


@pytest.mark.long
async def test_no_input_makes_a_page_fail(address: tuple[LineApp, str, int], caplog: pytest.LogCaptureFixture) -> None:
    app, host, port = address
    statuses = Counter[str]()
    for sent in requests(app):
        received = await answer(host, port, sent)
        head, _, body = received.partition(b"\r\n\r\n")
        status = head.split(b" ", 2)[1].decode()
        statuses[status] += 1
        is_unready = status == "503" and (b'"conditions"' in body or sent.startswith(b"HEAD"))
        assert status < "500" or is_unready, (sent[:500], received[:500])
        assert b"frame-ancestors 'none'" in head, sent[:500]
        assert b"X-Injected" not in head.replace(b"%0aX-Injected", b""), sent[:500]
    assert not [record.getMessage() for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
    assert {"200", "400", "401", "404", "409"} <= statuses.keys(), "the requests reach the pages"


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        ("?id=source-0-" + "9" * 5_000, None, HTTPStatus.NOT_FOUND, "is not the id of a record"),
        ("?limit=0", None, HTTPStatus.BAD_REQUEST, "limit is a number from 1 to 1000"),
        ("?group=nope", None, HTTPStatus.NOT_FOUND, "there is no group 'nope'"),
        ("replay/", '{"ids": ["source-0-0"], "set": {"n": 18446744073709551616}}', HTTPStatus.BAD_REQUEST, "64 bits"),
        ("replay/", '{"ids": ["source-0-0"], "set": {"n": NaN}}', HTTPStatus.BAD_REQUEST, "body: not valid JSON"),
        ("discard/", '{"ids": ["source-0-0"]}', HTTPStatus.BAD_REQUEST, "reason"),
    ],
)
async def test_the_answer_says_what_is_wrong(
    address: tuple[LineApp, str, int], path: str, body: str | None, status: HTTPStatus, told: str
) -> None:
    _, host, port = address
    method = "GET" if body is None else "POST"
    received = await answer(
        host, port, message(method, f"/dead-letters/{path}".encode(), GIVEN, body=(body or "").encode())
    )
    assert received.split(b" ", 2)[1].decode() == str(int(status))
    assert told.encode() in received


async def test_pages_of_dead_letters_follow_each_other(address: tuple[LineApp, str, int]) -> None:
    _, host, port = address
    url = f"http://{host}:{port}"
    async with ClientSession() as client:
        async with client.get(f"{url}/dead-letters/") as response:
            [group] = await response.json()
        following: str | None = f"/dead-letters/?group={group['group']}&limit=2"
        ids = []
        while following is not None:
            async with client.get(url + following) as response:
                ids.append([letter["id"] for letter in await response.json()])
                following = str(URL(response.links["next"]["url"]).relative()) if response.links else None
    assert (group["count"], ids) == (3, [["source-0-0", "source-0-1"], ["source-0-2"]])
