"""Says when this worker is no member of a consumer group for so long that something must be wrong."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka.errors import KafkaError
from mode import Service

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.regularly import regularly
from metroline.agents.kafka.tansu import is_embedded

CHECK_SECONDS = 1.0
"""Time between two checks."""

JOIN_SECONDS = 60.0
"""Time after which a line is logged, and again and again. A rebalance takes a few seconds, and at most about 40."""

EMBEDDED = ". The embedded broker can lose a group whose members were killed while it was being formed: restart it"

log = logging.getLogger(__name__)


class JoinWatch(Service):
    """Looks from time to time whether this worker is a member of its groups. Nothing else would tell."""

    def __init__(
        self,
        cluster: Cluster,
        groups: Callable[[], Mapping[str, bool]],
        clock: Callable[[], float] = time.monotonic,
        **kwargs: Any,
    ) -> None:
        """`groups` returns, by the names of the groups, whether they are joined."""
        super().__init__(**kwargs)
        self._cluster = cluster
        self._groups = groups
        self._clock = clock
        self._joined: dict[str, float] = {}
        """Time at which each group was found joined last, or was found first."""
        self._told: dict[str, float] = {}

    @Service.task
    async def _check_regularly(self) -> None:
        async for _ in regularly(self, CHECK_SECONDS):
            await self.check()

    async def check(self) -> None:
        """Look once."""
        now = self._clock()
        for group, is_joined in self._groups().items():
            if is_joined or group not in self._joined:
                self._joined[group] = self._told[group] = now
            elif now - self._told[group] >= JOIN_SECONDS:
                self._told[group] = now
                log.warning(
                    "this worker has not been in the consumer group %s for %.0f s, and reads nothing of its topics%s",
                    group,
                    now - self._joined[group],
                    EMBEDDED if await self._is_embedded() else "",
                )

    async def _is_embedded(self) -> bool:
        try:
            return await is_embedded(self._cluster)
        except (ClusterError, KafkaError, OSError):
            return False
