"""A table that was published is never said not to be, whoever publishes in the same moment and whatever is written."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from aiokafka.errors import KafkaError, KafkaTimeoutError, TopicAuthorizationFailedError

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.membership.worker import LiveWorkers, WorkerInfo
from metroline.agents.services.line import Line
from metroline.agents.tables.publication import Publication
from metroline.app.operations import publishing, rules_topic
from metroline.app.operations.permission import Permission
from metroline.app.operations.publishing import Grounds, Outdated, Published, publish_table
from metroline.app.operations.rules_file import publish_file
from metroline.app.operations.rules_topic import Unconfirmed
from metroline.app.settings import Settings
from metroline.routing.rules.table import RulesTable

LINE = Line.load("metroline.agents.lines.metrobus")
TOPICS = Settings.read().topics(LINE)


class RulesLog:
    """The topic of the rules in memory. Others write to it right before, or right after, what is written here."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes]] = []
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None
        self.copies = 1
        """Number of times that a message is written: a client repeats one whose confirmation it has not seen."""
        self.error: KafkaError | None = None
        """The error with which a client gives up a message, which may have been written."""
        self.is_readable = True
        self.add("first", 0, "the line's file")

    def add(self, mark: str, replaces: int, by: str) -> None:
        """Add the publication of somebody else."""
        value = orjson.dumps(Publication(table(mark), replaces, by, 1.0).as_json())
        self.messages.append((f"key {len(self.messages)}".encode(), value))

    @asynccontextmanager
    async def producer(self, **_: object) -> AsyncIterator[RulesLog]:
        yield self

    async def send_and_wait(self, _: str, value: bytes, *, key: bytes, partition: int) -> Any:
        assert partition == 0
        if self.error is not None:
            raise self.error
        self.before()
        self.messages += [(key, value)] * self.copies
        sent = SimpleNamespace(offset=len(self.messages) - 1)
        self.after()
        return sent

    async def read(self, *_: object) -> AsyncIterator[Any]:
        for offset, (key, value) in enumerate(self.messages):
            yield SimpleNamespace(offset=offset, key=key, value=value)
        if not self.is_readable:
            raise ClusterError("no Kafka broker answers")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> RulesLog:
    """Return the log on which a line with a live worker has its first version."""
    made, alive = RulesLog(), LiveWorkers()
    stops, now = tuple(LINE.stops), time.time()
    worker = WorkerInfo("http://a/1", "all", (), stops, "signpost", "http://a", 1, now, now, ends=tuple(LINE.ends))
    alive.observe(orjson.dumps(worker.as_json()))

    async def workers(*_: object) -> LiveWorkers:
        return alive

    monkeypatch.setattr(publishing, "live_workers", workers)
    monkeypatch.setattr(rules_topic, "read_topic", made.read)
    monkeypatch.setattr(Cluster, "producer", made.producer)
    return made


def table(mark: str) -> str:
    return f"{LINE.rules_text}# {mark}\n"


async def publish(mark: str = "mine") -> Published:
    rules = RulesTable.parse(table(mark), ends=LINE.ends)
    return await publish_table(Settings.read(), LINE, rules, "routes.toml", Permission.granted("ann"), Grounds("why"))


async def test_a_table_is_published_although_a_third_one_replaces_it_at_once(log: RulesLog) -> None:
    log.after = lambda: log.add("theirs", 2, "zoe")
    done = await publish()
    assert (done.version, done.replaces) == (2, 1)
    assert done.warnings == ["warning: version 3 by zoe has replaced it in the same moment"]


async def test_a_table_is_refused_if_another_one_came_before_it_whatever_follows(log: RulesLog) -> None:
    log.before = lambda: log.add("theirs", 1, "zoe")
    log.after = lambda: log.add("third", 2, "bob")
    with pytest.raises(Outdated, match="at the same moment") as refused:
        await publish()
    assert refused.value.current is not None
    assert (refused.value.current.version, refused.value.current.publication.by) == (4, "bob")


async def test_a_table_that_the_client_wrote_twice_is_published_once(log: RulesLog) -> None:
    log.copies = 2
    done = await publish()
    assert (done.version, done.warnings) == (2, [])
    assert (await publish("next")).replaces == 2


async def test_nothing_is_said_of_a_table_whose_fate_is_not_known(
    log: RulesLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.after = lambda: monkeypatch.setattr(log, "is_readable", False)
    with pytest.raises(Unconfirmed, match="it is not known whether the table was published"):
        await publish()
    log.error = KafkaTimeoutError()
    monkeypatch.setattr(log, "is_readable", True)
    with pytest.raises(Unconfirmed):
        await publish("other")
    log.error = TopicAuthorizationFailedError()
    with pytest.raises(TopicAuthorizationFailedError):
        await publish("other")


async def test_a_changed_file_is_published_once_although_a_third_one_replaces_it_at_once(log: RulesLog) -> None:
    log.after = lambda: log.add("theirs", 2, "zoe")
    done = await publish_file(Settings.read().cluster(), TOPICS, table("mine"), Permission.granted("ann"))
    assert (done.version, done.before) == (2, table("first"))
    assert len(log.messages) == 3
