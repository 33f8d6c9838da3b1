"""Reads a worker's own counts, those of its metrics, into the figures of its pulse."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from metroline.agents.delivery.entry_counts import EntryCount
from metroline.agents.delivery.journey_metrics import OTHER, JourneyMetrics
from metroline.agents.delivery.metrics import WorkerMetrics
from metroline.agents.kafka.topics import ROUTERS
from metroline.agents.pulses.pulse import (
    MAX_SERIES,
    EndedSum,
    OutcomeSum,
    PartitionSum,
    PlaceFigures,
    RuleSum,
    TrackSum,
)
from metroline.agents.tables.outcome_counts import OutcomeCounts
from metroline.routing.addresses import ARRIVALS, SOURCE, service_address
from metroline.routing.outcome import Ending

PLACES = frozenset({*ROUTERS, ARRIVALS})

PATIENCE = 200.0
"""Sums over the table of outcomes are renewed after this many times the time that they took, so that they take at most
half a percent of a worker's time, however large the table is."""


def places_of(
    metrics: WorkerMetrics,
    waiting: Mapping[str, int],
    oldest: Mapping[str, float],
    paused: Mapping[str, str],
) -> dict[str, PlaceFigures]:
    """Return the figures of each place by address.

    `waiting` are the messages that are not done and `oldest` the ages of the oldest ones, by address; `paused` the
    reasons of stops that are paused, by the stops' names.
    """
    journeys = metrics.journeys
    stops = {service_address(stop): stop for stop in {*journeys.handling, *journeys.stop_times, *paused}}
    places = {}
    for address in {*stops, *waiting, *oldest, *filter(_is_place, metrics.traffic), *metrics.chained}:
        stop = stops.get(address, "")
        sent, chained = metrics.traffic.get(address), metrics.chained.get(address)
        handled, times = journeys.handling.get(stop), journeys.stop_times.get(stop)
        places[address] = PlaceFigures(
            waiting=waiting.get(address, 0),
            oldest=round(oldest.get(address, 0.0), 3),
            messages=metrics.entered if address == SOURCE else sent.messages if sent is not None else 0,
            records=journeys.entered if address == SOURCE else sent.records if sent is not None else 0,
            chained=chained.records if chained is not None else 0,
            handled=handled.records if handled is not None else 0,
            seconds=round(handled.seconds, 6) if handled is not None else 0.0,
            retries=handled.retries if handled is not None else 0,
            waits=handled.waits if handled is not None else 0,
            paused=paused.get(stop, "")[:300],
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
        counts[ending, stop, cause] += count
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
    return tuple(TrackSum(*track, count) for track, count in journeys.tracks.most_common(MAX_SERIES))


def rules_of(journeys: JourneyMetrics) -> tuple[RuleSum, ...]:
    """Return the decisions of each rule, of those that held most."""
    return tuple(RuleSum(rule[:300], count) for rule, count in journeys.rule_hits.most_common(MAX_SERIES))


def sent_of(entered: Mapping[int, EntryCount]) -> tuple[PartitionSum, ...]:
    """Return the records that entered in each partition."""
    return tuple(PartitionSum(partition, one.records, one.since) for partition, one in sorted(entered.items()))


class EndedSums:
    """The sums over the table of outcomes. They are renewed as often as their size allows."""

    def __init__(
        self,
        counts: OutcomeCounts,
        owned: Callable[[], Collection[int]],
        origin: str,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`owned` returns the partitions of this worker; `origin` is that of the records of the source."""
        self._counts = counts
        self._owned = owned
        self._origin = origin
        self._clock = clock
        self._latest: tuple[EndedSum, ...] = ()
        self._due = float("-inf")

    def latest(self) -> tuple[EndedSum, ...]:
        """Return the records with an outcome in each partition of this worker."""
        began = self._clock()
        if began >= self._due:
            self._latest = tuple(self._sums(self._owned()))
            self._due = began + PATIENCE * (self._clock() - began)
        return self._latest

    def _sums(self, owned: Collection[int]) -> Iterable[EndedSum]:
        sums: dict[int, Counter[str]] = {partition: Counter() for partition in sorted(owned)}
        for block in self._counts.blocks(owned):
            if block.origin == self._origin and block.partition in sums:
                sums[block.partition].update(block.by_ending)
                sums[block.partition]["lost"] += block.lost
        for partition, by_ending in sums.items():
            yield EndedSum(
                partition,
                by_ending[Ending.DELIVERED],
                by_ending[Ending.DROPPED],
                by_ending[Ending.DEAD],
                by_ending["lost"],
            )
