"""The agents of a line, in the order in which a record meets them; a worker runs those of its role."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

import faust
from faust.streams import Stream
from faust.types import StreamT

from metroline.agents.arrivals import Arrivals
from metroline.agents.conductor import Conductor
from metroline.agents.delivery.agent_loop import AgentLoop, Handle
from metroline.agents.map_maker import MapMaker
from metroline.agents.membership.roles import SERVICE, Role
from metroline.agents.rules_agent import RulesAgent
from metroline.agents.services.line import Line
from metroline.agents.services.service import Service
from metroline.agents.stops.stop import Stop
from metroline.agents.switch import Switch
from metroline.agents.tables.latest import RecentEntries
from metroline.agents.tables.line_table import LineTable, OwnedTable
from metroline.agents.tables.live_rules import LiveRules
from metroline.routing.addresses import ARRIVALS, service_address

Body = Callable[[Stream[bytes]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables that a worker of this role owns entries of; those of the arrivals are None elsewhere."""

    rules: LineTable
    outcomes: LineTable | None = None
    journeys: RecentEntries | None = None
    letters: RecentEntries | None = None


def register(
    app: faust.App,
    agent_loop: AgentLoop,
    rule_tables: LiveRules,
    rules: LineTable,
    line: Line,
    role: Role,
    stop: Callable[[Service], Stop],
) -> Tables:
    """Declares the agents and tables of a role; `stop` makes one; every worker follows the rules table."""
    bus = agent_loop.bus

    def agent(address: str, body: Body, help: str) -> None:
        topic = app.topic(
            bus.topics.at(address), key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
        )

        async def run(stream: StreamT[bytes]) -> None:
            await body(cast("Stream[bytes]", stream))

        run.__doc__ = help
        app.agent(topic, name=address)(run)

    def carrying(handle: Handle) -> Body:
        return lambda stream: agent_loop.run(stream, handle)

    agent("rules", RulesAgent(bus, rules, rule_tables).run, "Applies published rules to the rules table.")
    if role.plays("router"):
        agent("map-maker", carrying(MapMaker(agent_loop).handle), "Plans the way of a record at the start.")
        agent("conductor", carrying(Conductor(agent_loop).handle), "Decides the next stop after every stop.")
        agent("switch", carrying(Switch(agent_loop).handle), "Plans anew where a stop made the plan stale.")
    for name, service in sorted(line.services.items()):
        if role.plays(f"{SERVICE}{name}"):
            help = (service.handler.__doc__ or f"The service {name}.").strip().splitlines()[0]
            agent(service_address(name), carrying(stop(service).handle), help)
    if not role.plays(ARRIVALS):
        return Tables(rules)
    return _arrivals(app, agent_loop, rules, agent)


def _arrivals(
    app: faust.App, agent_loop: AgentLoop, rules: LineTable, agent: Callable[[str, Body, str], None]
) -> Tables:
    def table(name: str, help: str) -> OwnedTable:
        created = app.Table(name, key_type=bytes, value_type=bytes, help=help)
        assert isinstance(created, OwnedTable)
        return created

    outcomes = table("outcomes", "outcomes counted by last stop, ending and reason, with what is settled")
    shown = table("journeys", "the latest journeys"), table("dead_letters", "the latest dead letters")
    journeys, letters = map(RecentEntries, shown)
    arrivals = Arrivals(agent_loop, outcomes, journeys, letters)

    async def forget() -> None:
        arrivals.forget()

    for owned in (outcomes, *shown):
        owned.on_recover(forget)
        owned.on_recover(partial(owned.restore, agent_loop.bus))
    agent(ARRIVALS, lambda stream: agent_loop.run(stream, arrivals.handle), "Settles every outcome once.")
    return Tables(rules, outcomes, journeys, letters)
