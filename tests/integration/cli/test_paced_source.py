"""The sender of a steady rate, on a broker: its schedule, its record of it, and its end."""

from __future__ import annotations

import threading
import time
from itertools import repeat

import pytest

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.app.compare.paced_source import PacedSource
from metroline.app.compare.plan import RunFailed
from tests.support.brokers import Broker

PARTITIONS = 3


@pytest.fixture
async def source(embedded_broker: Broker, prefix: str) -> PacedSource:
    cluster = Cluster.at(embedded_broker.url)
    await TopicAdmin(cluster).create([TopicPlan(prefix, PARTITIONS)])
    return PacedSource(cluster.librdkafka, prefix, PARTITIONS)


def test_every_message_is_due_by_the_schedule_whenever_it_was_sent(source: PacedSource) -> None:
    started_at = time.time() - 1.0  # the sender is a second late
    source.send([(b"two records", 2)] * 30, 100.0, started_at)
    assert sorted(source.due) == [(partition, offset) for partition in range(PARTITIONS) for offset in range(10)]
    assert [source.due[number % PARTITIONS, number // PARTITIONS] for number in range(30)] == pytest.approx(
        [started_at + 2 * number / 100 for number in range(30)]
    )
    assert all(late > 0 for late in source.lateness)


def test_no_message_is_sent_before_it_is_due(source: PacedSource) -> None:
    started_at = time.time()
    source.send([(b"{}", 1)] * 50, 100.0, started_at)
    assert time.time() - started_at >= 0.49
    assert min(source.lateness) >= 0


def test_it_can_be_ended_early(source: PacedSource) -> None:
    thread = threading.Thread(target=source.send, args=(repeat((b"{}", 1)), 100.0, time.time()))
    thread.start()
    source.is_over.set()
    thread.join(timeout=20)
    assert not thread.is_alive()


def test_a_message_that_the_broker_does_not_take_is_an_error(embedded_broker: Broker, source: PacedSource) -> None:
    elsewhere = PacedSource(Cluster.at(embedded_broker.url).librdkafka, source.topic, PARTITIONS + 4)
    with pytest.raises(RunFailed, match="the broker does not take the source messages"):
        elsewhere.send([(b"{}", 1)] * (PARTITIONS + 4), 1_000.0, time.time())
