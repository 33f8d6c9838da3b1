"""A real server with the protocol of SQS: ElasticMQ, from its Maven artifacts, with its queues in memory."""

from __future__ import annotations

import os
import signal
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from metroline.app.local.child_process import Child
from metroline.app.local.ports import HOST, free_port
from tests.support.brokers import jars
from tests.support.project import ROOT

FOLDER = ROOT / ".elasticmq"  # kept between runs; 37 MB
POM = Path(__file__).parent / "elasticmq-pom.xml"
START_SECONDS = 120.0
"""Deadline for the start, in seconds: a quiet machine takes 2."""

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "eu-central-1"}
"""The variables of a client. ElasticMQ takes any."""


@dataclass(frozen=True, slots=True)
class ElasticMq:
    """A running server."""

    url: str
    child: Child

    def call(self, action: str, **arguments: Any) -> dict[str, Any]:
        """Make a call of SQS's JSON protocol."""
        content = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{action}"}
        request = urllib.request.Request(self.url, orjson.dumps(arguments), content)
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, Any] = orjson.loads(answer.read() or b"{}")
            return found

    def create(self, queue: str, **attributes: str) -> str:
        """Create a queue and return its URL."""
        told = attributes | ({"FifoQueue": "true"} if queue.endswith(".fifo") else {})
        return str(self.call("CreateQueue", QueueName=queue, Attributes=told)["QueueUrl"])

    def send(self, queue: str, bodies: Sequence[str], group: str | None = None) -> None:
        """Send messages to a queue, ten a call."""
        url = f"{self.url}/000000000000/{queue}"
        for first in range(0, len(bodies), 10):
            entries = [
                {"Id": str(place), "MessageBody": body} | _in_group(group, body)
                for place, body in enumerate(bodies[first : first + 10])
            ]
            assert not self.call("SendMessageBatch", QueueUrl=url, Entries=entries).get("Failed")

    def waiting(self, queue: str) -> tuple[int, int]:
        """Return the approximate number of messages that are visible, and of those that somebody has in hand."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        url = f"{self.url}/000000000000/{queue}"
        found = self.call("GetQueueAttributes", QueueUrl=url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])

    def taken(self, queue: str) -> list[dict[str, Any]]:
        """Receive and delete all messages that are visible."""
        url, found = f"{self.url}/000000000000/{queue}", []
        names = {"MessageAttributeNames": ["All"], "AttributeNames": ["All"]}
        while messages := self.call("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10, **names).get("Messages"):
            for one in messages:
                self.call("DeleteMessage", QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
            found += messages
        return found

    def freeze(self) -> None:
        """Let the server answer nothing."""
        os.kill(self.child.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the server answer again."""
        os.kill(self.child.pid, signal.SIGCONT)


@contextmanager
def running_elasticmq(folder: Path, *, is_brief: bool = True) -> Iterator[ElasticMq]:
    """Run a server on a free port, with its log (`elasticmq.log`) in `folder`.

    One that is brief starts quickly, and is slower than others once those have run for a while.
    """
    port = free_port()
    told = {"node-address.port": port, "node-address.host": HOST, "rest-sqs.bind-port": port}
    told |= {"rest-sqs.bind-hostname": HOST, "rest-stats.enabled": "false"}
    java = ["java", "-Xmx512m", *(["-XX:TieredStopAtLevel=1"] if is_brief else [])]
    java += [f"-D{name}={value}" for name, value in told.items()]
    child = Child.start(
        [*java, "-cp", f"{jars(POM, FOLDER)}/*", "org.elasticmq.server.Main"], folder / "elasticmq.log", folder
    )
    server = ElasticMq(f"http://{HOST}:{port}", child)
    try:
        _wait(server)
        yield server
    finally:
        server.thaw()
        child.stop(timeout=15)


def _in_group(group: str | None, body: str) -> dict[str, str]:
    """Return what a message says of its group. Messages with one body are one message to a FIFO queue."""
    return {} if group is None else {"MessageGroupId": group, "MessageDeduplicationId": f"{group}-{hash(body)}"}


def _wait(server: ElasticMq) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            server.call("ListQueues")
            return
        except OSError:
            assert server.child.exit_code is None, server.child.last_words()
            assert time.monotonic() < deadline, f"no ElasticMQ after {START_SECONDS:g} s"
            time.sleep(0.2)
