"""The figures of a worker in the text format of Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from aiohttp.web import AppKey
from aiohttp.web import Request as AiohttpRequest
from faust import web
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from metroline.agents.gateways.sqs.receiver import SqsReceiver
from metroline.agents.kafka.faust_transport import Consumer
from metroline.agents.tables.outcome_counts import OutcomeCounts
from metroline.app.readiness import conditions
from metroline.app.views.metric_families import counter, counters, gauge, gauges, histogram, one_label, summaries
from metroline.app.views.operation import Operation
from metroline.app.views.view import NOT_STORED, LineView
from metroline.routing.addresses import SWITCH
from metroline.routing.outcome import Ending

if TYPE_CHECKING:
    from metroline.app.line_app import LineApp

MINUTE = 60

REGISTRY = AppKey("registry", CollectorRegistry)
"""The key under which the web application keeps the metrics of its worker."""


class MetricsView(LineView):
    """All metrics of this worker and of its process."""

    api = (Operation("get", "Metrics in the text format of Prometheus", str, media="text/plain"),)

    async def get(self, request: web.Request) -> web.Response:
        body = generate_latest(cast(AiohttpRequest, request).app[REGISTRY])
        return self.bytes(body, headers={**NOT_STORED, "Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


def registry_of(app: LineApp) -> CollectorRegistry:
    """Return the metrics of a worker. Each app has its own, so that one process may hold several."""
    registry = CollectorRegistry()
    registry.register(WorkerCollector(app))
    ProcessCollector(registry=registry)
    return registry


class WorkerCollector(Collector):
    """Reads the figures of a worker when it is asked for them; in between, nothing is done for them."""

    def __init__(self, app: LineApp) -> None:
        self.app = app
        table = app.line_tables.outcomes
        self._counts = None if table is None else OutcomeCounts(table)

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics; those of parts that the worker does not play are left out."""
        yield from self._worker()
        yield from self._source()
        yield from self._journeys()
        yield from self._outcomes()
        yield from self._waiting()
        yield from self._traffic()

    def _worker(self) -> Iterator[Metric]:
        app = self.app
        facts = {"line": app.line.name, "role": app.role.name, "strategy": app.settings.routing_strategy}
        yield InfoMetricFamily("metroline_worker", "The value is always 1", value=facts)
        yield gauge("metroline_rules_version", "Version of the rules table in use, or 0", app.live_rules.version)
        yield gauge("metroline_live_workers", "Live workers of the line", len(app.workers.alive(time.time())))
        unserved = one_label({address: int(is_so) for address, is_so in app.unserved_places().items()})
        yield gauges("metroline_unserved", "1 while no live worker serves a place", ["address"], unserved)
        held = {name: 0 if reason else 1 for name, reason in conditions(app).items()}
        yield gauges("metroline_ready", "1 while this condition holds", ["condition"], one_label(held))
        stalled = len(app.stall_watch.stalled)
        lost = {topic: app.losses.lost[topic] for topic in app.read_topics}
        yield counters("metroline_lost_messages", "Messages deleted before they were read", ["topic"], one_label(lost))
        foreign = one_label(app.foreign.counts)
        yield counters("metroline_foreign_messages", "Messages left out, as not of this line", ["topic"], foreign)
        yield gauge("metroline_stalled_partitions", "Partitions that hold messages and are not read", stalled)

    def _source(self) -> Iterator[Metric]:
        on_ramp, metrics = self.app.on_ramp, self.app.bus.metrics
        if on_ramp is None:
            return
        yield counter("metroline_source_records", "Records taken from the source", metrics.journeys.entered)
        yield counter("metroline_source_messages", "Messages taken from the source", metrics.entered)
        oldest, held_back = metrics.behind_now, on_ramp.admission.held_back
        yield gauge("metroline_source_oldest_waiting_seconds", "Age of the oldest message taken lately", oldest)
        yield counter("metroline_source_held_back_seconds", "Time in which the line was behind", held_back)
        if self.app.gateway is not None and (receiver := self.app.gateway.receiver) is not None:
            yield from _gateway(receiver)

    def _journeys(self) -> Iterator[Metric]:
        journeys = self.app.bus.metrics.journeys
        by_router, replans = one_label(journeys.decided), journeys.decided.get(SWITCH, 0)
        yield counters("metroline_router_records", "Records that a router decided about", ["router"], by_router)
        yield counter("metroline_replans", "Records whose itinerary was stale and was replaced", replans)
        retries = one_label({stop: handled.retries for stop, handled in journeys.handling.items()})
        yield counters("metroline_retries", "Attempts after the first one", ["stop"], retries)
        waits = one_label({stop: handled.waits for stop, handled in journeys.handling.items()})
        yield counters("metroline_waits", "Waits that services asked for", ["stop"], waits)
        yield from self._pauses()
        yield from self._breaks()
        yield summaries("metroline_stop_handling_seconds", "Time of service calls", "stop", journeys.handling)

    def _pauses(self) -> Iterator[Metric]:
        breakers, never = self.app.breakers, dict.fromkeys(self.app.role.stops, 0)
        paused = never | {stop: int(breaker.is_paused) for stop, breaker in breakers.items()}
        yield gauges("metroline_stop_paused", "1 while a stop is paused", ["stop"], one_label(paused))
        pauses = never | {stop: breaker.pauses for stop, breaker in breakers.items()}
        yield counters("metroline_stop_pauses", "Pauses of a stop whose calls failed", ["stop"], one_label(pauses))

    def _breaks(self) -> Iterator[Metric]:
        breaks, broken = self.app.resource_breaks, self.app.broken_resources
        states = one_label({resource: int(resource in broken) for resource in breaks})
        yield gauges("metroline_resource_broken", "1 while a resource is broken", ["resource"], states)
        times = one_label(breaks)
        yield counters("metroline_resource_breaks", "Times that a resource broke", ["resource"], times)

    def _outcomes(self) -> Iterator[Metric]:
        journeys, table = self.app.bus.metrics.journeys, self.app.line_tables.outcomes
        if table is None:
            return
        labels = ["outcome", "stop", "cause", "end"]
        yield counters("metroline_outcomes", "Records by outcome, last stop, cause and end", labels, journeys.outcomes)
        yield histogram("metroline_journey_seconds", "Time from the source to the outcome", journeys.durations)
        hits = one_label(journeys.rule_hits)
        yield counters("metroline_rule_hits", "Decisions by each rule in journeys that ended", ["rule"], hits)
        blocks = self._counts.blocks(self.app.owned_partitions) if self._counts is not None else ()
        dead = sum(block.by_ending.get(Ending.DEAD, 0) for block in blocks)
        yield gauge("metroline_dead_letters", "Dead letters that were neither replayed nor discarded", dead)
        yield from self._schedules()
        if self.app.accounts is not None:
            help = "Records that entered, have no outcome, and are not under way"
            yield gauge("metroline_unaccounted_records", help, self.app.accounts.unaccounted)

    def _schedules(self) -> Iterator[Metric]:
        clocks = self.app.clocks
        last = one_label({one.name: one.last * MINUTE for one in clocks if one.last is not None})
        due = one_label({one.name: one.next * MINUTE for one in clocks if one.next is not None})
        by, prefix = ["schedule"], "metroline_schedule"
        yield gauges(f"{prefix}_last_tick_timestamp_seconds", "Time of the latest tick that entered", by, last)
        yield gauges(f"{prefix}_next_tick_timestamp_seconds", "Time of the tick that is due next", by, due)

    def _waiting(self) -> Iterator[Metric]:
        app, buffers, now = self.app, cast(Consumer, self.app.consumer).buffers, time.time()
        written, held = buffers.oldest(), buffers.held_bytes()
        topics = {address: app.line_topics.at(address) for address in app.agents}
        ages = {address: max(0.0, now - written.get(topic, now)) for address, topic in topics.items()}
        sizes = {address: held.get(topic, 0) for address, topic in topics.items()}
        help = "Age of the oldest message that was fetched and is not done"
        yield gauges("metroline_stop_oldest_waiting_seconds", help, ["address"], one_label(ages))
        help = "Size of the messages that were fetched and are not done"
        yield gauges("metroline_stop_waiting_bytes", help, ["address"], one_label(sizes))

    def _traffic(self) -> Iterator[Metric]:
        sent, chained, by = self.app.bus.metrics.traffic, self.app.bus.metrics.chained, ["address"]
        messages = one_label({address: one.messages for address, one in sent.items()})
        records = one_label({address: one.records for address, one in sent.items()})
        sizes = one_label({address: one.bytes for address, one in sent.items()})
        in_memory = one_label({address: one.records for address, one in chained.items()})
        yield counters("metroline_bus_messages", "Messages written to the bus", by, messages)
        yield counters("metroline_bus_records", "Records written to the bus", by, records)
        yield counters("metroline_bus_bytes", "Bytes written to the bus", by, sizes)
        yield counters("metroline_chained_records", "Records that went on in memory", by, in_memory)


def _gateway(receiver: SqsReceiver) -> Iterator[Metric]:
    """Yield the metrics of the gateway that receives from a queue."""
    counts = receiver.client.counts
    yield counters("metroline_sqs_calls", "Calls of SQS that were answered", ["call"], one_label(counts.calls))
    yield counters("metroline_sqs_failed_calls", "Calls of SQS that failed", ["call"], one_label(counts.failures))
    yield counter("metroline_sqs_billed_calls", "Calls of SQS as billed: one for each chunk of 64 KiB", counts.chunks)
    yield counter("metroline_sqs_messages", "Messages received from SQS", counts.messages)
    yield counter("metroline_sqs_bytes", "Bytes of the messages received from SQS", counts.bytes)
    yield counter("metroline_sqs_repeated_messages", "Messages received that the bus had already", receiver.repeated)
    yield gauge("metroline_sqs_messages_in_hand", "Messages received and not deleted yet", receiver.in_hand)
