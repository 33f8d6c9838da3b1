"""The services of the line flights: they enrich a departure from lookups and decide about claims."""

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
"""The fields that are added to a record if the lookup has no entry for it."""

PARTNERS = frozenset({"9E", "EV", "MQ", "OO", "YV"})
"""Regional carriers, which fly under the name of a larger one. Their claims go to a separate desk."""

SMALL_SEATS = 60
"""An aircraft with fewer seats is small."""

OLD_YEARS = 20
"""An aircraft of this age or more is old."""


@service
def carrier(record: Record) -> Record:
    """Add the name of the airline."""
    record.update(airlines.get(record["carrier"], NO_AIRLINE))
    return record


@service
def aircraft(record: Record) -> Record:
    """Add maker, model, year and seats of the aircraft, which is not registered for one flight in seven."""
    record.update(planes.get(record["tailnum"], NO_AIRCRAFT))
    return record


@service
def weather(record: Record) -> Record:
    """Add the weather at the origin in the hour of the scheduled departure; some hours have no observation."""
    record.update(observations.get(hour_there(record["origin"], record["time_hour"]), NO_WEATHER))
    return record


@service
def cancelled(record: Record) -> Record:
    """Settle a cancelled flight; one without a tail number was cancelled before an aircraft was assigned."""
    assigned = record["tailnum"] is not None
    record["settlement"] = "refund, aircraft withdrawn" if assigned else "refund, no aircraft assigned"
    return record


@service
def claims(record: Record) -> Record:
    """Classify a claim by the cause of the delay, the desk that handles it, and the compensation.

    Data that was not looked up or not found is not considered as a cause. Bad weather waives the claim.
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
    """Add the log line for an operator."""
    where = airports.get(record["dest"]) or record["dest"]
    how = _lateness(record["arr_delay"])
    claim = f", claim at the {record['desk']} desk" if "desk" in record else ""
    record["logged"] = f"{record['carrier_name']} {record['flight']} to {where}: {how}{claim}"
    return record


def _cause(record: Record) -> str:
    if _is_bad_weather(record):
        return "weather"
    year = record.get("aircraft_year")
    if year is not None and record["year"] - year >= OLD_YEARS:
        return "old aircraft"
    return "diversion" if record["arr_delay"] is None else "operations"


def _is_bad_weather(record: Record) -> bool:
    """Return whether visibility was below 2 miles, at least 0.1 inches of rain fell, or gusts exceeded 40 mph."""
    visib, precip, gust = record.get("visib"), record.get("precip"), record.get("wind_gust")
    return (
        (visib is not None and visib < 2) or (precip is not None and precip >= 0.1) or (gust is not None and gust > 40)
    )


def _compensation(delay: int | None, seats: int | None) -> int:
    """Return the compensation in dollars; half of it for a small aircraft.

    `delay` is in minutes; None if the flight did not arrive as planned.
    """
    full = 400 if delay is None or delay >= 180 else 200 if delay >= 60 else 50
    return full // 2 if seats is not None and seats < SMALL_SEATS else full


def _lateness(delay: int | None) -> str:
    if delay is None:
        return "diverted"
    return f"{delay} min late" if delay > 0 else "on time"
