"""The services of the line flights: they look up what is known of a departure and settle what follows from it."""

from __future__ import annotations

from metroline import lookup, service
from metroline.agents.lines.flights.lookups import hour_there
from metroline.agents.services.service import Record

airlines = lookup("flights.airlines")
airports = lookup("flights.airports")
planes = lookup("flights.planes")
observations = lookup("flights.weather")

NO_AIRLINE = {"carrier_name": None}
NO_AIRCRAFT = dict.fromkeys(("aircraft_maker", "aircraft_model", "aircraft_year", "aircraft_seats"))
NO_WEATHER = dict.fromkeys(("temp", "wind_speed", "wind_gust", "precip", "visib"))
"""What is added to a record where nothing was found."""

PARTNERS = frozenset({"9E", "EV", "MQ", "OO", "YV"})
"""Regional carriers, which fly under the name of a larger one: their claims go to a desk of their own."""

SMALL = 60  # seats
OLD = 20  # years


@service
def carrier(record: Record) -> Record:
    """Adds the name of the airline."""
    record.update(airlines.get(record["carrier"], NO_AIRLINE))
    return record


@service
def aircraft(record: Record) -> Record:
    """Adds maker, model, year and seats of the aircraft; one flight in seven has one that is not registered."""
    record.update(planes.get(record["tailnum"], NO_AIRCRAFT))
    return record


@service
def weather(record: Record) -> Record:
    """Adds the weather at the origin in the hour of the scheduled departure; some hours were not observed."""
    record.update(observations.get(hour_there(record["origin"], record["time_hour"]), NO_WEATHER))
    return record


@service
def cancelled(record: Record) -> Record:
    """Settles a flight that never departed; one without a tail number was given up before it had an aircraft."""
    assigned = record["tailnum"] is not None
    record["settlement"] = "refund, aircraft withdrawn" if assigned else "refund, no aircraft assigned"
    return record


@service
def claims(record: Record) -> Record:
    """Classifies a claim: what caused the delay, which desk handles it, and what it is worth.

    What was not looked up for this record, or not found, is no cause. Bad weather waives the claim.
    """
    record["cause"] = _cause(record)
    if record["cause"] == "weather":
        record["waived"] = True
        return record
    record["desk"] = "partner" if record["carrier"] in PARTNERS else "carrier"
    record["compensation"] = _compensation(record["arr_delay"], record.get("aircraft_seats"))
    return record


@service
def log(record: Record) -> Record:
    """Adds the line that an operator would read."""
    where = airports.get(record["dest"]) or record["dest"]
    how = _lateness(record["arr_delay"])
    claim = f", claim at the {record['desk']} desk" if "desk" in record else ""
    record["logged"] = f"{record['carrier_name']} {record['flight']} to {where}: {how}{claim}"
    return record


def _cause(record: Record) -> str:
    if _is_bad_weather(record):
        return "weather"
    year = record.get("aircraft_year")
    if year is not None and record["year"] - year >= OLD:
        return "old aircraft"
    return "diversion" if record["arr_delay"] is None else "operations"


def _is_bad_weather(record: Record) -> bool:
    """Whether one could see less than 2 miles, 0.1 inches of rain or more fell in the hour, or gusts passed 40 mph."""
    visib, precip, gust = record.get("visib"), record.get("precip"), record.get("wind_gust")
    return (
        (visib is not None and visib < 2) or (precip is not None and precip >= 0.1) or (gust is not None and gust > 40)
    )


def _compensation(delay: int | None, seats: int | None) -> int:
    """Dollars: by the minutes of delay (None: it never arrived as planned), and half of it in a small aircraft."""
    full = 400 if delay is None or delay >= 180 else 200 if delay >= 60 else 50
    return full // 2 if seats is not None and seats < SMALL else full


def _lateness(delay: int | None) -> str:
    if delay is None:
        return "diverted"
    return f"{delay} min late" if delay > 0 else "on time"
