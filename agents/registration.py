"""Registers the agents and tables of a line, in the order in which a record meets them. A role selects some of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, cast

import faust
from faust.streams import Stream
from faust.types import StreamT

from metroline.agents.arrivals import Arrivals
from metroline.agents.delivery.agent_loop import AgentLoop
from metroline.agents.delivery.end_topics import EndTopics
from metroline.agents.delivery.handling import Handle
from metroline.agents.formats.formatted_ends import FormattedEnds
from metroline.agents.kafka.foreign_messages import ForeignMessages
from metroline.agents.membership.roles import SERVICE, Role
from metroline.agents.outcome_recorder import OutcomeRecorder
from metroline.agents.outcome_writer import OutcomeWriter
from metroline.agents.routers import RouterAgent
from metroline.agents.rules_agent import RulesAgent
from metroline.agents.services.line import Line
from metroline.agents.services.service import Service
from metroline.agents.stops.stop import Stop
from metroline.agents.tables.latest import RecentEntries
from metroline.agents.tables.line_table import LineTable
from metroline.agents.tables.live_rules import LiveRules
from metroline.agents.tables.owned_table import Check, OwnedTable
from metroline.agents.tables.plausible_offsets import PlausibleOffsets
from metroline.routing.addresses import ARRIVALS, service_address
from metroline.routing.journeys.block_checks import check_block, check_journeys
from metroline.routing.journeys.deciders import ROUTERS

Chaining = Literal["on", "stops", "off"]
"""The agents to which packs go on in memory: all, all but the arrivals, or none."""

Body = Callable[[Stream[bytes]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of a worker. Those of the arrivals are None unless the worker's role includes the arrivals."""

    rules: LineTable
    outcomes: OwnedTable | None = None
    journeys: RecentEntries | None = None
    letters: RecentEntries | None = None


def looping_over(agent_loop: AgentLoop, handle: Handle, cancel: Callable[[], None] | None = None) -> Body:
    """Return the body of an agent that runs `handle` on every envelope and calls `cancel` when it ends."""
    return lambda stream: agent_loop.run(stream, handle, cancel)


def register(
    app: faust.App,
    agent_loop: AgentLoop,
    rules: LiveRules,
    rules_table: LineTable,
    line: Line,
    role: Role,
    stop: Callable[[Service], Stop],
    chaining: Chaining,
    is_member: Callable[[], Awaitable[bool]],
    ends: EndTopics,
    formats: FormattedEnds | None,
    foreign: ForeignMessages,
    plausible: PlausibleOffsets,
    kept_per_second: int,
) -> Tables:
    """Register the agents and tables of a role with Faust.

    `stop` creates the stop of a service. `chaining` names the agents of this worker to which packs go on in memory.
    `is_member` asks the group's coordinator whether this worker owns its partitions. `ends` are those at which records
    are delivered, and `formats` writes them in formats other than JSON. `foreign` counts messages that are not of the
    line, and `plausible` refuses outcomes of records that cannot be. `kept_per_second` is the number of journeys that
    the arrivals write to the topic `journeys` in a second, at most. The agent of the rules belongs to every role.
    """
    bus = agent_loop.bus

    def agent(address: str, body: Body, help: str) -> None:
        topic = app.topic(
            bus.topics.at(address), key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
        )

        async def run(stream: StreamT[bytes]) -> None:
            await body(cast("Stream[bytes]", stream))

        run.__doc__ = help
        app.agent(topic, name=address)(run)

    looping = partial(looping_over, agent_loop)
    for address in _watched(role, line):
        agent_loop.work.watch(bus.topics.at(address))
    agent(
        "rules", RulesAgent(agent_loop, rules_table, rules, foreign).run, "Applies published rules to the rules table."
    )
    if role.plays("router"):
        for address, router in ROUTERS.items():
            handle = RouterAgent(agent_loop, rules, router).handle
            agent(address, looping(handle), router.summary)
            if chaining != "off":
                bus.trains.call_at(address, handle)
    for name, service in sorted(line.services.items()):
        if role.plays(f"{SERVICE}{name}"):
            help = (service.handler.__doc__ or f"The service {name}.").strip().splitlines()[0]
            one = stop(service)
            agent(service_address(name), looping(one.handle, one.cancel), help)
            waits = service.rate is not None or (service.batching is not None and service.batching.wait > 0)
            if chaining != "off" and not service.ordered and not waits:  # what waits would hold the source's offset
                bus.trains.call_at(service_address(name), one.handle_at_once, one.accepts)
    if not role.plays(ARRIVALS):
        return Tables(rules_table)
    return _arrivals(
        app,
        agent_loop,
        rules,
        rules_table,
        agent,
        chaining == "on",
        is_member,
        ends,
        formats,
        plausible,
        kept_per_second,
    )


def _watched(role: Role, line: Line) -> Iterator[str]:
    """Yield the addresses whose messages wait for this worker alone, and for no service that takes its time."""
    if role.plays("router"):
        yield from ROUTERS
    for name, service in line.services.items():
        if role.plays(f"{SERVICE}{name}") and service.is_immediate and not service.ordered:
            yield service_address(name)
    if role.plays(ARRIVALS):
        yield ARRIVALS


def _arrivals(
    app: faust.App,
    agent_loop: AgentLoop,
    rules: LiveRules,
    rules_table: LineTable,
    agent: Callable[[str, Body, str], None],
    are_chained: bool,
    is_member: Callable[[], Awaitable[bool]],
    ends: EndTopics,
    formats: FormattedEnds | None,
    plausible: PlausibleOffsets,
    kept_per_second: int,
) -> Tables:
    def table(name: str, help: str, check: Check) -> OwnedTable:
        created = app.Table(name, key_type=bytes, value_type=bytes, help=help)
        assert isinstance(created, OwnedTable)
        created.check = check
        return created

    counted = "outcomes counted by last stop, ending and reason, with the settled records"
    outcomes = table("outcomes", counted, check_block)
    shown = (
        table("journeys", "the latest journeys", check_journeys),
        table("dead_letters", "the latest dead letters", check_journeys),
    )
    journeys, letters = map(RecentEntries, shown)
    bus, clock = agent_loop.bus, agent_loop.clock
    recorder = OutcomeRecorder(bus, outcomes, journeys, letters, clock, is_member, kept_per_second)
    writer = OutcomeWriter(recorder, ends)
    arrivals = Arrivals(agent_loop, rules, outcomes, writer, formats, plausible)
    agent_loop.finishing.append(writer.finish)
    if are_chained:
        agent_loop.bus.trains.call_at(ARRIVALS, arrivals.handle_in_memory, arrivals.accepts)

    async def reset() -> None:
        arrivals.reset()

    for owned in (outcomes, *shown):
        owned.on_recover(reset)
        owned.on_recover(partial(owned.restore, agent_loop.bus))
    agent(ARRIVALS, looping_over(agent_loop, arrivals.handle), "Settles every outcome once.")
    return Tables(rules_table, outcomes, journeys, letters)
