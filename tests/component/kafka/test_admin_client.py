"""A question about the cluster is answered by any of its nodes, as long as one is there."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace

import pytest
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError, TopicAuthorizationFailedError

from metroline.agents.kafka.admin_client import AdminClient

NODES = (1, 2, 3)


class FakeClient:
    """The connections to a cluster that has lost nodes."""

    def __init__(self, away: Collection[int], error: Exception) -> None:
        self.cluster = SimpleNamespace(brokers=lambda: [SimpleNamespace(nodeId=node) for node in NODES])
        self.asked: list[int] = []
        self._away = away
        self._error = error

    async def send(self, node: int, request: str) -> str:
        self.asked.append(node)
        if node in self._away:
            raise self._error
        return f"{request}, says {node}"


async def asked(client: FakeClient, node: int | None = None) -> object:
    admin = AdminClient(bootstrap_servers="127.0.0.1:1")
    admin._client = client
    return await admin._send_request("which topics", node)


@pytest.mark.parametrize("error", [KafkaConnectionError(), NodeNotReadyError()])
async def test_nodes_that_are_away_are_passed_over(error: Exception) -> None:
    for _ in range(10):
        assert await asked(FakeClient({1, 3}, error)) == "which topics, says 2"


async def test_the_error_is_raised_if_all_nodes_are_away() -> None:
    client = FakeClient(NODES, NodeNotReadyError())
    with pytest.raises(NodeNotReadyError):
        await asked(client)
    assert sorted(client.asked) == [1, 2, 3]


async def test_a_refusal_is_no_reason_to_ask_another_node() -> None:
    client = FakeClient(NODES, TopicAuthorizationFailedError())
    with pytest.raises(TopicAuthorizationFailedError):
        await asked(client)
    assert len(client.asked) == 1


async def test_a_question_to_one_node_goes_to_no_other() -> None:
    with pytest.raises(NodeNotReadyError):
        await asked(FakeClient({1}, NodeNotReadyError()), 1)
