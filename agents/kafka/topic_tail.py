"""Reads a topic from where it stopped to its present end, and single messages of it. Blocks: it belongs in a thread."""

from __future__ import annotations

import time
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.complaints import Complaints, described, library_log
from metroline.agents.kafka.consumer import READING

FETCHED_TOGETHER = 500
"""Messages that are taken at once."""

NEAR_OFFSETS = 200
"""Messages between two that are wanted which are read and left out, rather than looked for with another fetch."""

ANSWER_SECONDS = 10.0
"""Time in which a broker has to send something, unless there is nothing more."""

POLL_SECONDS = 0.2

FETCHING = {
    "enable.partition.eof": True,
    "fetch.wait.max.ms": 10,
    "fetch.message.max.bytes": 8 * 1024 * 1024,
    "queued.max.messages.kbytes": 16 * 1024,
}

Place = tuple[int, int]
"""The partition and the offset of a message."""

ALLOWED = (KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN)
"""Errors after which messages may still come: of a group that is not used, and of connections that are made again."""


class ReadRefused(ClusterError):
    """Raised when the user may not read a topic."""


class TopicTail:
    """Reads a topic step by step. Every method raises `ClusterError` if the cluster does not answer."""

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self.cluster = cluster
        self.topic = topic
        self._next: dict[int, int] = {}
        """The offset of the next message of each partition."""
        self.is_stopped = False
        """Set to True by another thread, it ends a read that is under way."""

    def reset(self) -> None:
        """Begin again at the beginning of the topic."""
        self._next.clear()

    def begin_at(self, offsets: Mapping[int, int]) -> None:
        """Begin at these offsets of partitions."""
        self._next |= offsets

    def ends(self) -> dict[int, tuple[int, int]]:
        """Return the first offset and the offset behind the last one of each partition."""
        with self._consumer() as consumer:
            try:
                return {
                    one: consumer.get_watermark_offsets(TopicPartition(self.topic, one), timeout=ANSWER_SECONDS)
                    for one in self._partitions(consumer)
                }
            except KafkaException as error:
                raise ClusterError(f"{self.topic} cannot be read: {described(error.args[0])}") from error

    def begin_at_time(self, milliseconds: int) -> None:
        """Begin at the first message of each partition with this timestamp or a later one, or at its end."""
        with self._consumer() as consumer:
            asked = [TopicPartition(self.topic, one, milliseconds) for one in self._partitions(consumer)]
            try:
                found = consumer.offsets_for_times(asked, timeout=ANSWER_SECONDS) if asked else []
                for one in found:
                    at_end = consumer.get_watermark_offsets(one, timeout=ANSWER_SECONDS)[1] if one.offset < 0 else 0
                    self._next[one.partition] = at_end if one.offset < 0 else one.offset
            except KafkaException as error:
                raise ClusterError(f"{self.topic} cannot be read: {described(error.args[0])}") from error

    def read(self, partitions: Collection[int] | None = None) -> Generator[list[Message], None, None]:
        """Yield the messages that were written since the last call, up to the end that each partition has by now.

        With `partitions`, only those of these. The messages of the last list count as read when the next one is taken.

        A topic that does not exist has no messages. Yield an empty list, before any message, if the topic has fewer
        messages than were read: it was deleted and created again, and is read from its beginning.
        """
        with self._consumer() as consumer:
            for partition in self._partitions(consumer):
                if partitions is None or partition in partitions:
                    yield from self._read(consumer, partition)

    def fetch(self, places: Collection[Place]) -> Iterator[Message]:
        """Yield the messages at these places, in the order of the topic; those that were deleted are left out."""
        with self._consumer() as consumer:
            for run in _runs(sorted(places)):
                yield from self._fetch(consumer, run)

    def _read(self, consumer: Consumer, partition: int) -> Iterator[list[Message]]:
        begin = self._next.get(partition, 0)
        end: int | None = None
        for messages, high in self._messages(consumer, partition, begin):
            if high < begin:
                self.reset()
                yield []
                yield from self._read(consumer, partition)
                return
            end = high if end is None else end
            if messages:
                yield messages
                self._next[partition] = (messages[-1].offset() or 0) + 1
            if self._next.get(partition, begin) >= end:
                return
        if end is not None:
            self._next[partition] = max(end, self._next.get(partition, 0))

    def _fetch(self, consumer: Consumer, run: Sequence[Place]) -> Iterator[Message]:
        wanted = {offset for _, offset in run}
        (partition, first), last = run[0], run[-1][1]
        for messages, _ in self._messages(consumer, partition, first):
            yield from (message for message in messages if message.offset() in wanted)
            if messages and (messages[-1].offset() or 0) >= last:
                return

    def _messages(self, consumer: Consumer, partition: int, begin: int) -> Iterator[tuple[list[Message], int]]:
        """Yield messages from an offset on with the offset behind the last one of the partition; end with it."""
        position = TopicPartition(self.topic, partition, begin)
        consumer.assign([position])
        deadline = time.monotonic() + ANSWER_SECONDS
        while not self.is_stopped:
            good, is_end = self._good(_taken(consumer))
            high = consumer.get_watermark_offsets(position, cached=True)[1]
            if good or is_end:
                yield good, max(high, (good[-1].offset() or 0) + 1) if good else high
                deadline = time.monotonic() + ANSWER_SECONDS
            elif 0 <= high < begin:  # the embedded broker does not refuse an offset that it does not have
                yield [], high
                return
            if is_end:
                return
            if time.monotonic() > deadline:
                raise ClusterError(f"{self.cluster.bootstrap} does not answer a fetch of {self.topic}[{partition}]")

    def _good(self, fetched: Iterable[Message]) -> tuple[list[Message], bool]:
        """Return the messages among what was fetched, and whether the end of the partition was."""
        good, is_end = [], False
        for message in fetched:
            error = message.error()
            if error is None:
                good.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                is_end = True
            elif error.code() not in ALLOWED:
                raise self._unreadable(error)
        return good, is_end

    def _partitions(self, consumer: Consumer) -> Iterable[int]:
        try:
            found = consumer.list_topics(self.topic, timeout=ANSWER_SECONDS).topics[self.topic]
        except KafkaException as error:
            raise ClusterError(
                f"no Kafka broker answers at {self.cluster.bootstrap} ({error.args[0].str()})"
            ) from error
        if found.error is None:
            return sorted(found.partitions)
        if found.error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
            return ()
        raise self._unreadable(found.error)

    def _unreadable(self, error: KafkaError) -> ClusterError:
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return ReadRefused(f"{self.topic} cannot be read: the user lacks the right Read on it")
        return ClusterError(f"{self.topic} cannot be read: {described(error)}")

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        name = f"reader of {self.topic}"
        config = {**READING, **FETCHING, "group.id": name, **Complaints(name).config, **self.cluster.librdkafka}
        consumer = Consumer(config, logger=library_log)
        try:
            yield consumer
        finally:
            consumer.close()


def _taken(consumer: Consumer) -> list[Message]:
    """Wait for one message and return it with what else is there: `consume` alone would wait until there are many."""
    first = consumer.poll(POLL_SECONDS)
    return [] if first is None else [first, *consumer.consume(FETCHED_TOGETHER - 1, 0)]


def _runs(places: Sequence[Place]) -> Iterator[list[Place]]:
    """Yield sorted places in runs of one partition without large gaps."""
    run: list[Place] = []
    for place in places:
        if run and (run[-1][0] != place[0] or place[1] - run[-1][1] > NEAR_OFFSETS):
            yield run
            run = []
        run.append(place)
    if run:
        yield run
