"""Asks the brokers which consumer groups have members. Nobody can make up a member by writing a message."""

from __future__ import annotations

import logging
import time

from aiokafka.errors import KafkaError, for_code

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.tansu import is_embedded

ASK_SECONDS = 2.0
"""Time for which an answer counts."""

MAX_GROUPS = 100
"""Number of groups whose answers are remembered."""

log = logging.getLogger(__name__)


class GroupMembers:
    """Knows for some seconds whether a consumer group has members."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._answers: dict[str, tuple[float, bool]] = {}

    async def has_members(self, group: str) -> bool:
        """Return whether a group has members; False if the brokers do not say so.

        The embedded broker counts as saying yes: it describes no groups, and only this machine can write to it.
        """
        asked_at, answer = self._answers.get(group, (float("-inf"), False))
        if time.monotonic() - asked_at < ASK_SECONDS:
            return answer
        try:
            answer = await is_embedded(self._cluster) or await self._ask(group)
        except (KafkaError, ClusterError, OSError) as error:
            log.warning("the brokers do not say whether the group of an announced worker has members: %s", error)
            answer = False
        if len(self._answers) >= MAX_GROUPS:
            self._answers.clear()
        self._answers[group] = time.monotonic(), answer
        return answer

    async def _ask(self, group: str) -> bool:
        async with self._cluster.admin() as admin:
            [response] = await admin.describe_consumer_groups([group])
        [(code, _, _, _, _, members, *_)] = response.groups
        if code:
            raise for_code(code)(f"the group {group:.200}")
        return bool(members)
