"""The lookups of the line flights, whose columns have the names under which services add them to records."""

from __future__ import annotations

from collections.abc import Iterator

from metroline import lookup_table
from metroline.agents.lines.flights.dataset import path_of, rows
from metroline.agents.services.service import Record


@lookup_table("flights.airlines", key="carrier", data=lambda: [path_of("airlines.csv")])
def airlines() -> Iterator[Record]:
    """Yield the name of each airline."""
    for row in rows("airlines.csv"):
        yield {"carrier": row["carrier"], "carrier_name": row["name"]}


@lookup_table("flights.airports", key="faa", value="name", data=lambda: [path_of("airports.csv")])
def airports() -> Iterator[Record]:
    """Yield the name of each airport."""
    yield from rows("airports.csv")


@lookup_table("flights.planes", key="tailnum", data=lambda: [path_of("planes.csv")])
def planes() -> Iterator[Record]:
    """Yield the maker, model, year and seats of each aircraft."""
    for row in rows("planes.csv"):
        yield {
            "tailnum": row["tailnum"],
            "aircraft_maker": row["manufacturer"],
            "aircraft_model": row["model"],
            "aircraft_year": row["year"],
            "aircraft_seats": row["seats"],
        }


@lookup_table("flights.weather", key="hour_there", data=lambda: [path_of("weather.csv")])
def weather() -> Iterator[Record]:
    """Yield the weather at each airport in each hour."""
    seen = ("temp", "wind_speed", "wind_gust", "precip", "visib")
    for row in rows("weather.csv"):
        yield {"hour_there": hour_there(row["origin"], row["time_hour"]), **{name: row[name] for name in seen}}


def hour_there(origin: str, hour: str) -> str:
    """Return the key of the weather at an airport in an hour."""
    return f"{origin} {hour}"
