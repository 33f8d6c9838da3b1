"""Reads a worker's own counts, those of its metrics, into the figures of its pulse."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice

import orjson
from msgspec.structs import replace

from metroline.agents.delivery.entry_counts import EntryCount
from metroline.agents.delivery.journey_metrics import OTHER, JourneyMetrics
from metroline.agents.delivery.metrics import WorkerMetrics
from metroline.agents.kafka.topics import ROUTERS
from metroline.agents.pulses.pulse import (
    MAX_PARTITIONS,
    MAX_PLACES,
    MAX_SERIES,
    EndedSum,
    OutcomeSum,
    PartitionSum,
    PlaceFigures,
    Pulse,
    RuleSum,
    TrackSum,
    as_text,
)
from metroline.agents.services.schedule import schedule_of
from metroline.agents.tables.outcome_counts import OutcomeCounts
from metroline.routing.addresses import ARRIVALS, SOURCE, service_address
from metroline.routing.outcome import Ending

PLACES = frozenset({*ROUTERS, ARRIVALS})

LONG_NAME = 100
"""Number of bytes above which the name of a place or a stop is left out of a pulse that would be too long."""

PATIENCE = 200.0
"""Sums over the table of outcomes are renewed after this many times the processor time that they took, so that they
take at most half a percent of it."""

MAX_PATIENCE_SECONDS = 10.0
"""Time after which they are renewed in any case: figures that are a second old must not contain older ones for long."""


def places_of(
    metrics: WorkerMetrics,
    waiting: Mapping[str, int],
    oldest: Mapping[str, float],
    since: Mapping[str, float],
    paused: Mapping[str, str],
) -> dict[str, PlaceFigures]:
    """Return the figures of each place by address.

    `waiting` are the messages that are not done and `oldest` the ages of the oldest ones, by address; `since` the
    times since which places have been behind; `paused` the reasons of stops that are paused, by the stops' names.
    """
    journeys = metrics.journeys
    stops = {service_address(stop): stop for stop in {*journeys.handling, *journeys.stop_times, *paused}}
    places = {}
    # Those of this worker come first: the others are told as far as there is room.
    addresses = dict.fromkeys((*waiting, *oldest, *stops, *filter(_is_place, metrics.traffic), *metrics.chained))
    for address in islice(addresses, MAX_PLACES):
        stop = stops.get(address, "")
        sent, chained = metrics.traffic.get(address), metrics.chained.get(address)
        handled, times = journeys.handling.get(stop), journeys.stop_times.get(stop)
        places[as_text(address)] = PlaceFigures(
            waiting=waiting.get(address, 0),
            oldest=round(oldest.get(address, 0.0), 3),
            since=round(max(0.0, since.get(address, 0.0)), 3),
            messages=metrics.entered if address == SOURCE else sent.messages if sent is not None else 0,
            records=journeys.entered if address == SOURCE else sent.records if sent is not None else 0,
            chained=chained.records if chained is not None else 0,
            handled=handled.records if handled is not None else 0,
            seconds=round(handled.seconds, 6) if handled is not None else 0.0,
            retries=handled.retries if handled is not None else 0,
            waits=handled.waits if handled is not None else 0,
            paused=as_text(paused.get(stop, "")),
            times=times.counts if times is not None else (),
        )
    return places


def _is_place(address: str) -> bool:
    """Return whether records are handled at an address; ends and waiting rooms are no places in that sense."""
    return address in PLACES or address.startswith(service_address(""))


def outcomes_of(journeys: JourneyMetrics) -> tuple[OutcomeSum, ...]:
    """Return the settled records by ending, last stop and cause."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for (ending, stop, cause, _), count in journeys.outcomes.items():
        counts[as_text(ending), as_text(stop), as_text(cause)] += count
    largest = counts.most_common(MAX_SERIES)
    rest: Counter[str] = Counter()
    for (ending, *_), count in counts.items() if len(counts) > MAX_SERIES else ():
        rest[ending] += count
    for (ending, *_), count in largest if rest else ():
        rest[ending] -= count
    others = [OutcomeSum(ending, OTHER, "", count) for ending, count in rest.items() if count]
    return (*(OutcomeSum(*labels, count) for labels, count in largest), *others)


def tracks_of(journeys: JourneyMetrics) -> tuple[TrackSum, ...]:
    """Return the records on each track, of the busiest ones."""
    counts: Counter[tuple[str, str, bool]] = Counter()
    for (start, end, is_end), count in journeys.tracks.items():
        counts[as_text(start), as_text(end), is_end] += count
    return tuple(TrackSum(*track, count) for track, count in counts.most_common(MAX_SERIES))


def rules_of(journeys: JourneyMetrics) -> tuple[RuleSum, ...]:
    """Return the decisions of each rule, of those that held most."""
    return tuple(RuleSum(as_text(rule), count) for rule, count in journeys.rule_hits.most_common(MAX_SERIES))


def sent_of(entered: Mapping[int, EntryCount]) -> tuple[PartitionSum, ...]:
    """Return the records that entered in each partition."""
    first = sorted(entered.items())[:MAX_PARTITIONS]
    return tuple(PartitionSum(partition, one.records, one.since) for partition, one in first)


def lean(pulse: Pulse) -> Pulse:
    """Return a pulse without what a worker can be watched without: tracks, rules, and places and stops of long names.

    Records name them, so that they can be as many and as long as they like. The sums of the outcomes stay right.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    for one in pulse.outcomes:
        is_short = len(orjson.dumps([one.stop, one.cause])) <= LONG_NAME
        counts[(one.ending, one.stop, one.cause) if is_short else (one.ending, OTHER, "")] += one.count
    return replace(
        pulse,
        places={name: figures for name, figures in pulse.places.items() if len(orjson.dumps(name)) <= LONG_NAME},
        outcomes=tuple(OutcomeSum(*labels, count) for labels, count in counts.items()),
        tracks=(),
        rules=(),
    )


class EndedSums:
    """The sums over the table of outcomes. They are renewed as often as their size allows."""

    def __init__(
        self,
        counts: OutcomeCounts,
        owned: Callable[[], Collection[int]],
        origin: str,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.thread_time,
    ) -> None:
        """`owned` returns the partitions of this worker; `origin` is that of the records of the source.

        `used` returns the processor time of this thread: on a busy machine, all takes longer.
        """
        self._counts = counts
        self._owned = owned
        self._origin = origin
        self._clock = clock
        self._used = used
        self._latest: tuple[EndedSum, ...] = ()
        self.of_schedules: dict[str, Counter[str]] = {}
        """The records of each schedule with an outcome, by ending, as of the latest look."""
        self._summed: frozenset[int] = frozenset()
        """The partitions that are summed up."""
        self._due = float("-inf")

    def latest(self) -> tuple[EndedSum, ...]:
        """Return the records with an outcome in each partition of this worker."""
        now, owned = self._clock(), frozenset(self._owned())
        if now >= self._due or owned != self._summed:
            began = self._used()
            self._latest, self._summed = tuple(self._sums(owned)), owned
            self._due = now + min(MAX_PATIENCE_SECONDS, PATIENCE * (self._used() - began))
        return self._latest

    def _sums(self, owned: Collection[int]) -> Iterable[EndedSum]:
        sums: dict[int, Counter[str]] = {partition: Counter() for partition in sorted(owned)[:MAX_PARTITIONS]}
        schedules: dict[str, Counter[str]] = {}
        for block in self._counts.blocks(owned):
            if block.origin == self._origin and block.partition in sums:
                sums[block.partition].update(block.by_ending)
                sums[block.partition]["lost"] += block.lost
            elif (schedule := schedule_of(block.origin)) is not None:
                schedules.setdefault(schedule, Counter()).update(block.by_ending)
        self.of_schedules = schedules
        for partition, by_ending in sums.items():
            yield EndedSum(
                partition,
                by_ending[Ending.DELIVERED],
                by_ending[Ending.DROPPED],
                by_ending[Ending.DEAD],
                by_ending["lost"],
            )
