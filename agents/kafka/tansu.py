"""Leaves a group of the embedded broker only while the group stands.

Seen with Tansu 0.6.0: where the leader of a group leaves while the group forms, the broker goes on to wait for it,
nobody else becomes leader, and the group never forms again. A member that is gone without a word is noticed after its
session, leader or not. Apache Kafka chooses another leader, so there everybody says goodbye at once.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer

from metroline.agents.kafka.cluster import Cluster


async def leave_with_care(consumer: AIOKafkaConsumer, cluster: Cluster) -> None:
    """Tells a started consumer how it shall leave its group, once, if it is one of the embedded broker."""
    if await cluster.is_embedded():
        coordinator = consumer._coordinator
        coordinator._maybe_leave_group = partial(_leave, coordinator, coordinator._maybe_leave_group)


async def _leave(coordinator: Any, leave: Any) -> None:
    """Says goodbye, or nothing where the group forms: a heartbeat tells."""
    if coordinator.generation > 0:
        await coordinator._do_heartbeat()
    subscription = coordinator._subscription
    if subscription.reassignment_in_progress or coordinator.need_rejoin(subscription.subscription):
        coordinator.reset_generation()
    else:
        await leave()
