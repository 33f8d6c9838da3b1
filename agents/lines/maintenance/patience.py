"""Waits of the steps for a cluster that is away, busy or read-only: they are no failures, and use up no attempt."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from metroline import Wait
from metroline.agents.lines.maintenance.cluster import ClusterAway, ClusterBusy

BUSY_SECONDS = 10.0
"""Time after which a step is tried again."""


Step = TypeVar("Step", bound=Callable[..., Any])


def waits_for_the_cluster(step: Step) -> Step:
    """Return a step that waits while the cluster does not carry out its requests. Each step may be repeated."""

    @wraps(step)
    async def patient(*args: Any, **others: Any) -> Any:
        try:
            return await step(*args, **others)
        except (ClusterAway, ClusterBusy) as error:
            return Wait(seconds=BUSY_SECONDS, progress=f"waiting for the cluster: {error}")

    return cast(Step, patient)
