"""A line whose pages tests look at: it has journeys, dead letters and a replay job, and a login."""

from __future__ import annotations

import asyncio
import json
import urllib.request
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.app.local.worker_process import WorkerProcess
from metroline.app.operations.comparison_runs import keep
from metroline.app.operations.permission import Permission
from metroline.routing.outcome import Ending
from tests.support.brokers import Broker
from tests.support.depot import Depot, expected, numbered
from tests.support.forks.client import start_worker
from tests.support.kept_comparisons import done

TOKEN = "a token for the tests"

MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"
"""A value of a field that would run a script if a page did not escape it."""


@dataclass
class ShownLine:
    """The line, the worker that shows its pages, and the ids of what there is to see."""

    depot: Depot
    worker: WorkerProcess
    ids: dict[str, str] = field(default_factory=dict)
    delivered: int = 0
    """Records that the line delivers, once it is done with all that were sent."""

    @classmethod
    async def on(cls, depot: Depot) -> ShownLine:
        """Start a worker, and send records until there is one of everything."""
        depot.variables |= {"METROLINE_TOKEN": TOKEN, "CLUSTER_KEY": "a key of these workers"}
        foreign = f"{depot.prefix}-dlq"
        (depot.folder / "line.toml").write_text(f'[dead_letters]\ntopics = ["{foreign}"]\n')
        line = cls(depot, depot.start())
        await depot.ready()
        await TopicAdmin(depot.cluster).create([TopicPlan(foreign, 1)])
        async with depot.cluster.producer() as producer:
            headers = [("kafka_dlt-original-topic", b"orders"), ("kafka_dlt-exception-message", b"no price")]
            await producer.send_and_wait(foreign, b"an order", headers=headers, partition=0)
        for run in (done("abcdef0123"), done("0123456789", chaining=True)):
            await keep(depot.cluster, depot.topics.comparisons, run, Permission.granted("a test"))
            line.ids["run"] = run.id
        await line.push(range(10))
        await depot.push(numbered(["refused", "refused"], note=MARKUP))
        await depot.settled(12)
        await depot.until(line._knows_everything)
        return line

    @property
    def url(self) -> str:
        return self.worker.url

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    async def get(self, path: str) -> Any:
        """Return the JSON at a path; None if it is not there."""
        return await asyncio.to_thread(self.worker.get, path)

    async def push(self, numbers: range) -> None:
        """Send records with these numbers, and count those that are to be delivered."""
        await self.depot.push(numbered(numbers))
        self.delivered += sum(expected(number)[1] is Ending.DELIVERED for number in numbers)

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Return the answer to a request to write."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)

        def answer() -> Any:
            with urllib.request.urlopen(request) as response:
                return json.load(response)

        return await asyncio.to_thread(answer)

    async def start(self, port: int | None = None) -> WorkerProcess:
        """Start a further worker, by default on a free port, and wait until it has its part of the records."""
        depot = self.depot
        log = depot.logs / f"worker-{len(list(depot.logs.glob('worker-*')))}.log"
        started = start_worker(depot.environment(ROUTING_STRATEGY="signpost", ROLE="all"), log, port)
        depot.workers.append(started)

        async def is_ready() -> bool:
            return await asyncio.to_thread(started.get, "/health/ready") is not None

        await depot.until(is_ready)
        return started

    async def _knows_everything(self) -> bool:
        """Note the ids once the pages know a dead letter, a job and a journey."""
        found = await self.get("/journeys/?outcome=dead")
        groups = await self.get("/dead-letters/")
        if not (found and found["journeys"] and groups and groups[0]["count"] == 2):
            return False
        [group] = groups
        letters = await self.get(f"/dead-letters/?group={group['group']}")
        if "job" not in self.ids:
            job = await self.post(
                "/dead-letters/jobs/start/", {"ids": [letters[0]["id"]], "reason": "to see it", "stop_at": 1.0}
            )
            self.ids["job"] = job["job"]
        self.ids |= {
            "journey": found["journeys"][0]["id"],
            "group": group["group"],
            "letter": letters[1]["id"],
        }
        return True


@asynccontextmanager
async def shown_line(broker: Broker, folder: Path) -> AsyncIterator[ShownLine]:
    """Run a line on a broker, with its files and logs in a folder."""
    depot = Depot(broker, f"test-{uuid.uuid4().hex[:12]}", folder / "depot", folder)
    try:
        yield await ShownLine.on(depot)
    finally:
        await asyncio.to_thread(depot.end)
        await depot.delete_topics()
