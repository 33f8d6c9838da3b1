"""A bench for agents: the real bus, tables and rules on top of a producer that confirms and fails on command."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self, cast

import faust
import orjson
from faust.streams import Stream
from faust.types import TP, EventT, Message

from metroline.agents.delivery.agent_loop import AgentLoop
from metroline.agents.delivery.bus import Bus
from metroline.agents.delivery.handling import Handle
from metroline.agents.delivery.metrics import WorkerMetrics
from metroline.agents.delivery.unit_of_work import WorkTime, confirmed_unit
from metroline.agents.kafka.fetch_buffers import Batches, MessageBatch
from metroline.agents.kafka.foreign_messages import ForeignMessages
from metroline.agents.kafka.producer import Confirmation, KeyedMessage
from metroline.agents.kafka.topics import Topics
from metroline.agents.services.service import Handler, Service
from metroline.agents.stops.stop import Stop
from metroline.agents.tables.line_table import LineGlobalTable, LineTable
from metroline.agents.tables.live_rules import LiveRules
from metroline.agents.tables.owned_table import OwnedTable
from metroline.agents.tables.publication import Publication
from metroline.routing.journeys.dead_letter_messages import read_dead_letter
from metroline.routing.journeys.departures import Limits
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin, RecordId
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Ending
from metroline.routing.rules.table import RulesTable
from metroline.routing.strategies import Strategy, strategy_named

RULES = """
[[rules]]
name = "all begin at a"
after = "source"
to = "a"

[[rules]]
name = "big ones to b"
after = "a"
when = "size > 10"
to = "b"

[[rules]]
name = "the others to c"
after = "a"
to = "c"
"""


@dataclass(slots=True)
class Sent:
    """A message that was handed to the producer; the test answers it."""

    topic: str
    key: bytes | None
    value: bytes
    partition: int
    answer: asyncio.Future[None]
    headers: Sequence[tuple[str, bytes | None]] = ()

    def confirm(self) -> None:
        self.answer.set_result(None)

    def fail(self, error: BaseException) -> None:
        self.answer.set_exception(error)

    @property
    def envelope(self) -> Envelope:
        """The envelope, or the dead letter that is a plain message."""
        return read_dead_letter(self.value, self.key, self.headers, 0)[0]

    @property
    def records(self) -> list[dict[str, Any]]:
        """Return its records, decoded."""
        return [orjson.loads(line) for segment in self.envelope.segments for line in segment.lines]


class FakeProducer:
    """A producer that keeps its messages.

    It confirms each at once unless it `holds`, and raises or fails as `refuse` says.
    """

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.together: list[list[KeyedMessage]] = []
        """The messages that were sent together, each time."""
        self.holds = False
        self.refuse: Callable[[Sent], BaseException | None] = lambda sent: None
        self.full: set[str] = set()
        """Topics for which there is no room: whoever sends to them waits."""

    async def send(self, topic: str, key: bytes | None, value: bytes, partition: int) -> asyncio.Future[None]:
        while topic in self.full:
            await asyncio.sleep(0)
        sent = Sent(topic, key, value, partition, asyncio.get_running_loop().create_future())
        self.sent.append(sent)
        refused = self.refuse(sent)
        if refused is not None:
            sent.fail(refused)
        elif not self.holds:
            sent.confirm()
        return sent.answer

    async def send_all(self, topic: str, messages: Sequence[KeyedMessage]) -> asyncio.Future[None]:
        while topic in self.full:
            await asyncio.sleep(0)
        answer = asyncio.get_running_loop().create_future()
        made = [
            Sent(topic, key, value or b"", partition, answer, list(map(_encoded, headers)))
            for value, key, partition, _, headers in messages
        ]
        self.together.append(list(messages))
        self.sent += made
        refused = next(filter(None, map(self.refuse, made)), None)
        if refused is not None:
            answer.set_exception(refused)
        elif not self.holds:
            answer.set_result(None)
        return answer

    def to(self, topic: str) -> list[Sent]:
        """Return the messages that were sent to a topic."""
        return [sent for sent in self.sent if sent.topic == topic]


def _encoded(header: tuple[str, str | bytes | None]) -> tuple[str, bytes | None]:
    """Return a header as a consumer reads it."""
    name, value = header
    return name, value.encode() if isinstance(value, str) else value


@dataclass(slots=True)
class FakeEvent:
    """An incoming message that records its acknowledgement."""

    message: Message
    on_ack: Callable[[TP, int], None]

    def ack(self) -> bool:
        for batch in cast(Batches, self.message.value):
            self.on_ack(TP(self.message.topic, batch.partition), batch.offsets[-1])
        return True


@dataclass(slots=True)
class Mailbox:
    """Messages of a topic, as an agent's stream; `acknowledged` has their offsets by partition, in order."""

    topic: str
    acknowledged: dict[int, list[int]] = field(default_factory=dict)
    _queue: asyncio.Queue[FakeEvent | None] = field(default_factory=asyncio.Queue)
    _offsets: dict[int, int] = field(default_factory=dict)

    def put(self, value: bytes | None, partition: int = 0) -> int:
        """Add a message and return its offset."""
        self._queue.put_nowait(cast(FakeEvent, self.event(value, partition)))
        return self._offsets[partition] - 1

    def put_together(self, *values: bytes, partition: int = 0) -> None:
        """Add messages that an agent is handed at once."""
        self._queue.put_nowait(cast(FakeEvent, self._event(values, partition)))

    def put_of_each(self, values: Mapping[int, Sequence[bytes]]) -> None:
        """Add messages of several partitions that an agent is handed at once."""
        self._queue.put_nowait(cast(FakeEvent, self.event_of_each(values)))

    def event_of_each(self, values: Mapping[int, Sequence[bytes]]) -> EventT[bytes]:
        """Return the next messages of several partitions, which an agent is handed at once."""
        return self._handed(*[self._batch(tuple(own), partition) for partition, own in values.items()])

    def event(self, value: bytes | None, partition: int = 0) -> EventT[bytes]:
        """Return the next message of a partition without adding it to the stream."""
        return self._event((value or b"",), partition)

    def _event(self, values: tuple[bytes, ...], partition: int) -> EventT[bytes]:
        return self._handed(self._batch(values, partition))

    def _batch(self, values: tuple[bytes, ...], partition: int) -> MessageBatch:
        first = self._offsets.get(partition, 0)
        self._offsets[partition] = first + len(values)
        offsets = tuple(range(first, first + len(values)))
        return MessageBatch(partition, offsets, values, 0.0, sum(map(len, values)))

    def _handed(self, *batches: MessageBatch) -> EventT[bytes]:
        first = batches[0]
        message: Message = Message(
            self.topic, first.partition, first.offsets[-1], 0.0, 0, None, None, cast(Any, batches), checksum=None
        )
        return cast("EventT[bytes]", FakeEvent(message, self._note))

    def close(self) -> None:
        """End the stream once all of its messages have been taken."""
        self._queue.put_nowait(None)

    def noack(self) -> Self:
        return self

    async def events(self) -> AsyncIterator[FakeEvent]:
        while (event := await self._queue.get()) is not None:
            yield event

    @property
    def stream(self) -> Stream[bytes]:
        return cast("Stream[bytes]", self)

    def _note(self, tp: TP, offset: int) -> None:
        self.acknowledged.setdefault(tp.partition, []).append(offset)


@dataclass(slots=True)
class Bench:
    """The environment of an agent: only the test moves the clock, and version 1 of the rules is published."""

    producer: FakeProducer
    topics: Topics
    app: faust.App
    bus: Bus
    rules: LineTable
    rule_tables: LiveRules
    agent_loop: AgentLoop
    served: set[str]
    limits: Limits
    now: float = 1_000.0

    @classmethod
    def make(cls, limits: Limits | None = None, strategy: str = "signpost", rules: str = RULES) -> Bench:
        producer, topics = FakeProducer(), Topics("test", "test.source")
        app = faust.App("test", store="memory://", Table=OwnedTable, GlobalTable=LineGlobalTable)
        cast(Any, app).line_topics, cast(Any, app).foreign = topics, ForeignMessages()

        bus = Bus(topics, lambda: bench.limits, producer, WorkerMetrics(), WorkTime(lambda: bench.now))
        table = app.GlobalTable("rules", partitions=1, key_type=bytes, value_type=bytes)
        assert isinstance(table, LineTable)
        served = {"a", "b", "c"}
        from_file = RulesTable.parse(rules)
        rule_tables = LiveRules(from_file, table, lambda: served, strategy_named(strategy), lambda: True)
        agent_loop = AgentLoop(bus, rule_tables.ready)
        bench = cls(producer, topics, app, bus, table, rule_tables, agent_loop, served, limits or Limits())
        bench.publish(rules, 0)
        return bench

    def publish(self, text: str, replaces: int, version: int | None = None) -> None:
        """Put a version into the rules table, as the rules agent does."""
        publication = Publication(text, replaces, "a test", self.now)
        self.rules.data[str(version or replaces + 1).encode()] = orjson.dumps(publication.as_json())

    def table(self, name: str) -> OwnedTable:
        """Return a table whose partitions 0 and 1 are owned."""
        created = self.app.Table(name, partitions=1, key_type=bytes, value_type=bytes)
        assert isinstance(created, OwnedTable)
        created.epochs = {0: 1, 1: 1}
        return created

    def stop(
        self,
        handler: Handler,
        *,
        name: str = "a",
        concurrency: int = 1,
        pack_seconds: float | None = None,
        retry_policy: RetryPolicy | None = None,
        max_age: float | None = None,
        **service: Any,
    ) -> Stop:
        """Return a stop that tries once unless `retry_policy` says otherwise; its waits are as long as possible."""
        made = Service(name, handler, concurrency, inspect.iscoroutinefunction(handler), **service)
        retry_policy = retry_policy or RetryPolicy(attempts=1)
        self.bus.work_time.seconds = pack_seconds or self.bus.work_time.seconds
        return Stop(self.agent_loop, self.rule_tables, made, retry_policy, max_age=max_age, jitter=lambda: 1.0)

    async def begin(self, act: Callable[..., Awaitable[None]], *args: Any) -> Confirmation:
        """Call a method whose last argument is a unit of work; return the confirmation that the unit is complete."""
        unit, confirmation = confirmed_unit(self.bus.work_time)
        await act(*args, unit)
        unit.release()
        return confirmation

    async def complete(self, act: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Call a method whose last argument is a unit of work, and wait until the unit is complete."""
        await confirmed([await self.begin(act, *args)])

    def mailbox(self, address: str) -> Mailbox:
        return Mailbox(self.topics.at(address))


def envelope(
    *records: dict[str, Any], strategy: str | Strategy = "signpost", partition: int = 0, first: int = 0, **segment: Any
) -> Envelope:
    """Return an envelope with these records in one segment, as a stop receives it; their ids count from `first`."""
    lines = tuple(orjson.dumps(record) for record in records)
    ids: tuple[RecordId, ...] = tuple(range(first, first + len(records)))
    name = strategy if isinstance(strategy, str) else strategy.name
    return Envelope(
        name, Origin("source", partition), (Segment(ids, lines, **{"entered": 900.0, "hops": 1} | segment),)
    )


def segments_of(sent: Iterable[Sent]) -> Iterator[Segment]:
    """Yield the segments of these messages."""
    for one in sent:
        yield from one.envelope.segments


def endings_of(sent: Iterable[Sent]) -> dict[RecordId, tuple[Ending, str | None]]:
    """Return the outcome of each record in these messages, each of which must have one."""
    found: dict[RecordId, tuple[Ending, str | None]] = {}
    for segment in segments_of(sent):
        assert segment.outcome is not None
        for record in segment.ids:
            assert record not in found, f"record {record} has two outcomes"
            found[record] = (segment.outcome.ending, segment.outcome.reason)
    return found


@asynccontextmanager
async def carrying(
    bench: Bench, mailbox: Mailbox, handle: Handle, cancel: Callable[[], None] | None = None
) -> AsyncIterator[None]:
    """Run an agent on the messages of a mailbox."""
    task = asyncio.create_task(bench.agent_loop.run(mailbox.stream, handle, cancel))
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    """Let other tasks run until a condition holds; fail after this many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0)


async def confirmed(confirmations: Iterable[Confirmation], timeout: float = 5.0) -> None:
    """Wait for all confirmations, for at most `timeout` seconds."""
    await asyncio.wait_for(asyncio.gather(*confirmations), timeout)
