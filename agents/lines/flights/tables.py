"""Reference tables in memory: the columns that a service adds to a record, by key."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Self

from agents.line import Record
from agents.lines.flights.dataset import rows


@dataclass(frozen=True, slots=True)
class Table:
    """Some columns of a reference table, by key; kept as tuples, which are smaller than dicts."""

    columns: tuple[str, ...]
    entries: dict[tuple[Hashable, ...], tuple[Any, ...]]

    @classmethod
    def load(cls, file: str, key: tuple[str, ...], columns: dict[str, str]) -> Self:
        """Reads `file`; `columns` says which ones and what they are called in a record."""
        entries = {tuple(row[name] for name in key): tuple(row[name] for name in columns) for row in rows(file)}
        return cls(tuple(columns.values()), entries)

    def entry(self, *key: Hashable) -> Record:
        """The columns for this key, by their name in a record; each is None for a key that is not in the table."""
        return dict(zip(self.columns, self.entries.get(key, (None,) * len(self.columns)), strict=True))


AIRLINES = Table.load("airlines.csv", ("carrier",), {"name": "carrier_name"})
AIRPORTS = Table.load("airports.csv", ("faa",), {"name": "dest_name"})
PLANES = Table.load(
    "planes.csv",
    ("tailnum",),
    {"manufacturer": "aircraft_maker", "model": "aircraft_model", "year": "aircraft_year", "seats": "aircraft_seats"},
)
WEATHER = Table.load(
    "weather.csv",
    ("origin", "time_hour"),
    {"temp": "temp", "wind_speed": "wind_speed", "wind_gust": "wind_gust", "precip": "precip", "visib": "visib"},
)
