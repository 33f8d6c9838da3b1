"""The composition root: the only place where the parts of a worker meet."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Any, cast

from metroline.agents.accounts import Accounts
from metroline.agents.delivery.admission import Admission
from metroline.agents.delivery.agent_loop import AgentLoop
from metroline.agents.delivery.backlogs import Backlogs
from metroline.agents.delivery.bus import Bus
from metroline.agents.delivery.end_topics import EndTopics
from metroline.agents.delivery.metrics import WorkerMetrics
from metroline.agents.delivery.unit_of_work import WorkTime
from metroline.agents.formats.formats import Formats
from metroline.agents.formats.formatted_ends import FormattedEnds
from metroline.agents.formats.names import PACKED
from metroline.agents.formats.source_queue import SourceQueue
from metroline.agents.kafka.absence_watch import AbsenceWatch, has_coordinator
from metroline.agents.kafka.cluster import METADATA_SECONDS
from metroline.agents.kafka.faust_transport import Consumer, Transport
from metroline.agents.kafka.foreign_messages import ForeignMessages
from metroline.agents.kafka.gaps import Gaps
from metroline.agents.kafka.loss_watch import LossWatch
from metroline.agents.kafka.partition_watch import PartitionWatch
from metroline.agents.kafka.producer import KafkaProducer
from metroline.agents.kafka.purge import Purge
from metroline.agents.kafka.stall_watch import StallWatch
from metroline.agents.kafka.stopped_partitions import StoppedPartitions
from metroline.agents.kafka.tansu import free_group
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.kafka.topic_survey import topic_id
from metroline.agents.kafka.topic_tail import TopicTail
from metroline.agents.kafka.topics import ROUTERS, TABLE_BYTES, TABLES
from metroline.agents.loss_reporter import LossReporter
from metroline.agents.membership.heartbeat import Heartbeat
from metroline.agents.membership.needs import purged_by
from metroline.agents.membership.roles import ON_RAMP, SERVICE
from metroline.agents.membership.signatures import Signatures
from metroline.agents.membership.worker import LiveWorkers
from metroline.agents.on_ramp import OnRamp, source_origin
from metroline.agents.pulses.pulse_figures import EndedSums
from metroline.agents.pulses.pulse_reader import PulseReader
from metroline.agents.pulses.pulse_sender import PulseSender
from metroline.agents.registration import Tables, register
from metroline.agents.services.line import Line
from metroline.agents.services.service import Service
from metroline.agents.source_gateway import KafkaSourceTopic, SourceGateway
from metroline.agents.source_watch import SourceWatch
from metroline.agents.stops.circuit_breaker import CircuitBreaker
from metroline.agents.stops.loop_guard import LoopGuard
from metroline.agents.stops.open_resources import OpenResources
from metroline.agents.stops.stop import Stop
from metroline.agents.stops.stuck_calls import StuckCalls
from metroline.agents.tables.line_table import LineGlobalTable, LineTable, LineTableManager
from metroline.agents.tables.live_rules import LiveRules
from metroline.agents.tables.outcome_counts import OutcomeCounts
from metroline.agents.tables.owned_table import OwnedTable
from metroline.agents.tables.plausible_offsets import PlausibleOffsets
from metroline.agents.tables.published_versions import PublishedVersions
from metroline.agents.ticker import Ticker
from metroline.agents.waiting_rooms import WaitingRooms
from metroline.app.line_app import AppParts, LineApp, WorkerParts
from metroline.app.operations.replay_runner import ReplayRunner
from metroline.app.operations.rereading import read_again
from metroline.app.own_pulse import OwnPulse
from metroline.app.provisioning import Provisioning
from metroline.app.readiness import is_reading
from metroline.app.settings import Settings
from metroline.app.unfinished import joining
from metroline.app.views import add_views
from metroline.routing.addresses import ARRIVALS, WAITING_ROOMS, service_address
from metroline.routing.journeys.departures import Limits
from metroline.routing.messages.envelope import is_newer
from metroline.routing.rules.table import RulesTable

FETCH_BYTES = 128 * 1024
"""Compressed bytes that a fetch may return of each partition of the bus: about a full pack, at least one message."""

SOURCE_FETCH_BYTES = 704 * 1024
"""Bytes that a fetch may return of each partition of the source: about what a pack holds, so that it makes one pack."""

QUEUED_KBYTES = 2 * 1024
"""KiB that librdkafka holds, at least, before it stops fetching. With less than a few fetches of one partition, those
that it fetched last would be the only ones that find room."""

FULL_SECONDS = 0.01
"""Time after which librdkafka looks again whether it may fetch, if it held `QUEUED_KBYTES`."""

REBALANCES = 2
"""Number of times that a rebalance may take as long as it may before a worker counts as stuck outside of its group."""

ABSENT_SECONDS = 60.0
"""Time after which it does so at the earliest: on a busy machine a rebalance takes longer than it may."""

NOT_FOR_FAUST = ("TOPIC_ALLOW_DECLARE", "TOPIC_REPLICATION_FACTOR")
"""Variables that Faust must not read: it does not know a replication factor of -1, and must create no topics, which
it would do at each start, whether they exist or not."""

BUFFERED_MESSAGES = 1_000_000
"""Messages that Faust may buffer for each agent. Their bytes are bounded by our consumer."""


def create_app(settings: Settings, limits: Limits | None = None, producer: KafkaProducer | None = None) -> LineApp:
    """Assemble a worker; raise a `MetrolineError` if the line, its rules or the settings cannot be used.

    `limits` is what provisioning returned; None if the topics are yet to be provisioned, when the app starts. A
    `producer` that has connected before is used instead of a new one.
    """
    line = settings.as_run(Line.load(settings.line))
    from_file = line.rules_table()
    app = LineApp(
        _worker_parts(settings, line, limits, producer or producer_of(settings)),
        partial(_declare, from_file),
        **_faust_settings(settings),
    )
    add_views(app)
    return app


def producer_of(settings: Settings) -> KafkaProducer:
    """Return a producer for the topics of any line."""
    return KafkaProducer(settings.cluster().librdkafka | {"compression.type": settings.bus_compression}, TABLE_BYTES)


def _worker_parts(settings: Settings, line: Line, limits: Limits | None, producer: KafkaProducer) -> WorkerParts:
    topics, cluster = settings.topics(line), settings.cluster()
    provisioning = Provisioning(settings, line, limits)
    tables = map(topics.changelog, ("rules", *TABLES))
    schedules = (topics.schedules,) if topics.has_schedules else ()
    notes = (topics.journal, topics.worker_journal)
    own = (topics.rules, topics.workers, topics.pulses, topics.replay_jobs, topics.comparisons)
    foreign = ForeignMessages((*own, *notes, *schedules, *tables))
    return WorkerParts(
        settings=settings,
        line=line,
        resources=OpenResources(line.resources, reopens=True),
        role=settings.played(line),
        topics=topics,
        cluster=cluster,
        provisioning=provisioning,
        producer=producer,
        bus=Bus(topics, provisioning.limits, producer, WorkerMetrics(), WorkTime(time.time, settings.pack_seconds)),
        formats=Formats(settings.registry_access()),
        workers=LiveWorkers(Signatures(topics.workers, settings.cluster_key), foreign),
        foreign=foreign,
        started_at=time.time(),
    )


def _faust_settings(settings: Settings) -> dict[str, Any]:
    return {
        "broker": settings.broker_url,
        "broker_credentials": settings.credentials(),
        "broker_session_timeout": settings.broker_session_timeout,
        "broker_rebalance_timeout": settings.broker_rebalance_timeout,
        "broker_heartbeat_interval": settings.broker_heartbeat_interval,
        "consumer_auto_offset_reset": "earliest",
        "consumer_group_instance_id": _instance(settings, "bus"),
        "stream_buffer_maxsize": BUFFERED_MESSAGES,
        "consumer_max_fetch_size": FETCH_BYTES,
        "store": "memory://",
        "topic_disable_leader": True,
        "topic_allow_declare": False,  # `provision` has created every topic
        "env": {name: value for name, value in os.environ.items() if name not in NOT_FOR_FAUST},
        "web_bind": settings.web_bind,
        "web_port": settings.web_port,
        "web_host": settings.host,
        "web_tables_enabled": False,  # our pages take their place
        "Table": OwnedTable,
        "GlobalTable": LineGlobalTable,
        "TableManager": LineTableManager,
    }


def _declare(from_file: RulesTable, app: LineApp) -> AppParts:
    """Declare the tables and agents of the app's role, and make the services that run beside them."""
    settings, role, cluster = app.settings, app.role, app.cluster
    rules_table = _rules_table(app)
    live_rules = LiveRules(
        from_file, rules_table, app.served_stops, settings.strategy, lambda: app.tables.actives_ready
    )
    agent_loop = AgentLoop(app.bus, live_rules.ready)
    backlogs = Backlogs(app.bus.trains, app.line_topics, TopicAdmin(cluster).high_watermarks)

    def reset() -> None:
        agent_loop.reset()
        backlogs.revoked()

    gaps, stopped = Gaps(), StoppedPartitions(is_newer)
    transport = app.transport = Transport(
        app.conf.broker_consumer,
        app,
        cluster=cluster,
        fetch_wait=settings.fetch_wait,
        handed=agent_loop.work.add,
        joins=agent_loop.work.watches if _may_join(app) else lambda topic: False,
        drain=agent_loop.drain,
        finish=agent_loop.finish,
        reset=reset,
        assigned=backlogs.assigned,
        gaps=gaps,
        stopped=stopped,
    )
    transport.batch_sizes |= {  # a batch is acknowledged as a whole, so it must not take a slow stop long
        app.line_topics.at(service_address(service.name)): service.capacity
        for service in app.line.services.values()
        if not service.is_immediate
    }
    stuck_calls, loop_guard = StuckCalls(), LoopGuard(settings.service_timeout)
    breakers: dict[str, CircuitBreaker] = {}
    stops: list[Stop] = []

    def stop(service: Service) -> Stop:
        sharers = partial(app.workers_at, service.name)
        made = Stop(agent_loop, live_rules, service, settings.retry_policy, max_age=settings.max_age, sharers=sharers)
        if made.gate is not None and made.gate.breaker is not None:
            breakers[service.name] = made.gate.breaker
        loop_guard.limits[service.name] = made.policy.retries.timeout
        if made.bounded_calls is not None:
            stuck_calls.calls.append(made.bounded_calls)
        stops.append(made)
        return made

    partitions = _partitions(app)
    tables = register(
        app,
        agent_loop,
        live_rules,
        rules_table,
        app.line,
        role,
        stop,
        settings.chaining,
        transport.is_member,
        EndTopics(settings.ends(app.line), app.line_topics, TopicAdmin(cluster).partitions),
        _formatted_ends(app) if role.plays(ARRIVALS) else None,
        app.foreign,
        _plausible_offsets(app),
        settings.journeys_per_second,
    )
    signatures = Signatures(app.line_topics.pulses, settings.cluster_key)
    losses = LossReporter(app.bus, settings.source_epoch)
    reading: dict[str, Any] = {"gaps": gaps, "stopped": stopped}
    return AppParts(
        live_rules=live_rules,
        work=agent_loop.work,
        tables=tables,
        partitions=partitions,
        purge=Purge(cluster, purged_by(role, app.line_topics), app.is_sole_reader) if settings.purges else None,
        heartbeat=Heartbeat(cluster, app.line_topics.workers, app.workers, app.describe, app.announce, time.time),
        source_watch=_source_watch(app),
        on_ramp=_on_ramp(app, live_rules, agent_loop, partitions, reading) if role.plays(ON_RAMP) else None,
        gateway=_gateway(app, partitions),
        waiting_rooms=_waiting_rooms(app, reading) if role.plays("arrivals") else None,
        stall_watch=StallWatch(cluster, app.readers, lambda: not is_reading(app)),
        absence_watch=_absence_watch(app),
        stops=stops,
        stuck_calls=stuck_calls,
        breakers=breakers,
        loop_guard=loop_guard,
        stopped=stopped,
        accounts=_accounts(app, tables),
        replay_runner=_replay_runner(app, live_rules) if role.plays(ARRIVALS) else None,
        ticker=_ticker(app, live_rules) if role.plays(ARRIVALS) and app.line_topics.has_schedules else None,
        losses=losses,
        loss_watch=LossWatch(cluster, gaps, app.readers, lambda: not is_reading(app), losses.report),
        pulse_sender=PulseSender(signatures, OwnPulse(app, _ended_sums(app, tables)), app.send_pulse),
        pulses=_pulse_reader(app, signatures),
    )


def _ended_sums(app: LineApp, tables: Tables) -> EndedSums | None:
    if tables.outcomes is None:
        return None
    origin = source_origin(app.settings.source_epoch)
    return EndedSums(OutcomeCounts(tables.outcomes), lambda: app.owned_partitions, origin)


def _pulse_reader(app: LineApp, signatures: Signatures) -> PulseReader:
    return PulseReader(
        app.cluster,
        app.line_topics.pulses,
        app.role.group(app.line_topics.prefix),
        app.line.name,
        signatures,
        app.foreign,
        lambda: len(app.workers.alive(time.time())),
        app.needed_places,
    )


def _plausible_offsets(app: LineApp) -> PlausibleOffsets:
    topics = app.line_topics
    inner = (*ROUTERS, *map(service_address, app.line.stops), ARRIVALS, *WAITING_ROOMS)
    known = {address: topics.at(address) for address in inner}
    known[source_origin(app.settings.source_epoch)] = topics.source
    return PlausibleOffsets(known, TopicAdmin(app.cluster).high_watermarks)


def _accounts(app: LineApp, tables: Tables) -> Accounts | None:
    if tables.outcomes is None:
        return None
    epoch, topics = app.settings.source_epoch, app.line_topics
    return Accounts(
        app.cluster,
        topics,
        app.line.stops,
        tables.outcomes,
        lambda: app.owned_partitions,
        epoch,
        lambda: app.clocks,
    )


def _may_join(app: LineApp) -> bool:
    """Return whether messages of several partitions may be handed to an agent at once, and be acknowledged together.

    They may not if a record among them could go on in memory to a service that takes its time, and hold all of them.
    """
    plays = [service for name, service in app.line.services.items() if app.role.plays(f"{SERVICE}{name}")]
    return app.settings.chaining == "off" or all(service.is_immediate for service in plays)


def _rules_table(app: LineApp) -> LineTable:
    table = app.GlobalTable(
        "rules",
        partitions=1,
        recovery_buffer_size=1,
        key_type=bytes,
        value_type=bytes,
        help="the rules table, every version",
    )
    assert isinstance(table, LineGlobalTable)
    table.published = PublishedVersions(app.cluster, app.line_topics.rules)
    return table


def _partitions(app: LineApp) -> PartitionWatch:
    topics = app.line_topics
    return PartitionWatch(
        app.cluster,
        topics.source,
        topics.partitioned(app.line.stops),
        grows=app.role.plays(ON_RAMP),
        on_grown=app.grown,
    )


def _absence_watch(app: LineApp) -> AbsenceWatch:
    settings = app.settings
    return AbsenceWatch(
        max(ABSENT_SECONDS, REBALANCES * settings.broker_rebalance_timeout + settings.broker_session_timeout),
        lambda: [reader.membership for reader in app.readers()],
        partial(has_coordinator, app.cluster),
        partial(free_group, app.cluster),
        lambda: joining(cast(Consumer, app.consumer)),
    )


def _source_watch(app: LineApp) -> SourceWatch | None:
    if not app.role.plays(ON_RAMP):
        return None
    source = app.line_topics.source
    return SourceWatch(source, partial(topic_id, app.cluster, source), app.settings.source_epoch)


def _on_ramp(
    app: LineApp, live_rules: LiveRules, agent_loop: AgentLoop, partitions: PartitionWatch, reading: dict[str, Any]
) -> OnRamp:
    settings = app.settings
    decoder = app.formats.decoder(*settings.format_of_source(app.line))
    return OnRamp(
        app.bus,
        live_rules,
        settings.strategy,
        app.cluster,
        time.time,
        admission=Admission(agent_loop.work, app.behind),
        epoch=settings.source_epoch,
        tombstones=settings.tombstones(app.line),
        settings=_consumer_settings(settings, SOURCE_FETCH_BYTES, "on-ramp"),
        queue=None if decoder is None else SourceQueue(decoder),
        is_open=partitions.reaches,
        **reading,
    )


def _gateway(app: LineApp, partitions: PartitionWatch) -> SourceGateway | None:
    queue = app.line.options.queue
    if queue is None or not app.role.plays(ON_RAMP) or app.settings.end_topics != "named":
        return None
    topic = KafkaSourceTopic(
        app.bus_producer,
        app.cluster,
        app.line_topics.source,
        lambda: partitions.partitions,
        lambda: app.bus.limits.message_bytes // 2,  # those of the line hold twice what the source does
    )
    return SourceGateway(queue, topic)


def _replay_runner(app: LineApp, live_rules: LiveRules) -> ReplayRunner:
    return ReplayRunner(
        app.bus,
        app.desk,
        app.job_board,
        lambda: str(app.conf.canonical_url),
        lambda: app.outcomes_epoch,
        lambda: live_rules.rule_tables,
        partial(read_again, app.settings, app.line),
        app.foreign_desks,
        app.line.services,
    )


def _ticker(app: LineApp, live_rules: LiveRules) -> Ticker:
    return Ticker(
        app.bus,
        live_rules,
        app.settings.strategy,
        app.line.options.made_schedules(),
        TopicTail(app.cluster, app.line_topics.schedules),
        lambda: app.outcomes_epoch,
        time.time,
        app.foreign,
    )


def _formatted_ends(app: LineApp) -> FormattedEnds | None:
    """Return what writes delivered records; None if all of them are JSON."""
    formats = app.settings.end_formats(app.line)
    made = {
        end: app.formats.encoder(chosen, app.line_topics.end(end))
        for end, chosen in formats.items()
        if chosen.name != PACKED
    }
    encoders = {end: encoder for end, encoder in made.items() if encoder is not None}
    return FormattedEnds(encoders, lambda: app.bus.limits.message_bytes) if encoders else None


def _waiting_rooms(app: LineApp, reading: dict[str, Any]) -> WaitingRooms:
    config = _consumer_settings(app.settings, FETCH_BYTES, "waiting-rooms")
    return WaitingRooms(app.bus, app.cluster, time.time, settings=config, **reading)


def _consumer_settings(settings: Settings, fetch_bytes: int, group: str) -> dict[str, Any]:
    """Return configuration of librdkafka for a member of a group; `group` distinguishes the groups of a worker."""
    session = settings.broker_session_timeout
    config: dict[str, Any] = {
        "fetch.wait.max.ms": _milliseconds(settings.fetch_wait),
        "fetch.message.max.bytes": fetch_bytes,
        "queued.max.messages.kbytes": QUEUED_KBYTES,
        "fetch.queue.backoff.ms": _milliseconds(FULL_SECONDS),
        "session.timeout.ms": _milliseconds(session),
        "max.poll.interval.ms": _milliseconds(max(settings.broker_rebalance_timeout, session)),
        "heartbeat.interval.ms": _milliseconds(settings.broker_heartbeat_interval),
        "check.crcs": True,
        "topic.metadata.refresh.interval.ms": _milliseconds(METADATA_SECONDS),
    }
    if instance := _instance(settings, group):
        config["group.instance.id"] = instance
    return config


def _instance(settings: Settings, group: str) -> str | None:
    """Return the name of this worker in a group, for static membership; None without one."""
    return f"{settings.broker_instance_id}.{group}" if settings.broker_instance_id else None


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
