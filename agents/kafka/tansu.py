"""Works around the way in which Tansu, the embedded broker, forms consumer groups.

Seen with Tansu 0.6.0 and librdkafka 2.16.0, without a way around: Tansu answers a fetch of a deleted topic with a topic
that has neither name nor id, and librdkafka crashes on it (`rd_kafka_metadata_update_op`). So no topic may be deleted
on an embedded broker while a worker reads it.

Seen with Tansu 0.6.0: if the leader of a group leaves while the group is being formed, the broker keeps waiting for
it, elects no other leader, and the group never forms again. A member that disappears without a LeaveGroup request is
removed after its session timeout, whether it is the leader or not, unless that happens while the group is being formed:
then the group sometimes never forms again, either. So a member that is asked to stop first lets its group be formed.

A member may all the same leave in the moment in which another joins. Tansu forgets a leader only when its session
expires, so the leader that left has to be a member once more, and then be silent: `free_group`.
The first generation of a group has the number 0, of which aiokafka 0.14 sends no LeaveGroup: we send it.
Apache Kafka elects another leader, so there every member sends LeaveGroup at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest

from metroline.agents.kafka.absence_watch import Protocols
from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.group_consumer import GroupConsumer

EMBEDDED_CLUSTER_PREFIX = "metroline-"
"""Prefix of the cluster id of an embedded broker."""

FORM_SECONDS = 2.5
"""Time that a member which is asked to stop waits for its group to be formed."""

FORM_POLL_SECONDS = 0.1
"""Time between two looks whether it is."""

FREE_MS = 6_000
"""Session timeout with which members join that free a group, in milliseconds, unless the group has one already."""

METADATA_PREFIX = b"CGMDv2:"
"""Beginning of librdkafka's group metadata. The generation follows, as a 32-bit integer."""

log = logging.getLogger(__name__)


async def is_embedded(cluster: Cluster) -> bool:
    """Return whether the cluster is an embedded broker, by its cluster id."""
    async with cluster.admin() as admin:
        return str((await admin.describe_cluster())["cluster_id"]).startswith(EMBEDDED_CLUSTER_PREFIX)


async def may_leave(cluster: Cluster, consumer: GroupConsumer) -> bool:
    """Return whether a member may send LeaveGroup: its group is stable, or the broker is not an embedded one.

    A group that is being formed is waited for, since a member that disappears from it may be waited for without end.
    """
    try:
        if not await is_embedded(cluster):
            return True
        deadline = time.monotonic() + FORM_SECONDS
        while not await _is_stable(cluster, consumer):
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(FORM_POLL_SECONDS)
    except (ClusterError, KafkaError):  # nobody would receive it
        return False
    return True


async def _is_stable(cluster: Cluster, consumer: GroupConsumer) -> bool:
    """Ask with a heartbeat, whose answer says whether the group is being formed."""
    member, metadata = await consumer.identity()
    start = len(METADATA_PREFIX)
    generation = int.from_bytes(metadata[start : start + 4], "little", signed=True)
    if not member or not metadata.startswith(METADATA_PREFIX) or generation < 0:
        return False
    async with cluster.admin() as admin:
        client = admin._client  # the admin client has no such request
        answer = await client.send(client.get_random_node(), HeartbeatRequest(consumer.group, generation, member))
    return bool(answer.error_code == 0)


async def free_group(cluster: Cluster, group: str, protocols: Protocols) -> None:
    """Have an embedded broker forget the leader of a group that is not being formed, if the leader has left the group.

    A new member, which joins with `protocols`, is told who the leader is; then the leader joins. Both are silent from
    then on: the broker removes them after the group's session timeout, and the next member that joins becomes the
    leader. A leader that is still there only has to join once more.
    """
    if not await is_embedded(cluster):
        return
    async with cluster.admin() as admin:
        client = admin._client  # the admin client has no such request

        async def joined(member: str) -> Any:
            request = JoinGroupRequest(group, FREE_MS, FREE_MS, member, None, "consumer", list(protocols))
            return await client.send(client.get_random_node(), request)

        member = (await joined("")).member_id
        leader = (await joined(member)).leader_id
        if leader and leader != member:
            log.warning("the consumer group %s is not formed by its leader, which joins again: %s", group, leader)
            await joined(leader)


async def leave_only_stable_groups(consumer: AIOKafkaConsumer, cluster: Cluster) -> None:
    """Make a started consumer send LeaveGroup only while its group is stable, if `cluster` is an embedded broker."""
    if await is_embedded(cluster):
        coordinator = consumer._coordinator
        coordinator._maybe_leave_group = partial(_leave_if_stable, coordinator, coordinator._maybe_leave_group)


async def _leave_if_stable(coordinator: Any, leave: Callable[[], Awaitable[None]]) -> None:
    if coordinator.generation >= 0:
        await coordinator._do_heartbeat()  # its answer says whether the group is being formed
    subscription = coordinator._subscription
    if subscription.reassignment_in_progress or coordinator.need_rejoin(subscription.subscription):
        coordinator.reset_generation()
    elif coordinator.generation == 0:  # Tansu counts from 0, Kafka from 1: aiokafka takes 0 for no membership
        with suppress(KafkaError):
            await coordinator._send_req(LeaveGroupRequest(coordinator.group_id, coordinator.member_id))
        coordinator.reset_generation()
    else:
        await leave()
