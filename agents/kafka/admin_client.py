"""aiokafka's admin client, for clusters of which one node may be away."""

from __future__ import annotations

import random
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError, RequestTimedOutError

AWAY = (KafkaConnectionError, NodeNotReadyError, RequestTimedOutError)
"""Errors of a node that does not answer."""


class AdminClient(AIOKafkaAdminClient):  # type: ignore[misc]  # aiokafka has no types
    """Asks the next node if one does not answer. aiokafka asks one node at random, which the cluster may have lost."""

    @property
    def broker_count(self) -> int:
        """The number of brokers that the cluster has told of."""
        return len(self._client.cluster.brokers())

    async def _send_request(self, request: Any, node_id: int | None = None) -> Any:
        """Send a request to a node, or to any of them, and return the answer; raise `KafkaError`."""
        nodes = [broker.nodeId for broker in self._client.cluster.brokers()]
        if node_id is not None or not nodes:
            return await super()._send_request(request, node_id)
        *others, last = random.sample(nodes, len(nodes))
        for node in others:
            try:
                return await self._client.send(node, request)
            except AWAY:
                pass
        return await self._client.send(last, request)
