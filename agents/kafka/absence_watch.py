"""Ends a worker whose membership in a consumer group does not come back, so that its supervisor starts another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Any

from mode import Service
from msgspec import Struct

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.regularly import regularly

CHECK_SECONDS = 5.0
"""Time between two looks at the memberships."""

ANSWER_SECONDS = 10.0
"""Time that the brokers have to answer before they count as away."""

HELP_SECONDS, HELP_AGAIN_SECONDS = 10.0, 20.0
"""Time outside of a group after which it gets help, and between two times."""

Protocols = Sequence[tuple[str, bytes]]
"""The names of the ways in which a group can divide its partitions, each with what a member tells the others."""


class Membership(Struct, frozen=True):
    """The state of a membership in a consumer group."""

    group: str
    is_joined: bool
    """True while the worker reads what the group assigned to it."""
    progress: Hashable
    """A value that changes as often as anything happens on the way into the group."""
    protocols: Callable[[], Protocols] = list
    """Returns what a member of the group names when it joins."""


class AbsenceWatch(Service):
    """Looks whether a worker is in its groups, or gets any nearer to them.

    A worker that was frozen, or whose broker was away, has to join its groups again. Whatever it waits for meanwhile
    has a limit, but clients, brokers and other members keep these limits, not the worker. So a worker that neither
    belongs to a group nor gets any nearer to it counts as stuck, and ends; what it did not acknowledge comes again.
    Time in which the group has no coordinator does not count, and neither does time in which the process was stopped.
    """

    def __init__(
        self,
        limit: float,
        memberships: Callable[[], Iterable[Membership]],
        answers: Callable[[str], Awaitable[bool]],
        help_group: Callable[[str, Protocols], Awaitable[None]],
        place: Callable[[], str],
        **kwargs: Any,
    ) -> None:
        """`limit` is in seconds. `answers` returns whether the brokers tell the coordinator of a group.

        `help_group` is called from time to time for a group that is not joined, with what its members name. `place`
        returns where in the code the worker stands, for the log.
        """
        super().__init__(**kwargs)
        self._limit = limit
        self._memberships = memberships
        self._answers = answers
        self._help_group = help_group
        self._place = place
        self._absent: dict[str, tuple[Hashable, float]] = {}
        """The progress and the time without any, in seconds, of each group that is not joined."""

    @Service.task
    async def _check_regularly(self) -> None:
        async for _ in regularly(self, CHECK_SECONDS):
            await self.check()

    async def check(self) -> None:
        """Look at all memberships once; raise `ClusterError` if one does not come back."""
        self._absent = {one.group: self._absence(one) for one in self._memberships() if not one.is_joined}
        await self._leave_out_unanswered()
        for one in self._memberships():
            if one.group in self._absent and self._absent[one.group][1] % HELP_AGAIN_SECONDS == HELP_SECONDS:
                await self._help(one)
        for group in [group for group, (_, seconds) in self._absent.items() if seconds >= self._limit]:
            if not any(one.is_joined for one in self._memberships() if one.group == group):
                self.log.error("the worker gets no nearer to the consumer group %s: %s", group, self._place())
                raise ClusterError(
                    f"the worker has been outside of the consumer group {group} for {self._absent[group][1]:.0f} s, "
                    "although the brokers answer"
                )

    async def _leave_out_unanswered(self) -> None:
        """Begin again to count for groups without a coordinator: nobody can join them, however long that lasts."""
        waiting = [group for group, (_, seconds) in self._absent.items() if seconds]
        answers = await asyncio.gather(*map(self._answers, waiting))
        for group in (group for group, is_answered in zip(waiting, answers, strict=True) if not is_answered):
            self._absent[group] = (self._absent[group][0], 0.0)

    async def _help(self, membership: Membership) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._help_group(membership.group, membership.protocols())
        except Exception as error:  # noqa: BLE001 - whatever it is, the group is no worse off
            self.log.info("no help for the consumer group %s: %r", membership.group, error)

    def _absence(self, membership: Membership) -> tuple[Hashable, float]:
        progress, seconds = self._absent.get(membership.group, (None, 0.0))
        return membership.progress, seconds + CHECK_SECONDS if progress == membership.progress else 0.0


async def has_coordinator(cluster: Cluster, group: str) -> bool:
    """Return whether the brokers tell the coordinator of a group within `ANSWER_SECONDS`."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS), cluster.admin() as admin:
            await admin.find_coordinator(group)
    except Exception:  # noqa: BLE001 - whatever it is, it is no answer
        return False
    return True
