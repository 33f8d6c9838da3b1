"""The gateway in front of the source topic: a worker that cannot receive ends, and no message stalls the others."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from metroline.agents.gateways.outside_end import MissingExtra
from metroline.agents.gateways.sqs.options import SqsSource
from metroline.agents.gateways.sqs.received import ID_HEADER, SourceMessage
from metroline.agents.gateways.sqs.receiver import NotPut
from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.producer import NOW, Confirmation, KeyedMessage, SomeNotSent
from metroline.agents.source_gateway import KafkaSourceTopic, SourceGateway


class Watched(SourceGateway):
    """A gateway that keeps the error with which it would end its worker."""

    error: BaseException | None = None

    async def crash(self, reason: BaseException) -> None:
        self.error = reason
        self.set_shutdown()


async def test_a_worker_without_the_library_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cast(dict[str, Any], sys.modules), "aiobotocore.session", None)
    gateway = Watched(SqsSource(kind="sqs", queue="orders"), cast(KafkaSourceTopic, None))

    await gateway.start()
    while gateway.error is None:
        await asyncio.sleep(0.01)
    await gateway.stop()

    assert isinstance(gateway.error, MissingExtra)
    assert str(gateway.error) == "SQS needs the package aiobotocore: pip install 'metroline[sqs]'"


class FakeProducer:
    """A producer whose broker takes a batch only if it takes each of its messages, like a broker of Kafka."""

    def __init__(self, takes: Callable[[KeyedMessage], bool], *, refuses: bool = True) -> None:
        self.takes = takes
        self.refuses = refuses
        """False if the broker does not answer, rather than refuse messages."""
        self.written: list[KeyedMessage] = []
        self.calls = 0

    async def send(self, topic: str, key: bytes | None, value: bytes, partition: int) -> Confirmation:
        raise AssertionError

    async def send_all(self, topic: str, messages: Sequence[KeyedMessage]) -> Confirmation:
        self.calls += 1
        answer: Confirmation = asyncio.get_running_loop().create_future()
        if all(map(self.takes, messages)):
            self.written += messages
            answer.set_result(None)
        else:
            changed = [(value, key, partition, NOW, headers) for value, key, partition, _, headers in messages]
            answer.set_exception(SomeNotSent("INVALID_RECORD", changed, are_refused=self.refuses))
        return answer


def topic_of(producer: FakeProducer) -> KafkaSourceTopic:
    return KafkaSourceTopic(producer, Cluster("localhost:9092"), "orders.in", lambda: 1, lambda: 1_000)


def messages(*ids: str, timestamp: int = 1_000) -> list[SourceMessage]:
    return [SourceMessage(one.encode(), None, 0, timestamp, [(ID_HEADER, one)]) for one in ids]


async def test_messages_whose_timestamps_a_broker_refuses_are_written_with_the_current_time() -> None:
    producer = FakeProducer(lambda message: message[3] == NOW)

    assert await topic_of(producer).put(messages("a", "b")) == {}

    assert [message[0] for message in producer.written] == [b"a", b"b"]


async def test_one_message_that_a_broker_refuses_is_named_and_the_others_are_written() -> None:
    producer = FakeProducer(lambda message: message[0] != b"bad")

    refused = await topic_of(producer).put(messages("a", "bad", "b"))

    assert refused == {"bad": "INVALID_RECORD"}
    assert [message[0] for message in producer.written] == [b"a", b"b"]


async def test_messages_for_which_no_broker_answers_are_not_sent_again_before_the_topic_is_asked() -> None:
    producer = FakeProducer(lambda message: False, refuses=False)

    with pytest.raises(NotPut, match="INVALID_RECORD"):
        await topic_of(producer).put(messages("a", "b"))

    assert producer.calls == 1
