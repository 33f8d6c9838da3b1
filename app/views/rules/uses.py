"""Counts of how often each rule of the live table held, on the whole line."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from metroline.agents.pulses.pulse import as_text

if TYPE_CHECKING:
    from metroline.app.line_app import LineApp

WAIT_SECONDS = 1.5
"""Time for which a page waits for the figures of other workers. Without them it shows those of its own worker."""


class RuleUse(Struct, frozen=True):
    """A rule of the current version."""

    rule: str
    after: str
    held: int
    """Times that it held, by its name, for records that ended since the workers started which count it."""


class CountedBy(Struct, frozen=True):
    """The workers that count how often rules hold, each from its start on."""

    workers: int = 0
    """Number of workers whose counts are added up; 0 if they are those of the worker that answers alone."""
    since: float | None = None
    """Time at which the first of them started, in seconds since the epoch."""
    is_complete: bool = True
    """False if a rule with 0 may have held all the same: each worker tells of those that held most."""


class RuleUses(NamedTuple):
    """The rules of the current version, in order, and who counts them."""

    rules: list[RuleUse]
    counted_by: CountedBy


async def rule_uses(app: LineApp) -> RuleUses:
    """Return how often each rule held. The counts come with the pulses of the workers."""
    current = app.live_rules.current
    if current is None:
        return RuleUses([], CountedBy())
    state = None
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            state = await app.pulses.state()
    except TimeoutError:
        pass
    rules = current.live.rules
    if state is None or not (told := [worker for worker in state.workers if not worker.is_silent]):
        hits = app.bus.metrics.journeys.rule_hits
        own = [RuleUse(rule.name, rule.after, hits[rule.name]) for rule in rules]
        return RuleUses(own, CountedBy(since=app.started_at))
    held = {one.rule: one.count for one in state.rules}
    uses = [RuleUse(rule.name, rule.after, held.get(as_text(rule.name), 0)) for rule in rules]
    return RuleUses(uses, CountedBy(len(told), state.counted_since, state.are_rules_complete))
