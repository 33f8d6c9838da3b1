"""Counts records: those that came in, their outcomes, the rules that chose their ways, and the time that they took."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from metroline.routing.addresses import END, SOURCE
from metroline.routing.messages.segment import Segment

MAX_SERIES = 1_000
"""Number of rules, or of outcomes, that are counted separately. Others count together, as `OTHER`."""

OTHER = "other"

TIMED_MOST = 200
"""Number of segments a second, about, of which the times at stops are counted. They say enough about the others."""

JOURNEY_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 86_400.0)
"""Upper bounds of the buckets in which the durations of journeys are counted, in seconds."""

STOP_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3_600.0)
"""Upper bounds of the buckets in which the times at a stop are counted, in seconds."""

Track = tuple[str, str, bool]
"""Two stations that follow each other in a journey, and whether the second one is an ending and not a stop."""

OutcomeLabels = tuple[str, str, str, str]
"""Ending, last stop, cause and end of an outcome.

The cause is empty unless the record is a dead letter, and the end unless it was delivered at another than the default.
"""


class Histogram:
    """Counts values by buckets. Many records with one value cost as much as one."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Take the upper bounds of the buckets, sorted. What is above the last one has a bucket of its own."""
        self.bounds = bounds
        self.sum = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def add(self, value: float, count: int) -> None:
        """Count a value that this number of records share."""
        self._counts[bisect_left(self.bounds, value)] += count
        self.sum += value * count

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of values in each bucket."""
        return tuple(self._counts)

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Yield each upper bound, the last one infinite, with the number of values up to it."""
        return zip((*self.bounds, float("inf")), accumulate(self._counts), strict=True)


@dataclass(slots=True)
class HandlingTime:
    """The calls of the service of one stop."""

    records: int = 0
    """Number of records that it was called for, each attempt counted."""
    seconds: float = 0.0
    """Time that the calls took together."""
    retries: int = 0
    """Number of calls after a failed attempt."""
    waits: int = 0
    """Number of waits that the service asked for."""

    def add(self, records: int, seconds: float, is_retry: bool) -> None:
        """Count calls for records that took some seconds together."""
        self.records += records
        self.seconds += seconds
        self.retries += records if is_retry else 0


@dataclass(slots=True)
class JourneyMetrics:
    """Counts of records and their journeys. They grow from the start of the process, once for each pack of records."""

    entered: int = 0
    """Number of records that were taken from the source."""
    outcomes: Counter[OutcomeLabels] = field(default_factory=Counter)
    """Number of records that were settled."""
    durations: Histogram = field(default_factory=lambda: Histogram(JOURNEY_BOUNDS))
    """Time from the source to the outcome."""
    rule_hits: Counter[str] = field(default_factory=Counter)
    """Number of decisions of each rule, counted when a journey is settled."""
    routes: Counter[tuple[tuple[str, ...], str]] = field(default_factory=Counter)
    """Number of records by the stops that they visited and their ending. Beyond `MAX_SERIES`, tracks are counted."""
    _further_tracks: Counter[Track] = field(default_factory=Counter)
    stop_times: dict[str, Histogram] = field(default_factory=dict)
    """Time from when a stop was chosen until the record was handled there, by stop, counted when a journey is settled.

    Of many journeys a second, some are left out.
    """
    _second: float = 0.0
    _settled_in_second: int = 0
    _timed_every: int = 1
    """One of so many segments is timed."""
    decided: Counter[str] = field(default_factory=Counter)
    """Number of records by the router that decided about them."""
    handling: dict[str, HandlingTime] = field(default_factory=dict)
    """Calls of services, by stop."""

    def settled(self, segment: Segment, now: float) -> None:
        """Count records that have their outcome now, in seconds since the epoch."""
        outcome, count = segment.outcome, len(segment.ids)
        if outcome is None:
            return
        cause = outcome.cause.value if outcome.cause is not None else ""
        end = "" if outcome.end in (None, END) else outcome.detail
        labels = (outcome.ending.value, segment.last_stop, cause, end)
        if labels not in self.outcomes and len(self.outcomes) >= MAX_SERIES:
            labels = (labels[0], OTHER, cause, end)
        self.outcomes[labels] += count
        self.durations.add(max(0.0, now - segment.entered), count)
        for visit in segment.history:
            if visit.rule is not None:
                self._hit(visit.rule, count)
        self._went(segment.stops, outcome.ending.value, count)
        if self._is_timed(now):
            self._time(segment, count)
        if segment.chosen is not None and segment.chosen.rule is not None:
            self._hit(segment.chosen.rule, count)  # the rule that ended the journey

    def at_stop(self, stop: str) -> HandlingTime:
        """Return the handling time of a stop, for it to count."""
        return self.handling.setdefault(stop, HandlingTime())

    def _went(self, stops: tuple[str, ...], ending: str, count: int) -> None:
        route = stops, ending
        if route in self.routes or len(self.routes) < MAX_SERIES:
            self.routes[route] += count
            return
        for track in _tracks_of(*route):
            if track in self._further_tracks or len(self._further_tracks) < MAX_SERIES:
                self._further_tracks[track] += count

    @property
    def tracks(self) -> Counter[Track]:
        """The number of records that went from one station to the next, counted when a journey is settled."""
        counts = self._further_tracks.copy()
        for route, count in self.routes.items():
            for track in _tracks_of(*route):
                counts[track] += count
        return counts

    def _is_timed(self, now: float) -> bool:
        """Return whether this segment is one of those of which the times at stops are counted."""
        if not 0 <= now - self._second < 1:
            self._timed_every = 1 + self._settled_in_second // TIMED_MOST
            self._second, self._settled_in_second = now, 0
        self._settled_in_second += 1
        return self._settled_in_second % self._timed_every == 0

    def _time(self, segment: Segment, count: int) -> None:
        since = segment.entered
        for visit in segment.history:
            times = self.stop_times.get(visit.stop)
            if times is None:
                if len(self.stop_times) >= MAX_SERIES:
                    return
                times = self.stop_times[visit.stop] = Histogram(STOP_BOUNDS)
            times.add(max(0.0, visit.at - since), count)
            since = visit.at

    def _hit(self, rule: str, count: int) -> None:
        known = rule in self.rule_hits or len(self.rule_hits) < MAX_SERIES
        self.rule_hits[rule if known else OTHER] += count


def _tracks_of(stops: tuple[str, ...], ending: str) -> Iterator[Track]:
    """Yield the tracks of a route, in order."""
    before = SOURCE
    for stop in stops:
        yield before, stop, False
        before = stop
    yield before, ending, True
