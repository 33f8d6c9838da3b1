"""A strategy with chaining or without: what one run of a comparison measures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from metroline.app.compare.plan import Plan


@dataclass(frozen=True, slots=True)
class Variant:
    """A strategy, and whether the stops of one worker hand records on in memory."""

    strategy: str
    chaining: bool = False

    @property
    def name(self) -> str:
        """Return the name as tables and messages show it."""
        return f"{self.strategy}, chained" if self.chaining else self.strategy

    @property
    def slug(self) -> str:
        """Return the name as it stands in topics and files."""
        return f"{self.strategy}-chained" if self.chaining else self.strategy

    @property
    def environment(self) -> dict[str, str]:
        """Return the settings of its workers. Their outcomes are on the bus, where the comparison reads them."""
        return {"ROUTING_STRATEGY": self.strategy, "CHAINING": "stops" if self.chaining else "off"}

    @property
    def at_a_rate(self) -> dict[str, str]:
        """Return the settings that differ when only rate and latency are measured."""
        return {"CHAINING": "on"} if self.chaining else {}


def variants(plan: Plan) -> Iterator[Variant]:
    """Yield what a plan measures, in order; with `chaining`, each strategy both ways."""
    for strategy in plan.strategies:
        yield Variant(strategy)
        if plan.chaining:
            yield Variant(strategy, chaining=True)
