"""The live map: a table gives one picture, whatever its figures say, and there is room for them."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import combinations, pairwise

import pytest

from metroline.app.line_map.graph import Section, Station
from metroline.app.line_map.live_map import live_map
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable
from tests.support.project import ROOT

SVG = "{http://www.w3.org/2000/svg}"

FLIGHTS = ROOT / "agents" / "lines" / "flights" / "routes.toml"
METROBUS = ROOT / "agents" / "lines" / "metrobus" / "routes.toml"

WIDEST = {"waiting": "12,345 wait · 12.5 s ▲", "times": "p50 12.5 s · p99 99.9 s", "ended": "12,345/s"}
"""Figures as wide as they are in a busy line."""


def chain(stops: int) -> str:
    """Return a table of many stops in a row, each of which drops some records, with a loop at each fourth."""
    names = ["source", *(f"stop_number_{number}" for number in range(stops))]
    rules = []
    for number, (after, to) in enumerate(pairwise(names)):
        rules.append(f'[[rules]]\nafter = "{after}"\nwhen = "n == {number}"\ndrop = "no"')
        if number % 4 == 3:
            rules.append(f'[[rules]]\nafter = "{after}"\nwhen = "n > {number}"\nto = "{names[number - 2]}"')
        rules.append(f'[[rules]]\nafter = "{after}"\nto = "{to}"')
    return "\n\n".join(rules)


TABLES = {
    "flights": FLIGHTS.read_text("utf-8"),
    "metrobus": METROBUS.read_text("utf-8"),
    "three": chain(3),
    "forty": chain(40),
}


def network(text: str) -> Network:
    return Network.of(RulesTable.parse(text))


def drawn(text: str, waiting: str = "", rate: str = "") -> str:
    """Return the map with these figures."""

    def of_station(station: Station, line: str) -> str:
        return waiting or WIDEST[line]

    def of_section(section: Section) -> str:
        return rate or "12,345/s"

    return live_map(network(text), of_station, of_section, lambda stop: f"#stop-{stop}")


def without_figures(svg: str) -> str:
    return re.sub(r'(<text class="number"[^>]*>)[^<]*', r"\1", svg)


@pytest.mark.parametrize("name", TABLES)
def test_figures_change_nothing_but_themselves(name: str) -> None:
    idle, busy = drawn(TABLES[name], "0 wait", "0/s"), drawn(TABLES[name])
    assert idle != busy
    assert without_figures(idle) == without_figures(busy)


def test_the_same_table_gives_the_same_picture_in_every_process() -> None:
    program = (
        "import sys; from tests.unit.app.test_line_map_live import TABLES, drawn; "
        "sys.stdout.buffer.write(''.join(map(drawn, TABLES.values())).encode())"
    )
    pictures = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert pictures == {"".join(map(drawn, TABLES.values())).encode()}


@pytest.mark.parametrize("name", TABLES)
def test_every_stop_is_a_link_to_its_panel(name: str) -> None:
    root = ET.fromstring(drawn(TABLES[name]))
    links = {each.get("href") for each in root.iter(f"{SVG}a")}
    assert links == {f"#stop-{stop}" for stop in ("source", *network(TABLES[name]).stops)}


@pytest.mark.parametrize("name", TABLES)
def test_names_and_figures_of_stations_do_not_overlap(name: str) -> None:
    boxes = []
    for each in ET.fromstring(drawn(TABLES[name])).iter(f"{SVG}text"):
        if each.get("text-anchor") != "middle":
            continue
        letter, size = (5.9, 11) if each.get("class") == "number" else (7.4, 13)
        text, x, y = each.text or "", float(each.get("x", "")), float(each.get("y", ""))
        boxes.append((text, x - letter * len(text) / 2, y - 0.8 * size, x + letter * len(text) / 2, y + 0.1 * size))
    overlaps = [
        (one[0], other[0])
        for one, other in combinations(boxes, 2)
        if one[1] < other[3] and other[1] < one[3] and one[2] < other[4] and other[2] < one[4]
    ]
    assert not overlaps


def test_markup_in_a_name_stays_text() -> None:
    text = '[[rules]]\nname = "<b>&"\nafter = "source"\nto = "x"'
    assert "&lt;b&gt;&amp;" in drawn(text)
    assert "<b>" not in drawn(text)
