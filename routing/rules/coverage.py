"""Finds the stops after which a change of the rules makes dead letters of records that had somewhere to go."""

from __future__ import annotations

from collections.abc import Iterator

from metroline.routing.addresses import SOURCE
from metroline.routing.errors import InvalidRules
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable


def newly_unroutable(before: Network, after: Network) -> Iterator[str]:
    """Yield a warning for each stop that let every record go on or be delivered, and no longer does.

    Only stops that records reach by both tables count.
    """
    reached_before = {SOURCE, *before.reachable}
    for stop in (SOURCE, *after.reachable):
        so_far = _taken_by(before, stop)
        if stop in reached_before and so_far is not None and _taken_by(after, stop) is None:
            yield (
                f"after {stop!r}, a record for which none of its rules holds is a dead letter (unroutable) from now "
                f"on; so far {so_far}: add a last rule without `match` and `when`"
            )


def warnings_of_change(before: str, after: RulesTable) -> tuple[str, ...]:
    """Return the warnings of a change from the table in a TOML text; none if that text is no valid table."""
    try:
        known = RulesTable.parse(before, ends=after.ends)
    except InvalidRules:
        return ()
    return tuple(newly_unroutable(Network.of(known), Network.of(after)))


def _taken_by(network: Network, stop: str) -> str | None:
    """Return what becomes of a record for which no other rule holds; None if it is a dead letter."""
    rules = network.edges.get(stop)
    if not rules:
        return "it was delivered"
    last = rules[-1]
    return f"the rule {last.name!r} took it" if last.is_unconditional else None
