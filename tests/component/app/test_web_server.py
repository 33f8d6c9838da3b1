"""The web server on real connections: they are bounded in time and number, and answers give nothing away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from metroline.app.factory import create_app
from metroline.app.settings import Settings
from metroline.app.web_server.answers import SECURITY_HEADERS, SERVER, protect
from metroline.app.web_server.connections import Bounds, Runner
from metroline.app.web_server.gate import MAX_AT_WORK, gate
from metroline.app.web_server.host_names import HostNames

SHORT = Bounds(connections=3, request_seconds=0.3, answer_seconds=0.6)
LARGE = 32 * 1024 * 1024
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]


async def small(_: web.Request) -> web.Response:
    return web.Response(text="small")


async def large(_: web.Request) -> web.Response:
    return web.Response(body=b"x" * LARGE)


async def slow(_: web.Request) -> web.Response:
    await asyncio.sleep(2 * SHORT.request_seconds)
    return web.Response(text="slow")


@asynccontextmanager
async def serving(bounds: Bounds = SHORT) -> AsyncIterator[Connect]:
    """Run a web server with a few pages; yield a function that connects to it."""
    app = web.Application(middlewares=[gate(lambda: HostNames.of("127.0.0.1", (), ""))])
    app.on_response_prepare.append(protect)
    app.add_routes([web.get("/", small), web.get("/large", large), web.get("/slow", slow)])
    app.add_routes([web.post("/login", small), web.post("/rules/", small)])
    runner = Runner(app, bounds, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    opened: list[asyncio.StreamWriter] = []

    async def connect() -> Streams:
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        opened.append(writer)
        return reader, writer

    try:
        yield connect
    finally:
        for writer in opened:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        await runner.cleanup()


async def answer(streams: Streams) -> bytes:
    """Return what comes until the connection ends."""
    try:
        async with asyncio.timeout(30):
            return await streams[0].read()
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("sent", [b"", b"GE", GET, b"GET /%s HTTP/1.1\r\n" % (b"x" * 500)])
async def test_a_request_that_is_not_sent_whole_ends(sent: bytes) -> None:
    async with serving() as connect:
        streams = await connect()
        streams[1].write(sent)
        assert await answer(streams) == b""


async def test_a_client_that_sends_a_byte_now_and_then_ends_as_well() -> None:
    async with serving() as connect:
        streams = await connect()
        request = b"GET / HTTP/1.1\r\nX: " + b"x" * 5_000
        sent = 0
        with suppress(ConnectionError):
            while sent < len(request) and not (streams[0].at_eof() or streams[1].is_closing()):
                streams[1].write(request[sent : sent + 1])
                await streams[1].drain()
                sent += 1
                await asyncio.sleep(0.02)
        assert await answer(streams) == b""
        assert sent < len(request), "the request ended by itself"


async def test_a_page_that_takes_its_time_is_answered() -> None:
    async with serving() as connect:
        streams = await connect()
        streams[1].write(GET.replace(b"/ ", b"/slow ", 1) + b"Connection: close\r\n\r\n")
        assert (await answer(streams)).endswith(b"slow")


async def test_an_answer_that_nobody_reads_ends() -> None:
    async with serving() as connect:
        streams = await connect()
        streams[1].write(GET.replace(b"/ ", b"/large ", 1) + b"\r\n")
        await asyncio.sleep(3 * SHORT.answer_seconds)
        assert len(await answer(streams)) < LARGE


async def test_connections_that_wait_make_room_for_a_new_one() -> None:
    async with serving(Bounds(connections=3)) as connect:
        idle = [await connect() for _ in range(20)]
        streams = await connect()
        streams[1].write(GET + b"Connection: close\r\n\r\n")
        assert (await answer(streams)).endswith(b"small")
        assert [await answer(one) for one in idle[:17]] == [b""] * 17


@pytest.mark.parametrize("path", [b"/login", b"/rules/"])
async def test_forms_of_strangers_that_come_slowly_keep_nobody_out_and_end(path: bytes) -> None:
    async with serving(Bounds(connections=100, request_seconds=1.0)) as connect:
        slow_ones = [await connect() for _ in range(2 * MAX_AT_WORK)]
        for streams in slow_ones:
            streams[1].write(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nname=" % path)
        streams = await connect()
        streams[1].write(GET + b"Connection: close\r\n\r\n")
        assert (await answer(streams)).endswith(b"small")
        assert [await answer(one) for one in slow_ones] == [b""] * len(slow_ones)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (GET + b"\r\n", 200),
        (b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 200),
        (b"\x16\x03\x01 hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n" % (b"x" * 20_000), 400),
        (b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"x" * 20_000), 400),
        (GET + b"".join(b"X-%d: 1\r\n" % number for number in range(200)) + b"\r\n", 400),
        (GET + b"Content-Length: -1\r\n\r\n", 400),
        (GET + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1100000\r\n\r\n" + b"x" * 1_100_000, 413),
        (b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 200),
        (b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"CONNECT evil.example:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    ],
)
async def test_every_answer_is_locked_down_and_names_no_version(
    request_: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as connect:
        streams = await connect()
        streams[1].write(request_)
        head = (await answer(streams)).partition(b"\r\n\r\n")[0].decode()
    lines = head.split("\r\n")
    assert lines[0].split()[1] == str(status), lines[0]
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert headers | SECURITY_HEADERS | SERVER == headers
    assert not [record for record in caplog.records if record.exc_info], "no traceback"


def test_only_our_own_pages_are_served() -> None:
    app = create_app(Settings(broker_url="kafka://127.0.0.1:1"))
    app.web.init_server()
    served = {path.split("/")[1] for path in app.web.views}
    ours = {"", "health", "metrics", "traffic", "table", "dead-letters", "journeys", "journal", "rules", "api"}
    ours |= {"login", "logout", "compare"}
    assert served == ours


@pytest.mark.parametrize(
    ("settings", "is_said"),
    [
        ({"web_bind": "0.0.0.0"}, True),
        ({"web_bind": "::"}, True),
        ({"web_bind": "worker-1"}, True),
        ({"web_bind": "0.0.0.0", "metroline_token": "open sesame"}, False),
        ({"web_bind": "127.0.0.1"}, False),
        ({"web_bind": "::1"}, False),
        ({"web_bind": "localhost"}, False),
    ],
)
def test_a_worker_that_strangers_can_read_says_so_at_the_start(settings: dict[str, str], is_said: bool) -> None:
    app = create_app(Settings(broker_url="kafka://127.0.0.1:1", **settings))  # type: ignore[arg-type]
    told = f"whoever reaches port 6066 of {settings['web_bind']} can read records and rules without a login"
    assert any(warning.startswith(told) for warning in app.warnings()) is is_said
