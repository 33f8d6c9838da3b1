"""The thread of Faust's consumer, which keeps the membership in the group and commits, but fetches nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, cast

from aiokafka import TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service
from mode.utils.futures import maybe_set_exception

from metroline.agents.kafka.answering_thread import AnsweringThread, ThreadEnded
from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.patience import answered
from metroline.agents.kafka.regularly import regularly
from metroline.agents.kafka.tansu import leave_only_stable_groups
from metroline.agents.kafka.topic_admin import TopicAdmin

log = logging.getLogger(__name__)

LEAVE_SECONDS = 2.0
"""Time for leaving the group when the worker stops."""

WATCH_SECONDS = 1.0
"""Time between two looks whether the membership has failed."""


class MembershipThread(AnsweringThread, driver.AIOKafkaConsumerThread):
    """The thread in which aiokafka keeps the membership. It fetches no messages."""

    @property
    def _cluster(self) -> Cluster:
        return cast(Cluster, cast(Any, self.transport).cluster)

    async def on_start(self) -> None:
        """Run in the consumer's thread, when it starts; raise `ClusterError` if the brokers do not let it in."""
        try:
            await super().on_start()
        except (KafkaError, OSError) as error:  # they did a moment ago, when the worker looked at its topics
            text = f"the worker cannot join the consumer group {self._group}: {_described(error)}"
            raise ClusterError(text) from error
        consumer = self._ensure_consumer()
        consumer._fetcher._fetch_task.cancel()
        await leave_only_stable_groups(consumer, self._cluster)

    async def on_thread_stop(self) -> None:
        """Leave the group. A rebalance that is under way is not waited for: the member's session then expires."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await super().on_thread_stop()

    @Service.task
    async def _watch_membership(self) -> None:
        """End the worker when the membership has failed. Runs in the consumer's thread.

        aiokafka keeps such an error for the next fetch, and stands still until then; this consumer never fetches.
        """
        async for _ in regularly(self, WATCH_SECONDS):
            if self._consumer is None or self._consumer._coordinator is None:
                continue
            try:
                self._consumer._coordinator.check_errors()
            except KafkaError as error:
                await self.crash(error)
                return

    async def crash(self, reason: BaseException) -> None:
        """End the worker when the membership cannot go on. Called in the consumer's thread.

        Faust would leave it running: it marks the worker's services as crashed, but from here it wakes none of them.
        """
        error = reason
        if not isinstance(reason, ClusterError):
            error = ClusterError(f"the worker cannot stay in the consumer group {self._group}: {_described(reason)}")
        asyncio.run_coroutine_threadsafe(self._end(error), self.parent_loop)

    async def _end(self, error: BaseException) -> None:
        """End the worker. The error is raised once, since what is logged of it is found by its being handled."""
        maybe_set_exception(self._thread_running, error)  # `start` may be waiting for the thread
        try:
            raise error
        except ClusterError:
            await self.consumer.app.crash(error)

    @property
    def _group(self) -> str:
        return str(self.consumer.app.conf.id)

    def note_activity(self) -> None:
        """Tell aiokafka that messages are being taken; otherwise it would leave the group as an idle member."""
        self._ensure_consumer()._subscription._last_fetch_ended = time.monotonic()

    @property
    def is_joined(self) -> bool:
        """True while the coordinator of the group is known and this worker is a member with an assignment."""
        coordinator = None if self._consumer is None else self._consumer._coordinator
        if coordinator is None:  # it is starting
            return False
        subscription = coordinator._subscription.subscription
        is_assigned = subscription is not None and not coordinator.need_rejoin(subscription)
        return is_assigned and coordinator.coordinator_id is not None and coordinator.generation >= 0

    def protocols(self) -> list[tuple[str, bytes]]:
        """Return the names of Faust's assignors, each with what this member tells the others."""
        coordinator = self._ensure_consumer()._coordinator
        topics = coordinator._subscription.topics
        return [(assignor.name, assignor.metadata(topics).encode()) for assignor in coordinator._assignors]

    async def is_member(self) -> bool:
        """Ask the group's coordinator whether this worker is a member with its present generation."""
        try:
            return bool(await self.call_thread(self._is_member))
        except ThreadEnded:
            return False

    async def _is_member(self) -> bool:
        coordinator = self._ensure_consumer()._coordinator
        if coordinator.generation < 0:
            return False
        try:
            return bool(await coordinator._do_heartbeat())
        except KafkaError as error:
            log.debug("the coordinator does not confirm the membership: %s", error)
            return False

    async def commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit offsets; return whether they were committed. As the thread ends they may not be, and come again."""
        try:
            return bool(await super().commit(offsets))
        except ThreadEnded:
            return False

    async def committed(self, partitions: Iterable[TP]) -> dict[TP, int]:
        """Return the committed offsets of those partitions that have one, asked for with one request."""
        return cast("dict[TP, int]", await self.call_thread(self._committed, partitions))

    async def _committed(self, partitions: Iterable[TP]) -> dict[TP, int]:
        asked = [TopicPartition(tp.topic, tp.partition) for tp in partitions]
        found = await self._ensure_consumer()._coordinator.fetch_committed_offsets(asked)
        return {TP(tp.topic, tp.partition): at.offset for tp, at in found.items() if at.offset >= 0}

    async def refresh_metadata(self) -> None:
        """Ask the brokers for the partitions of all topics now. The group is joined anew if there are more."""
        await self.call_thread(self._refresh_metadata)

    async def _refresh_metadata(self) -> None:
        await self._ensure_consumer()._client.force_metadata_update()

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the offset after the last message of each partition, whenever the brokers answer."""
        return await self._answered(lambda: super(MembershipThread, self).highwaters(*partitions))

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the offset of the first message of each partition, whenever the brokers answer."""
        return await self._answered(lambda: super(MembershipThread, self).earliest_offsets(*partitions))

    async def _answered(self, ask: Callable[[], Awaitable[Mapping[TP, int]]]) -> Mapping[TP, int]:
        """Ask until the brokers answer, unless the worker stops. Called in the loop of the worker."""
        return await answered(ask, "the recovery of the tables", lambda: not self.consumer.app.should_stop)

    async def _highwaters(self, partitions: Any) -> Mapping[TP, int]:
        found = await TopicAdmin(self._cluster).high_watermarks(partitions)
        return {TP(tp.topic, tp.partition): offset for tp, offset in found.items()}


def _described(reason: BaseException) -> str:
    if isinstance(reason, GroupAuthorizationFailedError):
        return "the user lacks the right Read on it. Grant it (kafka-acls.sh --operation Read --group)"
    return f"{type(reason).__name__}: {reason}"
