"""The agents of a line, in the order in which a record meets them; a worker runs those of its role."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

import faust
from faust.streams import Stream
from faust.types import StreamT

from agents.arrivals import Arrivals
from agents.books import LiveBooks
from agents.carrying import Carrier, Handle
from agents.conductor import Conductor
from agents.line import Line, Service
from agents.map_maker import MapMaker
from agents.ring import Ring
from agents.roles import SERVICE, Role
from agents.rules import RulesAgent
from agents.stop import Stop
from agents.switch import Switch
from agents.tables import LineTable, OwnedTable
from routing.itinerary import ARRIVALS, service_address

Body = Callable[[Stream[bytes]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables that a worker of this role owns entries of; those of the arrivals are None elsewhere."""

    rules: LineTable
    outcomes: LineTable | None = None
    journeys: Ring | None = None
    letters: Ring | None = None


def register(
    app: faust.App,
    carrier: Carrier,
    books: LiveBooks,
    rules: LineTable,
    line: Line,
    role: Role,
    stop: Callable[[Service], Stop],
) -> Tables:
    """Declares the agents and tables of a role; `stop` makes one; every worker follows the rules table."""
    bus = carrier.bus

    def agent(address: str, body: Body, help: str) -> None:
        topic = app.topic(
            bus.topics.at(address), key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
        )

        async def run(stream: StreamT[bytes]) -> None:
            await body(cast("Stream[bytes]", stream))

        run.__doc__ = help
        app.agent(topic, name=address)(run)

    def carrying(handle: Handle) -> Body:
        return lambda stream: carrier.run(stream, handle)

    agent("rules", RulesAgent(bus, rules, books).run, "Applies published rules to the rules table.")
    if role.plays("router"):
        agent("map-maker", carrying(MapMaker(carrier).handle), "Plans the way of a record at the start.")
        agent("conductor", carrying(Conductor(carrier).handle), "Decides the next stop after every stop.")
        agent("switch", carrying(Switch(carrier).handle), "Plans anew where a stop made the plan stale.")
    for name, service in sorted(line.services.items()):
        if role.plays(f"{SERVICE}{name}"):
            help = (service.handler.__doc__ or f"The service {name}.").strip().splitlines()[0]
            agent(service_address(name), carrying(stop(service).handle), help)
    if not role.plays(ARRIVALS):
        return Tables(rules)
    return _arrivals(app, carrier, rules, agent)


def _arrivals(app: faust.App, carrier: Carrier, rules: LineTable, agent: Callable[[str, Body, str], None]) -> Tables:
    def table(name: str, help: str) -> OwnedTable:
        created = app.Table(name, key_type=bytes, value_type=bytes, help=help)
        assert isinstance(created, OwnedTable)
        return created

    outcomes = table("outcomes", "outcomes counted by last stop, ending and reason, with what is settled")
    shown = table("journeys", "the latest journeys"), table("dead_letters", "the latest dead letters")
    journeys, letters = map(Ring, shown)
    arrivals = Arrivals(carrier, outcomes, journeys, letters)

    async def forget() -> None:
        arrivals.forget()

    for owned in (outcomes, *shown):
        owned.on_recover(forget)
        owned.on_recover(partial(owned.restore, carrier.bus))
    agent(ARRIVALS, lambda stream: carrier.run(stream, arrivals.handle), "Settles every outcome once.")
    return Tables(rules, outcomes, journeys, letters)
