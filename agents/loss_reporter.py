"""Reports messages that were deleted unread: in the log, in a metric, and to the arrivals, which count them."""

from __future__ import annotations

import logging
from collections import Counter

from aiokafka import TopicPartition

from metroline.agents.delivery.bus import Bus
from metroline.agents.delivery.unit_of_work import confirmed_unit
from metroline.agents.on_ramp import source_origin
from metroline.routing.addresses import ARRIVALS
from metroline.routing.journeys.losses import loss_notices, lost_origin
from metroline.routing.messages.record_ids import Origin

log = logging.getLogger(__name__)


class LossReporter:
    """Has lost messages counted. A message of the source, or of the line, stands for one or more records."""

    def __init__(self, bus: Bus, epoch: int) -> None:
        """Take the epoch of the source."""
        self._bus = bus
        self._epoch = epoch
        self.lost: Counter[str] = Counter()
        """The number of messages that this worker found to be lost, by topic."""

    async def report(self, partition: TopicPartition, first: int, end: int) -> None:
        """Report messages from an offset up to, but without, another; return once the brokers have the notice."""
        topic, number = partition
        self.lost[topic] += end - first
        log.error(
            "%s[%d]: the messages at offsets %d to %d were deleted before they were read, so their records are lost",
            topic,
            number,
            first,
            end - 1,
            extra={"offset": first},  # no line like it may be left out
        )
        unit, confirmation = confirmed_unit(self._bus.work_time)
        for notice in loss_notices(self._origin(topic, number), first, end, self._bus.work_time.clock()):
            await self._bus.send(ARRIVALS, notice, unit)
        unit.release()
        await confirmation

    def _origin(self, topic: str, partition: int) -> Origin:
        topics = self._bus.topics
        is_source = topic == topics.source
        return Origin(source_origin(self._epoch) if is_source else lost_origin(topics.address(topic)), partition)
