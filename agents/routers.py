"""The agent of a router: the conductor, the map maker or the switch."""

from __future__ import annotations

from metroline.agents.delivery.agent_loop import AgentLoop
from metroline.agents.delivery.unit_of_work import UnitOfWork
from metroline.agents.tables.live_rules import LiveRules
from metroline.routing.journeys.deciders import Router, route
from metroline.routing.messages.envelope import Envelope


class RouterAgent:
    """Sends each record of an envelope to the address that its router decides; records with one address stay packed."""

    def __init__(self, agent_loop: AgentLoop, rules: LiveRules, router: Router) -> None:
        self.bus = agent_loop.bus
        self.rules = rules
        self.router = router

    async def handle(self, envelope: Envelope, unit: UnitOfWork) -> None:
        """Decide the next steps of the records of an envelope and send the records on."""
        departures = self.bus.departures(envelope)
        route(departures, self.router, envelope, self.rules.rule_tables.live)
        self.bus.metrics.journeys.decided[self.router.address.value] += len(envelope)
        await self.bus.dispatch(departures, unit)
