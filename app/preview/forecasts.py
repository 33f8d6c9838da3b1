"""Holds what happens after a table was published against the forecast that was published with it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

from msgspec import Meta, Struct

from metroline.agents.tables.forecast import MAX_NAME_CHARACTERS, MAX_NAMES, Forecast
from metroline.app.preview.preview import Preview
from metroline.app.preview.seen import Seen

LEAST = 30
"""Number of journeys from which on shares are compared."""

DEVIATIONS = 4.0
"""Standard deviations by which two shares have to differ."""

TOLERANCE = 0.01
"""Least difference of two shares that counts: traffic is never quite the same."""


class Difference(Struct, frozen=True):
    """A share that is not as it was forecast."""

    what: str
    """An outcome, or `visits of STOP`."""
    forecast: float
    """The share of the journeys, from 0 to 1; visits are for each journey, and may be more."""
    seen: float


class Check(Struct, frozen=True):
    """A forecast beside what was seen since."""

    forecast: Forecast
    seen: int
    """Number of journeys that entered since the table was published."""
    is_enough: bool
    """False if they are too few to be compared."""
    differences: list[Difference]
    """The shares that differ by more than chance explains, the largest difference first."""
    missing: list[str] = []
    """Workers that gave no answer: their journeys are not among those that were seen."""


def forecast_of(preview: Preview) -> Forecast | None:
    """Return the forecast in a preview; None if it saw no journeys."""
    sums = preview.journeys
    if not sums.seen:
        return None
    outcomes = Counter({one.outcome[:MAX_NAME_CHARACTERS]: one.after for one in preview.outcomes})
    visits = Counter({one.stop[:MAX_NAME_CHARACTERS]: one.after for one in preview.load})
    return Forecast(
        sums.seen,
        sums.changed,
        sums.not_decided,
        dict(outcomes.most_common(MAX_NAMES)),
        dict(visits.most_common(MAX_NAMES)),
    )


class Tally(Struct, frozen=True):
    """Journeys that entered since a table was published, counted by their outcomes and by the stops they visited."""

    journeys: Annotated[int, Meta(ge=0)] = 0
    outcomes: dict[str, Annotated[int, Meta(ge=0)]] = {}
    visits: dict[str, Annotated[int, Meta(ge=0)]] = {}

    @classmethod
    def of(cls, published_at: float, journeys: Iterable[Seen]) -> Tally:
        """Count the journeys that entered since a time, in seconds since the epoch."""
        since = [seen for seen in journeys if seen.entered >= published_at]
        visits: Counter[str] = Counter()
        for seen in since:
            visits.update({stop[:MAX_NAME_CHARACTERS] for stop in seen.shape.stops})
        outcomes = Counter(seen.shape.outcome[:MAX_NAME_CHARACTERS] for seen in since)
        return cls(len(since), dict(outcomes), dict(visits))

    @classmethod
    def total(cls, tallies: Iterable[Tally]) -> Tally:
        """Return the sum of tallies."""
        journeys, outcomes, visits = 0, Counter[str](), Counter[str]()
        for one in tallies:
            journeys += one.journeys
            outcomes.update(one.outcomes)
            visits.update(one.visits)
        return cls(journeys, dict(outcomes), dict(visits))


def check(forecast: Forecast, published_at: float, journeys: Iterable[Seen]) -> Check:
    """Compare a forecast with the journeys that entered since it was published, in seconds since the epoch."""
    return compare(forecast, Tally.of(published_at, journeys))


def compare(forecast: Forecast, since: Tally) -> Check:
    """Compare a forecast with the journeys since it was published."""
    if since.journeys < LEAST or forecast.journeys < LEAST:
        return Check(forecast, since.journeys, False, [])
    found = list(_differences("", forecast, since, forecast.outcomes, since.outcomes))
    found += _differences("visits of ", forecast, since, forecast.visits, since.visits)
    return Check(forecast, since.journeys, True, sorted(found, key=_size, reverse=True))


def _differences(
    what: str, forecast: Forecast, since: Tally, told: Mapping[str, int], seen: Mapping[str, int]
) -> Iterator[Difference]:
    """Yield the shares that differ by more than chance explains."""
    for name in told.keys() | seen.keys():
        expected = min(1.0, told.get(name, 0) / forecast.journeys)
        share = min(1.0, seen.get(name, 0) / since.journeys)
        if _differ(expected, share, forecast.journeys, since.journeys):
            yield Difference(f"{what}{name}", expected, share)


def _size(one: Difference) -> tuple[float, str]:
    return abs(one.seen - one.forecast), one.what


def _differ(one: float, other: float, count: int, seen: int) -> bool:
    """Return whether two shares, of this many journeys each, differ by more than chance explains."""
    together = (one * count + other * seen) / (count + seen)
    deviation = math.sqrt(together * (1 - together) * (1 / count + 1 / seen))
    return abs(one - other) > max(TOLERANCE, DEVIATIONS * deviation)
