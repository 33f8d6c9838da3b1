"""Deletes acknowledged messages from topics that have no retention, as Kafka Streams does with repartition topics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError as RequestError
from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as Position
from mode import Service

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.regularly import regularly
from metroline.agents.kafka.tansu import is_embedded
from metroline.agents.kafka.topic_survey import ANSWER_SECONDS, admin_client
from metroline.routing.errors import MetrolineError

PURGE_SECONDS = 60.0
"""Time between two purges."""

Offsets = dict[TopicPartition, int]


class Purge(Service):
    """Deletes the messages before the committed offsets of groups, each in the topics that only this group reads."""

    def __init__(
        self,
        cluster: Cluster,
        topics_of: Mapping[str, Collection[str]],
        is_sole_reader: Callable[[], bool] = lambda: True,
        **kwargs: Any,
    ) -> None:
        """Take the topics that each consumer group reads.

        `is_sole_reader` returns False while another group reads one of them, too. Then nothing is deleted.
        """
        super().__init__(**kwargs)
        self.topics_of = topics_of
        self._cluster = cluster
        self._is_sole_reader = is_sole_reader
        self._purged: Offsets = {}
        """The offset before which messages are deleted, of each partition."""
        self._refusals: set[str] = set()
        """The reasons for which messages could not be deleted and that are logged already."""

    @Service.task
    async def _purge_regularly(self) -> None:
        async for _ in regularly(self, PURGE_SECONDS):
            try:
                if await is_embedded(self._cluster):
                    return  # it closes the connection on such a request
                await self.purge()
            except (MetrolineError, RequestError, KafkaException, OSError) as error:
                self.log.debug("acknowledged messages are deleted later: %s", error)
            except Exception:  # whatever it is, a purge that fails must not end the worker
                self.log.exception("acknowledged messages were not deleted")

    async def purge(self) -> None:
        """Delete what is acknowledged by now; raise `ClusterError`, or the `KafkaError` of a client."""
        if not self._is_sole_reader():
            return
        committed = await self._committed()
        wanted = {tp: offset for tp, offset in committed.items() if offset > self._purged.get(tp, 0)}
        if not wanted:
            return
        refused = await asyncio.to_thread(self._delete, wanted)
        self._purged |= {tp: offset for tp, offset in wanted.items() if tp not in refused}
        for reason in sorted(set(refused.values()) - self._refusals):
            self._refusals.add(reason)
            topics = sorted({tp.topic for tp, said in refused.items() if said == reason})
            self.log.warning("acknowledged messages could not be deleted (%s) from %s", reason, ", ".join(topics))

    async def _committed(self) -> Offsets:
        found: Offsets = {}
        async with self._cluster.admin() as admin:
            for group, topics in self.topics_of.items():
                for tp, at in (await admin.list_consumer_group_offsets(group)).items():
                    if tp.topic in topics and at.offset > 0:
                        found[tp] = at.offset
        return found

    def _delete(self, offsets: Offsets) -> dict[TopicPartition, str]:
        """Delete the messages before these offsets; return the reasons for which some could not be."""
        client = admin_client(self._cluster, "purge")
        asked = [Position(tp.topic, tp.partition, offset) for tp, offset in offsets.items()]
        refused = {}
        for position, future in client.delete_records(asked, request_timeout=ANSWER_SECONDS).items():
            try:
                future.result(2 * ANSWER_SECONDS)
            except KafkaException as error:
                refused[TopicPartition(position.topic, position.partition)] = error.args[0].name()
        return refused
