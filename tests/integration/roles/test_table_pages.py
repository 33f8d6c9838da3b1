"""The pages of two workers that share a line's partitions, on the embedded broker, also after one of them is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.agents.services.line import Line
from metroline.app.local.child_process import Child
from metroline.app.local.ports import HOST, free_port
from tests.support.brokers import Broker
from tests.support.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
PARTITIONS = 4
RECORDS = 2_000
BROKEN = [b"no JSON", b"[1, 2]", b""]


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker process and the address of its pages."""

    child: Child
    url: str

    def page(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=60) as response:
            return dict(orjson.loads(response.read()))

    def held(self) -> set[int]:
        """Return the partitions that the worker holds itself; none while it is not up."""
        assert self.child.exit_code is None, self.child.last_words(20)
        try:
            return set(self.page("/table/outcomes/?local=true")["partitions"])
        except OSError:
            return set()


@pytest.fixture
def workers(embedded_broker: Broker, prefix: str, tmp_path: Path) -> Iterator[list[Worker]]:
    """Yield two workers that play every role, each with its share of the partitions."""
    with ExitStack() as stack:
        workers = [_start(embedded_broker, prefix, tmp_path / f"{number}.log") for number in range(2)]
        for worker in workers:
            stack.callback(worker.child.stop, 15)
        wait_until(lambda: [len(worker.held()) for worker in workers] == [2, 2], timeout=120)
        yield workers


def _start(broker: Broker, prefix: str, log: Path) -> Worker:
    port = str(free_port())
    told = {
        "BROKER_URL": broker.url,
        "PREFIX": prefix,
        "ROUTING_STRATEGY": "signpost",
        "WEB_PORT": port,
        "FETCH_WAIT": "0.01",
        "BROKER_SESSION_TIMEOUT": "6",
        "BROKER_REBALANCE_TIMEOUT": "6",
        "BROKER_HEARTBEAT_INTERVAL": "1",
    }
    command = [sys.executable, "-m", "faust", "-A", "metroline.app.main", "worker", "--web-port", port]
    return Worker(Child.start(command, log, ROOT, {**os.environ, **told}), f"http://{HOST}:{port}")


async def _send(broker: Broker, topic: str) -> None:
    cluster = Cluster.at(broker.url)
    await TopicAdmin(cluster).create([TopicPlan(topic, PARTITIONS)])
    values = [orjson.dumps(record) for record in Line.load("metroline.agents.lines.metrobus").records(RECORDS)]
    async with cluster.producer(linger_ms=5) as producer:
        for number, value in enumerate(values + BROKEN):
            await producer.send(topic, value, partition=number % PARTITIONS)


def test_every_worker_tells_of_the_whole_line_and_one_that_is_killed_is_named(
    embedded_broker: Broker, prefix: str, workers: list[Worker]
) -> None:
    asyncio.run(_send(embedded_broker, f"{prefix}.source"))
    wait_until(lambda: workers[0].page("/table/outcomes/")["settled"] == RECORDS + len(BROKEN), timeout=120)

    first, second = (worker.page("/table/outcomes/") for worker in workers)
    assert first == second
    totals = first["totals"]
    assert totals["dead"] == len(BROKEN)
    assert totals["delivered"] + totals["dropped"] == RECORDS
    assert min(totals["delivered"], totals["dropped"]) > 0
    assert first["partitions"] == [0, 1, 2, 3]
    assert [worker.page("/table/outcomes/?local=true")["settled"] for worker in workers] != [0, 0]

    letters = [worker.page("/table/dead_letters/")["journeys"] for worker in workers]
    assert letters[0] == letters[1]
    assert len(letters[0]) == len(BROKEN)
    for partition in range(PARTITIONS):
        entry = workers[0].page(f"/table/outcomes/{partition}/source/0/")
        assert entry == workers[1].page(f"/table/outcomes/{partition}/source/0/")

    os.kill(workers[1].child.pid, signal.SIGKILL)
    wait_until(lambda: workers[1].child.exit_code is not None)
    began = time.monotonic()
    page = workers[0].page("/table/outcomes/")
    assert time.monotonic() - began < 20
    assert page["missing"] == [workers[1].url]
    assert 0 < page["settled"] < RECORDS
    wait_until(lambda: not workers[0].page("/table/outcomes/")["missing_partitions"], timeout=120)
    page = workers[0].page("/table/outcomes/")
    assert (page["totals"], page["missing"]) == (totals, [])
