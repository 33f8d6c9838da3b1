"""The calls of SQS that workers have counted: asked of each over HTTP, and scaled to a month."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from metroline.agents.gateways.sqs.client import CallCounts
from metroline.agents.membership.worker import LiveWorkers, WorkerInfo
from metroline.agents.services.line import Line
from metroline.app.cli import cli
from metroline.app.local.ports import HOST, free_port
from metroline.app.operations import measured_calls as module
from metroline.app.operations.bill import MONTH_SECONDS, Prices
from metroline.app.operations.measured_calls import (
    Measured,
    MonthOfCalls,
    Queue,
    QueueCalls,
    WorkerCalls,
    measured_calls,
    scaled,
)
from metroline.app.operations.recent_flow import Flow
from metroline.app.operations.worker_client import Answers
from metroline.app.settings import Settings
from metroline.app.web_server.logins import WORKER_SCHEME, Logins

SOURCE, SHIPPED = Queue(None, is_fifo=False), Queue("shipped", is_fifo=True)
PRICES = Prices.read().sqs

LINE = """
[source]
kind = "sqs"
queue = "orders"

[ends.shipped]
kind = "sqs"
queue = "shipped.fifo"
"""

ROUTES = '[[rules]]\nto = "log"\n\n[[rules]]\nafter = "log"\nto = "shipped"\n'
SERVICES = "from metroline import service\n\n\n@service\ndef log(record):\n    return record\n"


def counted(
    seconds: float, billed: int, messages: int = 0, calls: dict[str, int] | None = None, size: int = 0
) -> QueueCalls:
    return QueueCalls(messages, size, calls or {"receive_message": billed}, billed, {}, seconds)


def answers(*of_workers: WorkerCalls, missing: tuple[str, ...] = ()) -> Answers[WorkerCalls]:
    return Answers({f"http://{number}:1": one for number, one in enumerate(of_workers)}, [], list(missing))


def test_calls_are_scaled_by_the_time_of_each_worker() -> None:
    early = counted(7_200, 720, 1_000, {"receive_message": 400, "delete_message_batch": 300}, 65_000)
    late = counted(36, 18, 360, {"receive_message": 10, "change_message_visibility_batch": 8}, 400)

    [month] = scaled(answers(WorkerCalls(early, {}), WorkerCalls(late, {})), [SOURCE, SHIPPED], PRICES).queues

    assert (month.end, month.workers, month.seconds) == (None, 2, 36)
    assert month.billed_calls == pytest.approx((0.1 + 0.5) * MONTH_SECONDS)
    assert month.dollars == pytest.approx(0.6 * MONTH_SECONDS / 1e6 * PRICES.million_calls)
    assert month.messages == pytest.approx((1_000 / 7_200 + 10) * MONTH_SECONDS)
    assert month.bytes == pytest.approx((65_000 / 7_200 + 400 / 36) * MONTH_SECONDS)
    assert month.calls["receive_message"] == pytest.approx((400 / 7_200 + 10 / 36) * MONTH_SECONDS)
    assert month.calls["change_message_visibility_batch"] == pytest.approx(8 / 36 * MONTH_SECONDS)


def test_an_empty_queue_costs_its_long_polls() -> None:
    [month] = scaled(answers(WorkerCalls(counted(3_600, 180), {})), [SOURCE], PRICES).queues

    assert month.billed_calls == MONTH_SECONDS / 20
    assert month.messages == 0


def test_each_queue_has_its_own_price_and_one_that_nobody_uses_is_left_out() -> None:
    ends = {"shipped": counted(10, 10), "unknown": counted(1, 1_000)}

    [month] = scaled(answers(WorkerCalls(None, ends)), [SOURCE, SHIPPED], PRICES).queues

    assert month.end == "shipped"
    assert month.dollars == pytest.approx(MONTH_SECONDS / 1e6 * PRICES.million_fifo_calls)


def test_a_worker_that_has_just_started_is_not_scaled_without_bound() -> None:
    [month] = scaled(answers(WorkerCalls(counted(0.0, 3), {})), [SOURCE], PRICES).queues

    assert month.billed_calls == 3 * MONTH_SECONDS


def test_a_client_counts_for_as_long_as_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr("metroline.agents.gateways.sqs.client.time", SimpleNamespace(monotonic=lambda: clock.now))
    counts = CallCounts()
    counts.count("send_message_batch", 10, 70_000)
    counts.failures["send_message_batch"] += 1
    clock.now = 130.0

    told = QueueCalls.counted(counts)

    assert told == QueueCalls(10, 70_000, {"send_message_batch": 1}, 2, {"send_message_batch": 1}, 30.0)


def line(folder: Path) -> Path:
    """Return the folder of a line that receives from a queue and sends to one."""
    for name, text in {"line.toml": LINE, "routes.toml": ROUTES, "services.py": SERVICES}.items():
        (folder / name).write_text(text)
    return folder


def worker(url: str, *parts: str, stops: tuple[str, ...] = ()) -> WorkerInfo:
    now = time.time()
    return WorkerInfo(url, "g", parts, stops, "signpost", url, 1, now, now)


def let_live(monkeypatch: pytest.MonkeyPatch, *workers: WorkerInfo) -> None:
    """Let these workers be those that the cluster tells of."""
    known = LiveWorkers()
    for one in workers:
        known.observe(json.dumps(one.as_json()).encode())

    async def live(*_: object) -> LiveWorkers:
        return known

    async def partitions(_: object, topics: list[str]) -> dict[str, int]:
        return dict.fromkeys(topics if workers else (), 1)

    monkeypatch.setattr(module, "live_workers", live)
    monkeypatch.setattr("metroline.agents.kafka.topic_admin.TopicAdmin.partitions", partitions)


@asynccontextmanager
async def answering(told: Any, status: int = 200) -> AsyncIterator[tuple[str, list[web.Request]]]:
    """Yield the address of a worker that answers this, and the requests that it gets."""
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request)
        return web.Response(body=msgspec.json.encode(told), status=status)

    app, port = web.Application(), free_port()
    app.router.add_get("/traffic/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    try:
        yield f"http://{HOST}:{port}", asked
    finally:
        await runner.cleanup()


async def test_workers_that_use_a_queue_are_asked_with_a_pass_and_those_that_do_not_answer_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = {"queue": msgspec.to_builtins(counted(10, 10)) | {"repeated": 0}, "ends": {}, "traffic": {}}
    async with answering(told) as (url, asked), answering({"queue": None}) as (older, _), answering({}) as (idle, none):
        away = f"http://{HOST}:{free_port()}"
        let_live(
            monkeypatch,
            worker(url, "on-ramp"),
            worker(older, "service:shipped", stops=("shipped",)),
            worker(away, "service:shipped", stops=("shipped",)),
            worker(idle, "service:log", "arrivals", stops=("log",)),
        )
        settings = Settings(line=str(line(tmp_path)), metroline_token="a token of the line")

        found = await measured_calls(settings, Line.load(settings.line), PRICES)

    assert found is not None
    assert [(one.end, one.billed_calls) for one in found.queues] == [(None, MONTH_SECONDS)]
    assert found.missing == tuple(sorted([older, away]))
    assert none == []
    logins = Logins("a token of the line", settings.topics(Line.load(settings.line)).prefix)
    [request] = asked
    given = request.headers["Authorization"]
    assert logins.is_worker_pass(given.removeprefix(WORKER_SCHEME), url, time.time())


async def test_a_line_without_a_queue_asks_nobody() -> None:
    settings = Settings(line="metroline.agents.lines.metrobus")

    assert await measured_calls(settings, Line.load(settings.line), PRICES) is None


def shown(monkeypatch: pytest.MonkeyPatch, measured: Measured | None, *options: str) -> Result:
    """Return what the command says of a line that runs, for what was measured."""

    async def told(*_: object) -> Measured | None:
        return measured

    monkeypatch.setattr("metroline.app.cli.cost.recent_flow", lambda *_: Flow([b'{"a":1}'] * 10, 2.0))
    monkeypatch.setattr("metroline.app.cli.cost.measured_calls", told)
    done = CliRunner().invoke(cli, ["cost", "--line", "metroline.agents.lines.metrobus", *options])
    assert done.exit_code == 0, done.stderr
    return done


MONTH = MonthOfCalls(None, 2, 36.4, 9.0, 99.0, {"receive_message": 129_600.0}, 129_600.0, 0.05184)


def test_the_command_shows_what_was_measured_beside_what_was_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, Measured((MONTH,), ("http://away:6066",))).stdout

    assert "SQS, computed, packed, a message a call" in text
    [row] = [row for row in text.splitlines() if "SQS, as measured" in row]
    assert row.strip().startswith("SQS, as measured, the source, 2 workers for at least 36 s ")
    assert row.split()[-2:] == ["129,600", "0.05"]
    assert "the worker at http://away:6066 gave no answer that can be used: its calls are not among" in text
    assert "as measured: long polls that found nothing are among the calls" in text


def test_the_command_says_that_no_worker_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, Measured((), ())).stdout

    assert "as measured: nothing, since no worker that uses a queue is alive; the bill is computed alone" in text


def test_the_command_says_nothing_of_calls_if_the_line_makes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "measured" not in shown(monkeypatch, None).stdout


@pytest.mark.parametrize(
    ("measured", "told"),
    [
        (None, None),
        (
            Measured((MONTH,), ("http://away:6066",)),
            {
                "queues": [
                    {
                        "end": None,
                        "workers": 2,
                        "seconds": 36.4,
                        "messages": 9.0,
                        "bytes": 99.0,
                        "calls": {"receive_message": 129_600.0},
                        "billed_calls": 129_600.0,
                        "dollars": 0.05184,
                    }
                ],
                "missing": ["http://away:6066"],
            },
        ),
    ],
)
def test_programs_get_what_was_measured(
    monkeypatch: pytest.MonkeyPatch, measured: Measured | None, told: dict[str, Any] | None
) -> None:
    assert json.loads(shown(monkeypatch, measured, "--json", "-").stdout)["measured"] == told
