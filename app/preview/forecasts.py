"""Holds what happens after a table was published against the forecast that was published with it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from msgspec import Struct

from metroline.agents.tables.forecast import MAX_NAME_CHARACTERS, MAX_NAMES, Forecast
from metroline.app.preview.preview import Preview
from metroline.app.preview.seen import Seen

SECONDS = 20.0
"""Time that the forecast of a table may take before it is published without one."""

JOURNEYS = 20_000
"""Number of the latest journeys from which a forecast is made."""

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
    """The share of the journeys, from 0 to 1; for visits, of those that come to the stop."""
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


def forecast_of(preview: Preview) -> Forecast | None:
    """Return the forecast in a preview; None if it saw no journeys."""
    sums = preview.journeys
    if not sums.seen:
        return None
    outcomes = Counter({one.outcome[:MAX_NAME_CHARACTERS]: one.after for one in preview.outcomes})
    visits = Counter({one.stop[:MAX_NAME_CHARACTERS]: one.journeys for one in preview.load})
    return Forecast(
        sums.seen,
        sums.changed,
        sums.not_decided,
        dict(outcomes.most_common(MAX_NAMES)),
        dict(visits.most_common(MAX_NAMES)),
    )


def check(forecast: Forecast, published_at: float, journeys: Iterable[Seen]) -> Check:
    """Compare a forecast with the journeys that entered since it was published, in seconds since the epoch."""
    since = [seen for seen in journeys if seen.entered >= published_at]
    if len(since) < LEAST or forecast.journeys < LEAST:
        return Check(forecast, len(since), False, [])
    outcomes = Counter(seen.shape.outcome[:MAX_NAME_CHARACTERS] for seen in since)
    visits: Counter[str] = Counter()
    for seen in since:
        visits.update(set(seen.shape.stops))
    found = [
        Difference(name, told, share)
        for name in outcomes.keys() | forecast.outcomes.keys()
        if _differ(
            told := forecast.outcomes.get(name, 0) / forecast.journeys,
            share := outcomes[name] / len(since),
            forecast.journeys,
            len(since),
        )
    ]
    found += [
        Difference(f"visits of {stop}", told, share)
        for stop in visits.keys() | forecast.visits.keys()
        if _differ(
            told := min(1.0, forecast.visits.get(stop, 0) / forecast.journeys),
            share := visits[stop] / len(since),
            forecast.journeys,
            len(since),
        )
    ]
    return Check(forecast, len(since), True, sorted(found, key=_size, reverse=True))


def _size(one: Difference) -> tuple[float, str]:
    return abs(one.seen - one.forecast), one.what


def _differ(one: float, other: float, count: int, seen: int) -> bool:
    """Return whether two shares, of this many journeys each, differ by more than chance explains."""
    together = (one * count + other * seen) / (count + seen)
    deviation = math.sqrt(together * (1 - together) * (1 / count + 1 / seen))
    return abs(one - other) > max(TOLERANCE, DEVIATIONS * deviation)
