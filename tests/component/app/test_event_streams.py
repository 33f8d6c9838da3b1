"""Streams of events: every listener gets the latest data, and a slow one costs the worker nothing but a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

from aiohttp import ClientSession, ClientTimeout, StreamReader, web

from metroline.app.web_server.answers import protect
from metroline.app.web_server.connections import Bounds, Runner
from metroline.app.web_server.event_streams import Data, EventStreams, Timing
from metroline.app.web_server.gate import STREAMS, gate
from metroline.app.web_server.host_names import HostNames

FAST = Timing(interval=0.05, comment=0.2, slow=0.5)
(STREAM,) = STREAMS
Read = Callable[[], Awaitable[Data]]


class Numbers:
    """Data that are another number each time."""

    def __init__(self, size: int = 0) -> None:
        self.read = 0
        self._padding = b"x" * size

    async def __call__(self) -> Data:
        self.read += 1
        return Data(b"all of %d%s" % (self.read, self._padding), b"from %d on%s" % (self.read, self._padding))


@asynccontextmanager
async def serving(
    read: Read, *, most: int = 3, timing: Timing = FAST, turns: int = 16
) -> AsyncIterator[tuple[str, Runner]]:
    """Run a web server with a stream and a page; yield its address."""
    streams = EventStreams(read, most, timing)

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="a page")

    app = web.Application(middlewares=[gate(lambda: HostNames.of("127.0.0.1", (), ""), turns)])
    app.on_response_prepare.append(protect)
    app.add_routes([web.get(STREAM, streams.answer), web.get("/", page)])
    app.on_shutdown.append(lambda _: streams.end())
    runner = Runner(app, Bounds(), access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    try:
        yield f"http://{host}:{port}", runner
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client() -> AsyncIterator[ClientSession]:
    """Yield a client that waits for up to half a minute."""
    async with ClientSession(timeout=ClientTimeout(total=30)) as session:
        yield session


async def events(content: StreamReader, count: int) -> list[tuple[bytes, bytes]]:
    """Return the kind and the data of the next events."""
    found: list[tuple[bytes, bytes]] = []
    kind = b""
    while len(found) < count:
        line = (await content.readline()).rstrip(b"\n")
        if line.startswith(b"event: "):
            kind = line.removeprefix(b"event: ")
        elif line.startswith(b"data: "):
            found.append((kind, line.removeprefix(b"data: ")))
    return found


async def test_a_listener_gets_all_data_and_then_what_is_new() -> None:
    async with serving(Numbers()) as (url, _), client() as session, session.get(url + STREAM) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        first, second, *_ = await events(response.content, 3)
    assert first[0] == b"snapshot"
    number = int(first[1].removeprefix(b"all of "))
    assert second == (b"update", b"from %d on" % (number + 1))


async def test_data_are_read_once_for_all_listeners_and_not_at_all_without_any() -> None:
    numbers = Numbers()
    async with serving(numbers) as (url, _), client() as session:
        async with session.get(url + STREAM) as one, session.get(url + STREAM) as other:
            before = numbers.read
            await asyncio.gather(events(one.content, 5), events(other.content, 5))
            assert numbers.read <= before + 7
        read = -1
        async with asyncio.timeout(30):
            while read != numbers.read:
                read = numbers.read
                await asyncio.sleep(4 * FAST.interval)


async def test_listeners_take_no_turn_of_those_who_ask_for_pages() -> None:
    async with (
        serving(Numbers(), turns=1) as (url, _),
        client() as session,
        session.get(url + STREAM) as one,
        session.get(url + STREAM) as other,
    ):
        await asyncio.gather(events(one.content, 1), events(other.content, 1))
        async with session.get(url) as page:
            assert await page.text() == "a page"


async def test_there_are_only_so_many_listeners() -> None:
    async with serving(Numbers(), most=2) as (url, _), client() as session:
        async with session.get(url + STREAM) as one, session.get(url + STREAM) as other:
            await asyncio.gather(events(one.content, 1), events(other.content, 1))
            async with session.get(url + STREAM) as refused:
                assert refused.status == 503
                assert refused.headers["Retry-After"] == "5"
                assert await refused.json() == {"error": "2 browsers listen already"}
        async with asyncio.timeout(30):
            while True:  # until the server notices that they have gone
                async with session.get(url + STREAM) as again:
                    if again.status == 200:
                        break
                await asyncio.sleep(0.05)


async def test_streams_end_when_the_server_ends() -> None:
    async with serving(Numbers()) as (url, runner), client() as session, session.get(url + STREAM) as response:
        await events(response.content, 1)
        ending = asyncio.create_task(runner.cleanup())
        async with asyncio.timeout(4):  # less than what requests have to end
            assert (await response.content.read())[-1:] == b"\n"
        await ending


async def test_a_comment_comes_though_nothing_new_does() -> None:
    numbers = Numbers()

    async def once() -> Data:
        if numbers.read:
            await asyncio.Event().wait()
        return await numbers()

    async with serving(once) as (url, _), client() as session, session.get(url + STREAM) as response:
        await events(response.content, 1)
        assert b": still here\n" in await response.content.readuntil(b"still here\n")


async def test_data_that_cannot_be_read_end_no_stream() -> None:
    numbers = Numbers()

    async def now_and_then() -> Data:
        data = await numbers()
        if numbers.read % 2 == 0:
            raise ValueError("not now")
        return data

    async with serving(now_and_then) as (url, _), client() as session, session.get(url + STREAM) as response:
        assert len(await events(response.content, 3)) == 3


async def test_a_listener_that_takes_nothing_is_left_out_and_then_gets_all_anew() -> None:
    size = 2 * 1024 * 1024
    numbers = Numbers(size)
    timing = Timing(interval=0.05, comment=60.0, slow=60.0)
    async with serving(numbers, timing=timing) as (url, _):
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=4 * size)
        writer.write(f"GET {STREAM} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        await reader.readuntil(b"\n\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        seen = numbers.read
        async with asyncio.timeout(60):
            while numbers.read < seen + 40:  # others would get these
                await asyncio.sleep(0.05)
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        kinds: list[bytes] = []
        numbers_told: list[int] = []
        async with asyncio.timeout(60):
            while not numbers_told or numbers_told[-1] < seen + 40:
                line = await reader.readline()
                if line.startswith(b"event: "):
                    kinds.append(line[7:].strip())
                elif line.startswith((b"data: all of ", b"data: from ")):
                    numbers_told.append(int(bytes(c for c in line[:40] if c in b"0123456789")))
        missed = [at for at, (a, b) in enumerate(pairwise(numbers_told)) if b != a + 1]
        assert missed, "nothing piled up for it"
        assert all(kinds[at + 1] == b"snapshot" for at in missed)
        writer.close()


async def test_a_listener_that_takes_nothing_for_long_is_cut_off() -> None:
    timing = Timing(interval=0.05, comment=60.0, slow=0.3)
    async with serving(Numbers(8 * 1024 * 1024), timing=timing, most=1) as (url, _), client() as session:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {STREAM} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(30):
            while True:  # it is cut off, so that there is room for another one
                async with session.get(url + STREAM) as again:
                    if again.status == 200:
                        break
                await asyncio.sleep(0.05)
        writer.close()
