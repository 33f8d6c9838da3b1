"""The agent of a router: the conductor, the map maker or the switch."""

from __future__ import annotations

import time

from metroline.agents.delivery.agent_loop import AgentLoop
from metroline.agents.delivery.unit_of_work import UnitOfWork
from metroline.agents.tables.live_rules import LiveRules
from metroline.routing.journeys.deciders import Router, route_in_chunks
from metroline.routing.messages.envelope import Envelope


class RouterAgent:
    """Sends each record of an envelope to the address that its router decides; records with one address stay packed."""

    def __init__(self, agent_loop: AgentLoop, rules: LiveRules, router: Router) -> None:
        self.bus = agent_loop.bus
        self.rules = rules
        self.router = router

    async def handle(self, envelope: Envelope, unit: UnitOfWork) -> None:
        """Decide the next steps of the records of an envelope and send the records on.

        Other tasks run meanwhile, so that rules that take long do not keep this worker from its groups and its pages.
        """
        departures = self.bus.departures(envelope)
        for _ in route_in_chunks(departures, self.router, envelope, self.rules.rule_tables.live, time.monotonic):
            await self.bus.pacer.pause()
        self.bus.metrics.journeys.decided[self.router.address.value] += len(envelope)
        await self.bus.dispatch(departures, unit)
