"""The workers of a line under chaos: each worker that ends is replaced, as a deployment's supervisor does."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

from metroline.agents.services.line import Line
from metroline.agents.tables.publication import Publication
from metroline.app.local.worker_process import WorkerProcess
from metroline.app.operations.permission import Permission
from metroline.app.operations.rules_topic import publish, read_published
from metroline.routing.errors import MetrolineError
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable
from tests.chaos.plan import Fault, Kind
from tests.support.depot import Depot
from tests.support.kafka_node import KafkaNode

LINE = Path(__file__).parent / "line"

RULES = (LINE / "routes.toml").read_text("utf-8")
LIGHT = 'name = "light ones go on the shelf"\nafter = "weigh"\nto = '
OTHER_RULES = RULES.replace(f'{LIGHT}"shelf"', f'{LIGHT}"crane"')
"""A table that sends every kept record to the crane; the outcomes stay the same."""

ENTRIES = ("on-ramp", "all")
"""Roles whose workers read the source, so that their strategy decides."""

TAKEN_OVER = 2.0
"""Seconds that the other workers need to take over after a session has expired."""


@dataclass(eq=False)
class Hand:
    """A running worker with its role."""

    role: str
    process: WorkerProcess


@dataclass
class Crew:
    """A worker for each role, an on-ramp for each strategy, and the faults that can strike them."""

    depot: Depot
    roles: Sequence[str]
    strategies: Sequence[str]
    kafka: KafkaNode | None
    say: Callable[[str], None]
    hands: list[Hand] = field(default_factory=list)
    version: int = 1
    """Version of the rules table that was published last."""
    told: list[str] = field(default_factory=list)
    """Events beyond the faults: workers that ended by themselves, or not in the way that they were asked to."""

    def __post_init__(self) -> None:
        self._strategies = cycle(self.strategies)

    @property
    def session(self) -> float:
        """Return the time without a heartbeat, in seconds, after which a worker counts as gone."""
        return float(self.depot.environment()["BROKER_SESSION_TIMEOUT"])

    async def start(self) -> None:
        """Start the workers, and return when all of them are ready."""
        entries = [role for role in self.roles if role in ENTRIES]
        missing = max(0, len(self.strategies) - len(entries))
        for role in (*self.roles, *entries[:1] * missing):
            self.hire(role)
        await self.depot.ready()

    def hire(self, role: str) -> Hand:
        """Start one more worker."""
        strategy = next(self._strategies) if role in ENTRIES else self.strategies[0]
        self.hands.append(Hand(role, self.depot.start(strategy, role)))
        return self.hands[-1]

    def hand(self, role: str) -> Hand:
        """Return the worker that has had this role for the longest time."""
        return next(hand for hand in self.hands if hand.role == role)

    async def watch(self) -> None:
        """Replace workers that end by themselves, until cancelled."""
        while True:
            for hand in [hand for hand in self.hands if hand.process.child.exit_code is not None]:
                self.note(f"{hand.role} ended by itself: {hand.process.child.last_words(1)}")
                self.hands.remove(hand)
                self.depot.workers.remove(hand.process)
                await asyncio.to_thread(hand.process.stop)  # closes its guard, which would still run
                self.hire(hand.role)
            await asyncio.sleep(1.0)

    def note(self, text: str) -> None:
        self.told.append(text)
        self.say(f"  {text}")

    async def kill(self, hand: Hand) -> None:
        self.hands.remove(hand)
        await self.depot.kill(hand.process)

    async def ask_to_end(self, hand: Hand) -> None:
        self.hands.remove(hand)
        began = time.monotonic()
        code = await self.depot.stop(hand.process)
        if code != 0:
            seconds = time.monotonic() - began
            self.note(f"{hand.role} did not end well ({seconds:.0f} s): {hand.process.child.last_words(1)}")

    async def ready(self, *hands: Hand) -> None:
        """Wait until these workers answer; one that ends meanwhile is replaced and noted elsewhere."""
        try:
            await self.depot.ready(*[hand.process for hand in hands])
        except MetrolineError as error:
            self.note(f"not ready: {error}")

    async def strike(self, fault: Fault) -> None:
        """Inject a fault; return when both the fault and its pause are over."""
        ways: dict[Kind, Callable[[Fault], Awaitable[list[Hand]]]] = {
            Kind.KILL: self._kill,
            Kind.TERM: self._term,
            Kind.FREEZE: self._freeze,
            Kind.JOIN: self._join,
            Kind.BROKER: self._broker,
            Kind.PUBLISH: self._publish,
        }
        started = await ways[fault.kind](fault)
        if fault.waits:
            await self.ready(*started)
        await asyncio.sleep(fault.pause)

    async def _kill(self, fault: Fault) -> list[Hand]:
        await self.kill(self.hand(fault.role))
        return [self.hire(fault.role)]

    async def _term(self, fault: Fault) -> list[Hand]:
        await self.ask_to_end(self.hand(fault.role))
        return [self.hire(fault.role)]

    async def _freeze(self, fault: Fault) -> list[Hand]:
        frozen = self.hand(fault.role)
        os.kill(frozen.process.child.pid, signal.SIGSTOP)
        stand_in = self.hire(fault.role)
        await asyncio.sleep(self.session + TAKEN_OVER + fault.lasts)
        os.kill(frozen.process.child.pid, signal.SIGCONT)
        await self.ready(stand_in)
        await asyncio.sleep(fault.lasts)
        leaves = frozen if fault.first else stand_in
        if leaves in self.hands:
            await self.ask_to_end(leaves)
        return []

    async def _join(self, fault: Fault) -> list[Hand]:
        joined = [self.hire(fault.role), self.hire(fault.role)]
        await self.ready(*joined)
        await asyncio.sleep(fault.lasts)
        for hand in joined:
            if hand in self.hands:
                await self.ask_to_end(hand)
        return []

    async def _broker(self, fault: Fault) -> list[Hand]:
        assert self.kafka is not None, "only Apache Kafka keeps its data"
        await asyncio.to_thread(self.kafka.stop)
        await asyncio.sleep(fault.lasts)
        await asyncio.to_thread(self.kafka.start)
        return []

    async def _publish(self, fault: Fault) -> list[Hand]:
        current = await read_published(self.depot.cluster, self.depot.topics)
        assert current is not None, "there is a table since the first worker runs"
        text = RULES if current.publication.text == OTHER_RULES else OTHER_RULES
        Network.of(RulesTable.parse(text)).validate(Line.load(str(LINE)).stops)
        publication = Publication(text, current.version, "chaos", time.time())
        self.version = await publish(self.depot.cluster, self.depot.topics, publication, Permission.of_command())
        return []

    async def end(self) -> None:
        """Ask all workers to end."""
        await asyncio.gather(*[self.ask_to_end(hand) for hand in list(self.hands)])
