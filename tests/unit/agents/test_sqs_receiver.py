"""The receiver of a queue: what it deletes, extends, and recognizes, with a queue and a source topic in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

import pytest

from metroline.agents.gateways.sqs.client import CallCounts, SqsAway, SqsClient, SqsRefused
from metroline.agents.gateways.sqs.received import SourceMessage
from metroline.agents.gateways.sqs.receiver import NotPut, SqsReceiver


class FakeQueue:
    """A queue in memory, whose messages stay until they are deleted. `call` is that of `SqsClient`."""

    def __init__(self, visibility: int = 30) -> None:
        self.counts = CallCounts()
        self.waiting: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.extended: list[str] = []
        self.open_polls = 0
        self.most_polls = 0
        self.failing: dict[str, list[Exception]] = {}
        self._visibility = visibility

    def send(self, *ids: str, count: int = 1, group: str | None = None) -> None:
        for one in ids:
            attributes = {"ApproximateReceiveCount": str(count), "ApproximateFirstReceiveTimestamp": "1000"}
            attributes |= {} if group is None else {"MessageGroupId": group}
            self.waiting.append(
                {
                    "MessageId": one,
                    "ReceiptHandle": f"{one}/{count}",
                    "Body": f"body of {one}",
                    "Attributes": attributes,
                }
            )

    async def visibility(self) -> int:
        self._fail("get_queue_attributes")
        return self._visibility

    async def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        self._fail(name)
        if name == "receive_message":
            return await self._receive()
        entries = arguments["Entries"]
        handles = [one["ReceiptHandle"] for one in entries]
        if name == "delete_message_batch":
            self.deleted += handles
        elif name == "change_message_visibility_batch":
            self.extended += handles
        return {}

    async def _receive(self) -> dict[str, Any]:
        self.open_polls += 1
        self.most_polls = max(self.most_polls, self.open_polls)
        try:
            for _ in range(20):
                if self.waiting:
                    taken, self.waiting = self.waiting[:10], self.waiting[10:]
                    return {"Messages": taken}
                await asyncio.sleep(0.01)
            return {}
        finally:
            self.open_polls -= 1

    def _fail(self, name: str) -> None:
        if self.failing.get(name):
            raise self.failing[name].pop(0)


class FakeTopic:
    """A source topic in memory."""

    def __init__(self) -> None:
        self.messages: list[SourceMessage] = []
        self.held: set[str] = set()
        self.failures = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.holding: asyncio.Event | None = None
        """If given, `holds` waits for it."""

    @property
    def ids(self) -> list[str]:
        return [str(dict(one.headers)["sqs-message-id"]) for one in self.messages]

    async def put(self, messages: Sequence[SourceMessage]) -> dict[str, str]:
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            self.messages += messages[:1]  # the brokers have it, and did not confirm it
            raise NotPut("no broker answers")
        self.messages += [one for one in messages if one.value != b"body of bad"]
        return {"bad": "INVALID_RECORD"}

    async def holds(self, ids: Collection[str], since: int) -> frozenset[str]:
        if self.holding is not None:
            await self.holding.wait()
        return frozenset({*self.held, *self.ids}.intersection(ids))

    def fits(self, message: SourceMessage) -> bool:
        return "large" not in str(message.headers)


async def received(queue: FakeQueue, topic: FakeTopic, until: Callable[[], bool], most: int = 4) -> SqsReceiver:
    """Run a receiver until a condition holds, and let it finish."""
    receiver = SqsReceiver(cast(SqsClient, queue), topic, most)
    running = asyncio.create_task(receiver.run())
    for _ in range(2_000):
        if until() or running.done():
            break
        await asyncio.sleep(0.01)
    assert running.done() or until()
    receiver.stop()
    await running
    return receiver


async def test_a_message_is_deleted_only_when_the_bus_has_confirmed_it() -> None:
    queue, topic = FakeQueue(), FakeTopic()
    topic.gate.clear()
    queue.send("a", "b")

    async def look() -> None:
        while not queue.counts.calls["receive_message"]:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert queue.deleted == []
        topic.gate.set()

    looking = asyncio.create_task(look())
    await received(queue, topic, lambda: len(queue.deleted) == 2)
    await looking

    assert (topic.ids, queue.deleted) == (["a", "b"], ["a/1", "b/1"])
    assert topic.messages[0].value == b"body of a"


async def test_messages_are_deleted_ten_a_call() -> None:
    queue, topic = FakeQueue(), FakeTopic()
    queue.send(*map(str, range(100)))

    await received(queue, topic, lambda: len(queue.deleted) == 100)

    assert queue.counts.calls["delete_message_batch"] == 10


async def test_many_polls_are_open_while_there_are_messages_and_one_while_there_are_none() -> None:
    queue, topic = FakeQueue(), FakeTopic()
    queue.send(*map(str, range(400)))
    await received(queue, topic, lambda: len(queue.deleted) == 400 and queue.open_polls == 1)

    assert queue.most_polls > 1


async def test_an_empty_queue_costs_one_call_for_each_poll() -> None:
    queue, topic = FakeQueue(), FakeTopic()

    await received(queue, topic, lambda: queue.counts.calls["receive_message"] == 3)

    assert queue.most_polls == 1
    assert queue.counts.calls == {"receive_message": 3}
    assert queue.counts.chunks == 3


async def test_visibility_is_extended_while_the_bus_does_not_confirm() -> None:
    queue, topic = FakeQueue(visibility=1), FakeTopic()
    topic.gate.clear()
    queue.send("a")

    def is_extended() -> bool:
        if len(queue.extended) >= 2:
            topic.gate.set()
        return len(queue.extended) >= 2

    await received(queue, topic, is_extended)

    assert queue.deleted == ["a/1"]
    assert topic.ids == ["a"]


async def test_a_message_that_another_worker_may_have_by_now_is_not_extended() -> None:
    queue, topic = FakeQueue(visibility=1), FakeTopic()
    topic.gate.clear()
    queue.send("late", "a")
    receiver = SqsReceiver(cast(SqsClient, queue), topic, 1)
    running = asyncio.create_task(receiver.run())
    while receiver.in_hand < 2:
        await asyncio.sleep(0)
    receiver._in_hand["late"].visible_at = 0.0  # the worker stood still for longer than the visibility timeout

    while not queue.extended:
        await asyncio.sleep(0.01)
    topic.gate.set()
    receiver.stop()
    await running

    assert set(queue.extended) == {"a/1"}


async def test_a_message_that_is_received_again_is_deleted_and_not_written_twice() -> None:
    queue, topic = FakeQueue(), FakeTopic()
    topic.held = {"a"}
    queue.send("a", "b", count=2)

    receiver = await received(queue, topic, lambda: len(queue.deleted) == 2)

    assert topic.ids == ["b"]
    assert receiver.repeated == 1


async def test_a_message_that_is_in_hand_is_deleted_with_its_last_receipt_handle() -> None:
    queue, topic = FakeQueue(), FakeTopic()
    topic.gate.clear()
    queue.send("a")

    async def again() -> None:
        while not queue.counts.calls["receive_message"]:
            await asyncio.sleep(0.01)
        queue.send("a", count=2)

    waiting = SqsReceiver(cast(SqsClient, queue), topic, 4)
    running = asyncio.create_task(waiting.run())
    await again()
    waiting._begin_poll()
    while queue.counts.calls["receive_message"] < 2:
        await asyncio.sleep(0.01)
    topic.gate.set()
    while not queue.deleted:
        await asyncio.sleep(0.01)
    waiting.stop()
    await running

    assert topic.ids == ["a"]
    assert queue.deleted[0] == "a/2"


async def test_a_message_that_was_left_in_the_queue_and_comes_again_is_not_deleted_by_its_first_batch() -> None:
    queue, topic = FakeQueue(), FakeTopic()
    topic.gate.clear()
    queue.send("large", "a")
    receiver = SqsReceiver(cast(SqsClient, queue), topic, 4)
    running = asyncio.create_task(receiver.run())
    while queue.counts.messages < 2:
        await asyncio.sleep(0.01)
    topic.holding = asyncio.Event()
    queue.send("large", count=2)
    receiver._begin_poll()
    while queue.counts.messages < 3:
        await asyncio.sleep(0.01)

    topic.gate.set()
    while not queue.deleted:
        await asyncio.sleep(0.01)
    topic.holding.set()
    receiver.stop()
    await running

    assert queue.deleted == ["a/1"]


async def test_after_an_error_only_what_the_bus_does_not_have_is_written_again() -> None:
    queue, topic = FakeQueue(), FakeTopic()
    topic.failures = 1
    queue.send("a", "b", "c")

    await received(queue, topic, lambda: len(queue.deleted) == 3)

    assert topic.ids == ["a", "b", "c"]


async def test_a_message_that_the_brokers_refuse_stays_in_the_queue_and_holds_up_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue, topic = FakeQueue(), FakeTopic()
    queue.send("a", "bad", "b")

    receiver = await received(queue, topic, lambda: len(queue.deleted) == 2)

    assert (topic.ids, queue.deleted, receiver.in_hand) == (["a", "b"], ["a/1", "b/1"], 0)
    assert "the message bad stays in the queue: the source topic does not take it: INVALID_RECORD" in caplog.messages


async def test_a_worker_that_stood_still_leaves_its_messages_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, topic = FakeQueue(visibility=1), FakeTopic()
    topic.failures = 1
    queue.failing["change_message_visibility_batch"] = [SqsAway("it is away")] * 100
    queue.send("a", "b")
    monkeypatch.setattr("metroline.agents.gateways.sqs.receiver.FIRST_WAIT_SECONDS", 2.0)

    receiver = SqsReceiver(cast(SqsClient, queue), topic, 1)
    running = asyncio.create_task(receiver.run())
    while topic.failures:
        await asyncio.sleep(0.01)
    while receiver.in_hand:
        await asyncio.sleep(0.01)
    receiver.stop()
    await running

    assert topic.ids == ["a"]
    assert "b/1" not in queue.deleted


async def test_messages_of_a_group_keep_their_order_and_their_partition() -> None:
    queue, topic = FakeQueue(), FakeTopic()
    queue.send(*"abc", group="g")

    await received(queue, topic, lambda: len(queue.deleted) == 3)

    assert topic.ids == ["a", "b", "c"]
    assert {(one.key, one.spread) for one in topic.messages} == {(b"g", topic.messages[0].spread)}


async def test_calls_that_fail_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metroline.agents.gateways.sqs.receiver.FIRST_WAIT_SECONDS", 0.01)
    queue, topic = FakeQueue(), FakeTopic()
    for call in ("get_queue_attributes", "receive_message", "delete_message_batch"):
        queue.failing[call] = [SqsAway("ThrottlingException: Rate exceeded")]
    queue.send("a")

    await received(queue, topic, lambda: len(queue.deleted) == 1)

    assert topic.ids == ["a"]


async def test_a_queue_that_cannot_be_used_ends_the_receiver() -> None:
    queue = FakeQueue()
    queue.failing["get_queue_attributes"] = [SqsRefused("the queue x does not exist")]

    with pytest.raises(SqsRefused, match="does not exist"):
        await received(queue, FakeTopic(), lambda: False)
