"""Generated lines."""

from __future__ import annotations

from pathlib import Path

from benchmarks.systems.made_lines import HARDER, ROUTES, many_routes, passing
from metroline.agents.services.line import Line


def test_made_lines_load_and_their_routes_lead_to_an_end(tmp_path: Path) -> None:
    for line in (passing(12), *(make() for make in HARDER)):
        loaded = Line.load(str(line.write(tmp_path)))
        assert set(line.first_stops) <= loaded.stops
        assert loaded.rules_table().rules
    assert len(ROUTES) == 24
    assert len(many_routes().workload(48).expected.contents) == 48
