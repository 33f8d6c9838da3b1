"""The tests of the line birdstrikes, in memory: no broker is needed. Run them with: python -m pytest"""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from .records import records
from .services import Report, Settings, at_least, clean

LINE = Path(__file__).parent

REPORT = {
    "rownames": 20,
    "opid": "USA",
    "atype": "B-737-300",
    "date": "9/28/1994 0:00:00",
    "state": "NY",
    "species": "GULLS",
    "birds_struck": "1",
}
DAMAGED = REPORT | {"effect": "Engine Shut Down"}


class UnsteadyInspectors:
    """Inspectors whose system is down for the first calls."""

    def __init__(self, failures):
        self.failures = failures

    async def open_case(self, number, aircraft):
        self.failures -= 1
        if self.failures >= 0:
            raise ConnectionError("the inspectors' system is down")
        return f"case {number}"


@pytest.mark.parametrize(("birds", "number"), [("1", 1), ("2-10", 2), ("Over 100", 101), (None, None)])
def test_the_lower_bound_of_a_number_of_birds(birds, number):
    assert at_least(birds) == number


def test_a_report_is_cleaned():
    assert clean(Report("9/28/1994 0:00:00", "GULLS", "11-100")).on == "1994-09-28"


def test_a_date_that_is_none_is_a_dead_letter_without_further_attempts(run_line):
    [journey] = run_line(LINE, REPORT | {"date": "yesterday"})

    assert journey.cause == "service_error"
    assert len(journey.history[0].attempts) == 1


def test_a_report_without_a_species_does_not_fit_the_type(run_line):
    [journey] = run_line(LINE, {"date": "9/28/1994 0:00:00"})

    assert journey.reason == "schema: Report: species: is missing"


def test_the_inspectors_may_be_away_for_a_while(run_line):
    [journey] = run_line(LINE, DAMAGED, resources={"inspectors": UnsteadyInspectors(failures=3)})

    assert journey.end == "serious"
    assert journey.record["inspection"] == "case 20"
    assert journey.waited > 0


def test_reports_are_kept_once(run_line, tmp_path):
    settings = Settings(archive=str(tmp_path / "reports.sqlite"))

    for _ in range(2):
        run_line(LINE, [REPORT, DAMAGED], resources={"settings": settings})

    with closing(sqlite3.connect(settings.archive)) as database:
        kept = database.execute("SELECT day, region, species FROM reports").fetchall()
    assert kept == [("1994-09-28", "Eastern", "GULLS")] * 2


def test_the_strategies_agree_about_real_reports(run_line):
    journeys = run_line(LINE, list(records(10_000, 0))[::20], strategy="all")

    assert {journey.outcome for journey in journeys} == {"delivered", "dropped"}
    assert {journey.end for journey in journeys} == {"end", "serious", "elsewhere", None}
