"""The composition root: the only place where the parts of a worker meet."""

from __future__ import annotations

import os
import tempfile
import time
from functools import partial
from pathlib import Path

import faust
from aiokafka import TopicPartition

from metroline.agents.delivery.agent_loop import AgentLoop
from metroline.agents.delivery.bus import Bus, Confirmation
from metroline.agents.delivery.metrics import WorkerMetrics
from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.faust_transport import Transport
from metroline.agents.kafka.producer import KafkaProducer
from metroline.agents.kafka.topics import TABLE_BYTES, Topics
from metroline.agents.membership.heartbeat import Heartbeat, WorkerInfo
from metroline.agents.membership.roles import Role
from metroline.agents.on_ramp import OnRamp
from metroline.agents.registration import Tables, register
from metroline.agents.rules_agent import publish_first
from metroline.agents.services.line import Line
from metroline.agents.stops.stop import Stop
from metroline.agents.tables.line_table import LineGlobalTable, LineTable, LineTableManager, OwnedTable
from metroline.agents.tables.live_rules import LiveRules
from metroline.agents.waiting_rooms import WaitingRooms
from metroline.app.provisioning import prepare
from metroline.app.settings import Settings
from metroline.app.views import add_views
from metroline.routing.journeys.departures import Limits

FETCH_BYTES = 128 * 1024
"""What a fetch may bring of each partition of the bus, compressed: about a full pack; one message comes in any case."""

SOURCE_FETCH_BYTES = 704 * 1024
"""What a fetch may bring of each partition of the source: about what a pack is filled with, so that it makes one."""

BUFFERED = 1_000_000
"""Messages that may wait for each agent as far as Faust is concerned: our consumer bounds their bytes."""


class LineApp(faust.App):
    """A Faust app that plays one role of a line."""

    settings: Settings
    line: Line
    role: Role
    line_topics: Topics
    cluster: Cluster
    producing: KafkaProducer
    bus: Bus
    rule_tables: LiveRules
    heartbeat: Heartbeat
    on_ramp: OnRamp | None
    waiting: WaitingRooms | None
    line_tables: Tables
    started_at: float

    async def on_start(self) -> None:
        """Topics are created, and other cuts looked for, before anything subscribes."""
        await super().on_start()
        preparation = await prepare(self.settings, self.line)
        self.bus.limits = preparation.limits
        await self.add_runtime_dependency(self.heartbeat)
        for reader in (self.on_ramp, self.waiting):
            if reader is not None:
                await self.add_runtime_dependency(reader)
        rules = TopicPartition(self.line_topics.rules, 0)
        if not (await self.cluster.high_watermarks([rules]))[rules]:
            await publish_first(self.bus, self.line.rules_text, time.time)

    async def on_shutdown(self) -> None:
        """Called when all that sends has stopped."""
        await super().on_shutdown()
        await self.producing.close()

    def describe(self, at: float, gone: bool) -> WorkerInfo:
        """What this worker says of itself."""
        url = str(self.conf.canonical_url)
        return WorkerInfo(
            id=f"{self.conf.id}/{url}/{os.getpid()}",
            group=self.conf.id,
            parts=tuple(sorted(self.role.parts)),
            stops=tuple(sorted(self.role.stops)),
            strategy=self.settings.routing_strategy,
            url=url,
            version=self.rule_tables.version,
            started=self.started_at,
            at=at,
            gone=gone,
        )

    def served_stops(self) -> frozenset[str]:
        """The stops that this worker's code or another live worker serves."""
        return self.line.stops | self.heartbeat.workers.stops(time.time())

    async def announce(self, key: bytes, value: bytes) -> Confirmation:
        """Tells the other workers."""
        return await self.bus.produce(self.line_topics.workers, 0, value, key=key)


def create_app(settings: Settings) -> LineApp:
    """Assembles a worker; raises a `MetrolineError` for a line, rules or settings that cannot be used."""
    line = Line.load(settings.line)
    from_file = line.rules_table()
    topics, role, cluster = settings.topics(line), settings.played(line), settings.cluster()
    app = LineApp(
        role.group(topics.prefix),
        broker=settings.broker_url,
        broker_credentials=settings.credentials(),
        broker_session_timeout=settings.broker_session_timeout,
        broker_rebalance_timeout=settings.broker_rebalance_timeout,
        broker_heartbeat_interval=settings.broker_heartbeat_interval,
        consumer_auto_offset_reset="earliest",
        stream_buffer_maxsize=BUFFERED,
        consumer_max_fetch_size=FETCH_BYTES,
        store="memory://",
        datadir=str(Path(tempfile.gettempdir()) / f"metroline-{os.getpid()}"),
        topic_disable_leader=True,
        topic_replication_factor=settings.topic_replication_factor,
        web_bind=settings.web_bind,
        web_port=settings.web_port,
        web_host=settings.host,
        web_tables_enabled=False,  # our pages take their place
        Table=OwnedTable,
        GlobalTable=LineGlobalTable,
        TableManager=LineTableManager,
    )
    app.settings, app.line, app.role, app.line_topics, app.cluster = settings, line, role, topics, cluster
    app.started_at = time.time()
    app.producing = KafkaProducer(cluster.librdkafka | {"compression.type": settings.bus_compression}, TABLE_BYTES)
    app.bus = Bus(topics, Limits(), app.producing, WorkerMetrics())
    app.heartbeat = Heartbeat(cluster, topics.workers, app.describe, app.announce, time.time)
    rules = app.GlobalTable(
        "rules",
        partitions=1,
        recovery_buffer_size=1,
        key_type=bytes,
        value_type=bytes,
        help="the rules table, every version",
    )
    assert isinstance(rules, LineTable)
    app.rule_tables = LiveRules(from_file, rules, app.served_stops, settings.strategy, lambda: app.tables.actives_ready)
    agent_loop = AgentLoop(app.bus, app.rule_tables.ready, time.time)
    app.transport = Transport(
        app.conf.broker_consumer,
        app,
        cluster=cluster,
        fetch_wait=settings.fetch_wait,
        drain=agent_loop.drain,
        forget=agent_loop.reset,
    )
    stop = partial(
        Stop,
        agent_loop,
        app.rule_tables,
        pack_seconds=settings.pack_seconds,
        retry_policy=settings.retry_policy,
        max_age=settings.max_age,
    )
    app.line_tables = register(app, agent_loop, app.rule_tables, rules, line, role, stop)
    app.on_ramp = _on_ramp(app) if role.plays("on-ramp") else None
    app.waiting = _waiting(app) if role.plays("arrivals") else None
    add_views(app)
    return app


def _on_ramp(app: LineApp) -> OnRamp:
    settings = app.settings
    return OnRamp(
        app.bus,
        app.rule_tables,
        settings.strategy,
        app.cluster,
        time.time,
        epoch=settings.source_epoch,
        settings=_reading(settings),
    )


def _waiting(app: LineApp) -> WaitingRooms:
    return WaitingRooms(app.bus, app.cluster, time.time, settings=_reading(app.settings))


def _reading(settings: Settings) -> dict[str, int]:
    """How aiokafka reads, with its own names; in ms."""
    return {
        "fetch_max_wait_ms": int(settings.fetch_wait * 1000),
        "max_partition_fetch_bytes": SOURCE_FETCH_BYTES,
        "session_timeout_ms": int(settings.broker_session_timeout * 1000),
        "rebalance_timeout_ms": int(settings.broker_rebalance_timeout * 1000),
        "heartbeat_interval_ms": int(settings.broker_heartbeat_interval * 1000),
    }
