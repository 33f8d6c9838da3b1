"""A member of a consumer group on librdkafka, as the event loop sees it. Its heartbeats do not depend on the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from aiokafka import TopicPartition
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from confluent_kafka import Consumer, KafkaException

from metroline.agents.kafka.absence_watch import Membership
from metroline.agents.kafka.cluster import ClusterError, ClusterSilent
from metroline.agents.kafka.complaints import is_silence
from metroline.agents.kafka.consumer import READING, Fetched
from metroline.agents.kafka.group_owner import Notes, Offsets, Owner
from metroline.agents.kafka.group_thread import GroupThread
from metroline.agents.kafka.positions import by_partition, positions_of

ANSWER_SECONDS = 10.0
"""Time that the brokers have to answer a question."""

CLOSE_SECONDS = 5.0
"""Time that closing may take. While no broker answers, librdkafka would try to leave the group for up to a minute."""

ASSIGNOR = "roundrobin"
"""Divides the partitions of a group evenly over all topics. A rebalance stops every member until all have rejoined,
which takes as long as a heartbeat interval. (The cooperative assignor needs two rebalances to move a partition, and the
embedded broker takes 20 s for them.)"""

PROTOCOLS = [(ASSIGNOR, ConsumerProtocolMemberMetadata(0, [], b"").encode())]
"""The names of a member that takes no partitions."""

DEFAULTS: Mapping[str, Any] = {
    **READING,
    "isolation.level": "read_committed",
    "enable.partition.eof": True,  # the only sign that a partition ends with the marker of a transaction
    "partition.assignment.strategy": ASSIGNOR,
}

T = TypeVar("T")


class GroupConsumer:
    """Takes messages of the partitions that its group assigns to it. Create it on a running event loop."""

    def __init__(self, config: Mapping[str, Any], group: str, name: str, topics: Collection[str], owner: Owner) -> None:
        """Join the group. `config` is configuration of librdkafka; `name` is that of the client and stands in logs."""
        self.group = group
        self.name = name
        identity = {"group.id": group, "client.id": name}
        self._thread = GroupThread({**DEFAULTS, **config, **identity}, name, topics, owner)
        self._thread.start()

    async def wait(self, seconds: float) -> None:
        """Wait up to `seconds` until there are messages to take."""
        thread = self._thread
        if thread.has_messages:
            return
        thread.arrived.clear()
        self.want()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await thread.arrived.wait()

    @property
    def is_joined(self) -> bool:
        """True while the group is joined and the partitions that it assigned, if any, are being read."""
        return self._thread.is_joined

    @property
    def membership(self) -> Membership:
        """The membership in the group. One that still prepares for what it was assigned counts as joined."""
        return Membership(self.group, self._thread.is_assigned, self._thread.changes, lambda: PROTOCOLS)

    @property
    def oldest(self) -> float | None:
        """Timestamp of the oldest message that was fetched and not taken, in seconds since the epoch; None if none."""
        return self._thread.oldest

    @property
    def ends(self) -> Offsets:
        """The offset after the last message of each assigned partition, as the brokers told lately."""
        return self._thread.ends

    def take(self) -> Fetched:
        """Return the messages that are there, without those of partitions that were revoked meanwhile."""
        return by_partition(self._thread.take())

    async def read_again(self, offsets: Offsets) -> None:
        """Go to these offsets, and discard what was fetched of their partitions; raise `ClusterError`."""
        await self._answer(partial(self._thread.read_again, offsets))

    def want(self) -> None:
        """Have messages fetched while those that were taken are being handled."""
        self._thread.is_wanted = True
        self._thread.post(None)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Stop fetching partitions soon. Messages that were fetched before still come."""
        self._thread.post(partial(self._thread.pause, partitions))

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Fetch partitions again, from the message after the last one that was taken."""
        self._thread.post(partial(self._thread.resume, partitions))

    def hold(self, partitions: Collection[TopicPartition]) -> None:
        """Do not fetch partitions until they are released, even if they are assigned or resumed."""
        self._thread.post(partial(self._thread.hold, partitions))

    def release(self, partitions: Collection[TopicPartition]) -> None:
        """Fetch partitions that were held."""
        self._thread.post(partial(self._thread.release, partitions))

    def commit(self, offsets: Offsets, notes: Notes) -> None:
        """Commit the next offset of each partition, with the note beside it, if any. The owner is told the answer.

        What the owner commits while it is told that partitions are revoked is sent before they are released.
        """
        self._thread.post(partial(self._thread.commit, offsets, notes))

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the committed offset of each partition that has one; raise `ClusterError`."""
        return {partition: offset for partition, (offset, _) in (await self.committed_with_notes(partitions)).items()}

    async def committed_with_notes(
        self, partitions: Collection[TopicPartition]
    ) -> dict[TopicPartition, tuple[int, str | None]]:
        """Return the committed offset of each partition that has one, with the note beside it; raise `ClusterError`.

        The embedded broker keeps no notes.
        """
        asked = positions_of(partitions)
        try:
            found = await self._answer(lambda client: client.committed(asked, ANSWER_SECONDS))
        except KafkaException as error:
            kind = ClusterSilent if is_silence(error.args[0]) else ClusterError
            raise kind(f"the offsets of {self.group} cannot be read: {error.args[0].str()}") from error
        return {
            TopicPartition(at.topic, at.partition): (at.offset, (at.metadata or "").rstrip("\0"))
            for at in found
            if at.offset >= 0
        }

    async def identity(self) -> tuple[str, bytes]:
        """Return the member id, which is empty before the group is joined, and librdkafka's group metadata."""
        return await self._answer(lambda client: (client.memberid() or "", bytes(client.consumer_group_metadata())))

    async def close(self, *, leave: bool = True) -> None:
        """Stop, and leave the group. Without `leave`, the group learns of it when the member's session expires."""
        self._thread.sends_leave = leave
        self._thread.is_closed = True
        self._thread.post(None)
        await asyncio.to_thread(self._thread.join, CLOSE_SECONDS)

    async def _answer(self, question: Callable[[Consumer], T]) -> T:
        answer: Future[T] = Future()

        def ask(client: Consumer) -> None:
            if not answer.set_running_or_notify_cancel():
                return  # nobody waits for it any more
            try:
                answer.set_result(question(client))
            except Exception as error:  # noqa: BLE001 - raised where the answer is awaited
                answer.set_exception(error)

        if not self._thread.is_alive():
            raise ClusterError(f"{self.name} has ended")
        self._thread.post(ask)
        try:
            async with asyncio.timeout(2 * ANSWER_SECONDS):
                return await asyncio.wrap_future(answer)
        except TimeoutError:
            raise ClusterSilent(f"{self.name} got no answer") from None
