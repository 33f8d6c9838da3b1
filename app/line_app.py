"""A worker's Faust app and the parts that it consists of."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, cast

import faust
from aiokafka import TopicPartition
from mode import Service

from metroline.agents.accounts import Accounts
from metroline.agents.delivery.bus import Bus
from metroline.agents.delivery.work_in_hand import WorkInHand
from metroline.agents.formats.formats import Formats
from metroline.agents.kafka.absence_watch import AbsenceWatch
from metroline.agents.kafka.batch_consumer import BatchConsumer
from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.faust_transport import Consumer
from metroline.agents.kafka.foreign_messages import ForeignMessages
from metroline.agents.kafka.loss_watch import LossWatch
from metroline.agents.kafka.partition_watch import PartitionWatch
from metroline.agents.kafka.producer import Confirmation, KafkaProducer
from metroline.agents.kafka.purge import Purge
from metroline.agents.kafka.stall_watch import StallWatch
from metroline.agents.kafka.stopped_partitions import StoppedPartitions
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.kafka.topics import Topics
from metroline.agents.loss_reporter import LossReporter
from metroline.agents.membership.heartbeat import Heartbeat
from metroline.agents.membership.needs import purged_by
from metroline.agents.membership.roles import Role, role_in
from metroline.agents.membership.worker import LiveWorkers, WorkerInfo
from metroline.agents.on_ramp import OnRamp
from metroline.agents.pulses.line_state import part_of
from metroline.agents.pulses.pulse_reader import PulseReader
from metroline.agents.pulses.pulse_sender import PulseSender
from metroline.agents.registration import Tables
from metroline.agents.rules_agent import publish_first
from metroline.agents.services.line import Line
from metroline.agents.services.schedule import Clock
from metroline.agents.source_gateway import SourceGateway
from metroline.agents.source_watch import SourceWatch
from metroline.agents.stops.circuit_breaker import CircuitBreaker
from metroline.agents.stops.loop_guard import LoopGuard
from metroline.agents.stops.open_resources import OpenResources
from metroline.agents.stops.stop import Stop
from metroline.agents.stops.stuck_calls import StuckCalls
from metroline.agents.tables.live_rules import LiveRules
from metroline.agents.ticker import Ticker
from metroline.agents.waiting_rooms import WaitingRooms
from metroline.app.local.ports import resolves
from metroline.app.operations.desk import Desk
from metroline.app.operations.foreign_letters import desks_of
from metroline.app.operations.journal import Journal
from metroline.app.operations.journal_notes import Deed, note_of
from metroline.app.operations.replay_jobs import JobBoard
from metroline.app.operations.replay_runner import ReplayRunner
from metroline.app.provisioning import Provisioning
from metroline.app.settings import Settings, misspelt
from metroline.app.web_server.host_names import HostNames, is_open_to_strangers
from metroline.app.web_server.server import WebServer
from metroline.routing.addresses import ARRIVALS, SOURCE, service_address
from metroline.routing.rules.network import Network

NOTE_SECONDS = 1.0
"""Time for which a note in the journal may delay the start or the end of a worker."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """The parts of a worker that are made before its Faust app."""

    settings: Settings
    line: Line
    resources: OpenResources
    role: Role
    topics: Topics
    cluster: Cluster
    provisioning: Provisioning
    producer: KafkaProducer
    bus: Bus
    formats: Formats
    workers: LiveWorkers
    foreign: ForeignMessages
    started_at: float
    """Seconds since the epoch."""


class Turn(Protocol):
    """The turns of workers that replace each other, of which only one reads records and holds resources and a port."""

    async def begin(self) -> None:
        """Return when it is this worker's turn; raise a `MetrolineError` if it cannot begin."""

    def end(self) -> None:
        """Leave the turn to another worker."""


@dataclass(frozen=True, slots=True)
class AppParts:
    """The parts of a worker that are declared on its Faust app."""

    live_rules: LiveRules
    work: WorkInHand
    tables: Tables
    heartbeat: Heartbeat
    partitions: PartitionWatch
    purge: Purge | None
    """None if acknowledged messages are kept."""
    on_ramp: OnRamp | None
    """None unless the role plays the on-ramp."""
    source_watch: SourceWatch | None
    """None unless the role plays the on-ramp."""
    gateway: SourceGateway | None
    """None unless the role plays the on-ramp of a line whose records come from another system."""
    waiting_rooms: WaitingRooms | None
    """None unless the role plays the arrivals."""
    stall_watch: StallWatch
    absence_watch: AbsenceWatch
    stops: Sequence[Stop]
    """The stops that the role plays."""
    stuck_calls: StuckCalls
    breakers: Mapping[str, CircuitBreaker]
    """The circuit breakers of the stops that may pause, by the stops' names."""
    loop_guard: LoopGuard
    stopped: StoppedPartitions
    accounts: Accounts | None
    """None unless the role plays the arrivals."""
    replay_runner: ReplayRunner | None
    """None unless the role plays the arrivals."""
    ticker: Ticker | None
    """None unless the role plays the arrivals, and the line has schedules."""
    losses: LossReporter
    loss_watch: LossWatch
    pulse_sender: PulseSender
    pulses: PulseReader


class LineApp(faust.App):
    """A Faust app that plays one role of a line.

    Faust dictates the order of construction in two places:

    - Tables and agents are declared on an app, so they cannot exist before it. The constructor therefore takes a
      function that declares them; every attribute is set when the constructor returns.
    - `faust -A app.main worker` imports the app before an event loop runs, and an import must not connect to a broker.
      The limits of envelopes, which depend on the source topic, are then known only once `on_start` has provisioned
      the topics. So the bus takes a function that returns the limits. `metroline worker` provisions before it creates
      the app, and `on_start` has nothing left to do.
    """

    def __init__(self, worker: WorkerParts, declare: Callable[[LineApp], AppParts], **config: Any) -> None:
        """Take `config` as settings of Faust. `declare` is called once, with an app that has no `AppParts` yet."""
        super().__init__(worker.role.group(worker.topics.prefix), **config)
        self.settings = worker.settings
        self.line = worker.line
        self.role = worker.role
        self.line_topics = worker.topics
        self.cluster = worker.cluster
        self.bus = worker.bus
        self.formats = worker.formats
        self.workers = worker.workers
        self.foreign = worker.foreign
        self.desk = Desk(worker.cluster, worker.topics)
        self.job_board = JobBoard(worker.cluster, worker.topics, worker.foreign)
        self.foreign_desks = desks_of(worker.cluster, worker.topics, worker.line, self.job_board)
        self._worker = worker
        self.turn: Turn | None = None
        """The turns of this worker and the one that it replaces; None if it replaces none."""
        parts = declare(self)
        self.live_rules = parts.live_rules
        self.work = parts.work
        self.line_tables = parts.tables
        self.heartbeat = parts.heartbeat
        self.partitions = parts.partitions
        self.purge = parts.purge
        self.on_ramp = parts.on_ramp
        self._source_watch = parts.source_watch
        self.gateway = parts.gateway
        self.waiting_rooms = parts.waiting_rooms
        self.stall_watch = parts.stall_watch
        self.absence_watch = parts.absence_watch
        self._stops = parts.stops
        self._stuck_calls = parts.stuck_calls
        self._loop_guard = parts.loop_guard
        self.breakers = parts.breakers
        self.stopped = parts.stopped
        self.accounts = parts.accounts
        self.replay_runner = parts.replay_runner
        self.ticker = parts.ticker
        self.losses = parts.losses
        self.loss_watch = parts.loss_watch
        self._pulse_sender = parts.pulse_sender
        self.pulses = parts.pulses
        rules = parts.live_rules
        self.journal = Journal(
            worker.cluster,
            worker.topics,
            self.job_board.jobs,
            lambda: rules.latest,
            rules.publications.latest,
            worker.foreign,
        )

    def _create_directories(self) -> None:
        """Create none of Faust's folders for data: tables are held in memory."""

    def _new_web(self) -> WebServer:
        """Make the web server, in place of Faust's."""
        return WebServer(self, cache(self._host_names))

    def _host_names(self) -> HostNames:
        """Return the names by which other workers and clients may address the web server."""
        settings = self.settings
        own = (settings.host, socket.gethostname(), str(self.conf.canonical_url.host))
        return HostNames.of(settings.web_bind, own, settings.web_allowed_hosts)

    async def on_start(self) -> None:
        """Provision the topics and refuse conflicting roles, before anything subscribes."""
        await super().on_start()
        log.info(
            "worker %s starts: line %s, role %s, strategy %s",
            self.conf.canonical_url,
            self.line.name,
            self.role.name,
            self.settings.routing_strategy,
        )
        for warning in self.warnings():
            log.warning("%s", warning)
        if not await resolves(self.settings.host):
            log.warning(
                "the name %s cannot be resolved, so the pages of other workers may lack the entries of this one: set "
                "WEB_HOST to a name or an address by which they reach it",
                self.settings.host,
            )
        await self._worker.provisioning.run()
        await self.add_runtime_dependency(self._loop_guard)  # what is opened may block the event loop, too
        if self.turn is None:
            await self._open_resources()
        watches = (
            self.partitions,
            self._source_watch,
            self.stall_watch,
            self.loss_watch,
            self.accounts,
        )
        await self._begin(self.heartbeat, *watches, self._stuck_calls)
        if self.turn is not None:
            await self.turn.begin()
            await self._open_resources()
        await self._begin(self.absence_watch, self.purge, self.on_ramp, self.waiting_rooms, self.replay_runner)
        await self._begin(self.ticker, self._pulse_sender, self.gateway)
        await self._note(Deed.JOINED)
        rules = TopicPartition(self.line_topics.rules, 0)
        if not (await TopicAdmin(self.cluster).high_watermarks([rules]))[rules]:
            await publish_first(self.bus, self.line.rules_text, time.time)

    def warnings(self) -> Iterator[str]:
        """Yield what is worth a warning about the settings of this worker."""
        yield from misspelt(os.environ)
        settings = self.settings
        if is_open_to_strangers(settings.web_bind, settings.metroline_token):
            yield (
                f"whoever reaches port {settings.web_port} of {settings.web_bind} can read records and rules without a "
                "login: set METROLINE_TOKEN"
            )

    async def _begin(self, *services: Service | None) -> None:
        for service in services:
            if service is not None:
                await self.add_runtime_dependency(service)

    async def _note(self, deed: Deed) -> None:
        """Note in the journal that this worker starts or stops. A note that cannot be written is left out."""
        url, code = str(self.conf.canonical_url), self.line.identity()
        note = note_of(deed, worker=url, roles=role_in(self.conf.id), code=code)
        with suppress(TimeoutError):
            async with asyncio.timeout(NOTE_SECONDS):
                confirmation = await self._worker.producer.send(self.line_topics.worker_journal, None, note.encode(), 0)
                confirmation.add_done_callback(_log_failure)

    async def _open_resources(self) -> None:
        with self._loop_guard.limited({name: one.timeout for name, one in self.line.resources.items()}):
            for stop in self._stops:
                await stop.connect(self._worker.resources)

    async def on_shutdown(self) -> None:
        """Close the resources of services and the producer, once everything that uses them has stopped."""
        await super().on_shutdown()
        await self.pulses.close()
        await self.journal.close()
        await self._note(Deed.LEFT)
        await self._worker.resources.close()
        await self.job_board.close()
        for desk in self.foreign_desks.values():
            desk.close()
        if self.turn is not None:
            self.turn.end()
        await self._worker.producer.close()
        await self.formats.close()

    async def grown(self, partitions: int) -> None:
        """Use the partitions that the line's topics have gained, without losing any."""
        if isinstance(self.consumer, Consumer):
            await self.consumer.refresh_metadata()
        if self.on_ramp is not None:
            self.on_ramp.open_partitions()

    @property
    def bus_producer(self) -> KafkaProducer:
        """The producer of everything that this worker sends but Faust's own messages."""
        return self._worker.producer

    @property
    def is_joined(self) -> bool:
        """True while this worker is a member of the group of its role and no rebalance is under way."""
        return not self.rebalancing and cast(Consumer, self.consumer).is_joined

    @property
    def owned_partitions(self) -> frozenset[int]:
        """The partitions whose outcomes this worker counts."""
        outcomes = self.line_tables.outcomes
        return frozenset() if outcomes is None else frozenset(outcomes.epochs)

    @property
    def outcomes_epoch(self) -> int | None:
        """The epoch in which this worker owns the first partition of the outcomes, and so the line's replay jobs."""
        outcomes = self.line_tables.outcomes
        return None if outcomes is None else outcomes.epochs.get(0)

    @property
    def clocks(self) -> tuple[Clock, ...]:
        """The schedules of the line, if this worker follows them."""
        return self.ticker.clocks if self.ticker is not None else ()

    def readers(self) -> list[Consumer | BatchConsumer]:
        """Return everything that reads topics for this worker."""
        readers = (cast(Consumer, self.consumer), self.on_ramp, self.waiting_rooms)
        return [reader for reader in readers if reader is not None]

    @property
    def read_topics(self) -> list[str]:
        """The topics whose messages this worker's role handles."""
        topics = [self.line_topics.source] if self.on_ramp is not None else []
        return topics + [topic for read in purged_by(self.role, self.line_topics).values() for topic in read]

    @property
    def worker_id(self) -> str:
        """The id of this worker in its announcements."""
        return f"{self.conf.id}/{self.conf.canonical_url}/{os.getpid()}"

    def behind(self) -> float:
        """Return the longest time for which messages of the bus wait for any worker of the line, in seconds.

        Other workers announce theirs. What this worker knows of itself is newer than its own announcement.
        """
        return max(self.work.behind, self.workers.others_behind(self.worker_id, time.time()))

    def describe(self, at: float, gone: bool) -> WorkerInfo:
        """Return this worker's announcement at a time, in seconds since the epoch; `gone` if it is the last one."""
        url = str(self.conf.canonical_url)
        return WorkerInfo(
            id=self.worker_id,
            group=self.conf.id,
            parts=tuple(sorted(self.role.parts)),
            stops=tuple(sorted(self.role.stops)),
            strategy=self.settings.routing_strategy,
            url=url,
            version=self.live_rules.version,
            started=self._worker.started_at,
            at=at,
            gone=gone,
            behind=round(self.work.behind, 2),
            source_behind=round(self.bus.metrics.behind_now, 2),
            ends=tuple(sorted(self.line.ends | self.line.last)),
        )

    def is_sole_reader(self) -> bool:
        """Return whether no live worker of another group reads the topics of this worker's role."""
        now = time.time()
        me = self.describe(now, gone=False)
        return not any(me.conflict(other) for other in self.workers.alive(now))

    def served_stops(self) -> frozenset[str]:
        """Return the stops that this worker's code or another live worker serves."""
        return self.line.stops | self.workers.stops(time.time())

    def needed_places(self) -> frozenset[str]:
        """Return the addresses to which records go by the present rules."""
        current = self.live_rules.current
        stops = () if current is None else Network.of(current.live).reachable
        return frozenset({SOURCE, ARRIVALS, *map(service_address, stops)})

    def unserved_places(self) -> dict[str, bool]:
        """Return for each address to which records go whether no live worker serves it; nothing while it is not known.

        Without an answer of the brokers, a worker hears of no other one.
        """
        if not self.heartbeat.is_served:
            return {}
        needed = self.needed_places() | set(self.settings.strategy.routers)
        played = self.role.parts.union(*(worker.parts for worker in self.workers.alive(time.time())))
        return {address: part_of(address) not in played for address in sorted(needed)}

    def workers_at(self, stop: str) -> int:
        """Return the number of live workers, this one included, that can have records of a stop at the same time."""
        workers = 1 + self.workers.others_at(stop, self.worker_id, time.time())
        partitions = self.partitions.partitions
        return min(workers, partitions) if partitions else workers

    @property
    def paused_stops(self) -> dict[str, str]:
        """The reason of each stop of this worker that is paused, by the stops' names."""
        reasons = {stop: breaker.reason for stop, breaker in sorted(self.breakers.items())}
        return {stop: reason for stop, reason in reasons.items() if reason is not None}

    @property
    def broken_resources(self) -> dict[str, str]:
        """The reason of each resource of this worker that is broken, by the resources' names."""
        return self._worker.resources.broken

    @property
    def resource_breaks(self) -> dict[str, int]:
        """The number of times that each resource of this worker has broken, by the resources' names."""
        return self._worker.resources.breaks

    async def announce(self, key: bytes, value: bytes) -> Confirmation:
        """Send an announcement to the other workers."""
        return await self.bus.produce(self.line_topics.workers, 0, value, key=key)

    async def send_pulse(self, key: bytes, value: bytes) -> Confirmation:
        """Send a pulse once. Unlike an announcement, it is not sent again: the next one says more."""
        return await self._worker.producer.send(self.line_topics.pulses, key, value, 0)

    @property
    def started_at(self) -> float:
        """Time at which this worker started, in seconds since the epoch."""
        return self._worker.started_at


def _log_failure(confirmation: Confirmation) -> None:
    if not confirmation.cancelled() and (error := confirmation.exception()) is not None:
        log.debug("the journal has no note about this worker: %s", error)
