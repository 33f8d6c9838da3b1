"""The producer connects early, and replaces its client after a fatal error and when the brokers refuse it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from metroline.agents.kafka import producer as producing
from metroline.agents.kafka.producer import BY_KEY, NOW, KafkaProducer, NotSent, SomeNotSent

OnDelivery = Callable[[KafkaError | None, Any], None]


class Client:
    """A client that confirms every message. The first client is broken: it raises once and purges its messages."""

    made: list[Client]

    def __init__(self, config: dict[str, Any], logger: Any) -> None:
        self.broken = not self.made
        self.made.append(self)
        self._open: list[OnDelivery] = []
        self._raised = False

    def __len__(self) -> int:
        return len(self._open)

    def produce(
        self, topic: str, value: bytes, key: bytes | None, partition: int, on_delivery: OnDelivery, **_: Any
    ) -> None:
        if self._raised:
            raise KafkaException(KafkaError(KafkaError._FATAL, "fatal"))
        self._open.append(on_delivery)

    def poll(self, timeout: float) -> None:
        time.sleep(0.01)
        if self.broken and self._open and not self._raised:
            self._raised = True
            raise KafkaException(KafkaError(KafkaError.INVALID_PRODUCER_EPOCH, "fenced", True))
        while self._open:
            self._open.pop(0)(KafkaError(KafkaError._PURGE_QUEUE, "purged") if self.broken else None, None)

    def flush(self, timeout: float) -> None:
        self.poll(timeout)

    def purge(self) -> None:
        self._open.clear()


class RefusedClient(Client):
    """A client whose messages are refused if it is the first, as a broker does that does not accept its epoch."""

    def poll(self, timeout: float) -> None:
        time.sleep(0.01)
        while self._open:
            self._open.pop(0)(KafkaError(KafkaError.PRODUCER_FENCED, "fenced") if self.broken else None, None)


async def one_message(producer: KafkaProducer) -> None:
    """Send a message as envelopes are sent."""
    await (await producer.send("topic", None, b"value", 0))


async def messages_together(producer: KafkaProducer) -> None:
    """Send messages as an end gets them."""
    await (await producer.send_all("topic", [(b"value", None, BY_KEY, NOW, [])] * 3))


@pytest.mark.parametrize("send", [one_message, messages_together])
async def test_a_producer_that_the_brokers_refuse_is_replaced(
    send: Callable[[KafkaProducer], Awaitable[None]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    RefusedClient.made = []
    monkeypatch.setattr(producing, "Producer", RefusedClient)
    producer = KafkaProducer({}, 1_000_000)
    try:
        with pytest.raises(NotSent, match="fenced"):
            await asyncio.wait_for(send(producer), 10)
        for _ in range(3):
            await asyncio.wait_for(send(producer), 10)
        assert len(RefusedClient.made) == 2
    finally:
        await producer.close()
    assert caplog.messages == ["the producer had a fatal error and is replaced: fenced"]


async def test_after_a_fatal_error_what_was_under_way_is_not_sent_and_the_next_messages_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Client.made = []
    monkeypatch.setattr(producing, "Producer", Client)
    producer = KafkaProducer({}, 1_000_000)
    try:
        under_way = [await producer.send("topic", None, b"lost", 0) for _ in range(3)]
        answers = await asyncio.wait_for(asyncio.gather(*under_way, return_exceptions=True), 10)
        assert [type(answer) for answer in answers] == [NotSent] * 3

        await asyncio.wait_for(await producer.send("topic", None, b"again", 0), 10)
        assert len(Client.made) == 2
    finally:
        await producer.close()
    with pytest.raises(NotSent, match="closed"):
        await (await producer.send("topic", None, b"too late", 0))


def test_a_producer_can_connect_before_an_event_loop_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    RefusedClient.made = [RefusedClient.__new__(RefusedClient)]  # the next one is not broken
    monkeypatch.setattr(producing, "Producer", RefusedClient)
    producer = KafkaProducer({}, 1_000_000)
    producer.begin()
    producer.begin()
    assert len(RefusedClient.made) == 2

    async def use() -> None:
        for send in (one_message, messages_together):
            await asyncio.wait_for(send(producer), 10)
        await producer.close()

    asyncio.run(use())
    assert len(RefusedClient.made) == 2, "the client that has connected is used"


@pytest.mark.parametrize(
    ("code", "are_refused"),
    [
        (KafkaError.INVALID_RECORD, True),
        (KafkaError.MSG_SIZE_TOO_LARGE, True),
        (KafkaError.NOT_ENOUGH_REPLICAS, False),
        (KafkaError._MSG_TIMED_OUT, False),
    ],
)
async def test_messages_that_a_broker_refuses_for_what_they_are_are_told_from_those_that_may_pass_later(
    code: int, are_refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(Client):
        def poll(self, timeout: float) -> None:
            time.sleep(0.01)
            while self._open:
                self._open.pop(0)(KafkaError(code, "no"), None)

    Refusing.made = []
    monkeypatch.setattr(producing, "Producer", Refusing)
    producer = KafkaProducer({}, 1_000_000)
    try:
        with pytest.raises(SomeNotSent) as refused:
            await asyncio.wait_for(messages_together(producer), 10)
    finally:
        await producer.close()
    assert refused.value.are_refused is are_refused
