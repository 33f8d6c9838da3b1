"""The live map: a table gives one picture, whatever its figures say, and there is room for them."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import combinations

import pytest

from metroline.app.line_map.graph import Section, Station, sections_of
from metroline.app.line_map.live_map import Figures, LiveMap
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable
from tests.support.chains import chain
from tests.support.project import ROOT

SVG = "{http://www.w3.org/2000/svg}"

FLIGHTS = ROOT / "agents" / "lines" / "flights" / "routes.toml"
METROBUS = ROOT / "agents" / "lines" / "metrobus" / "routes.toml"

WIDEST = {
    "waiting": "12,345 wait · 12.5 s ▲",
    "times": "p50 12.5 s · p99 99.9 s",
    "losses": "✕ 999k dead · 999k dropped",
    "retries": "999k retries",
    "stale": "since 12:03:07",
    "ended": "12,345/s",
}
"""Figures as wide as they are in a busy line."""


TABLES = {
    "flights": FLIGHTS.read_text("utf-8"),
    "metrobus": METROBUS.read_text("utf-8"),
    "three": chain(3),
    "forty": chain(40),
}


def network(text: str) -> Network:
    return Network.of(RulesTable.parse(text))


def drawn(text: str, waiting: str = "", rate: str = "", train: str = "", *, turned: bool = False) -> str:
    """Return the map with these figures."""

    def of_station(station: Station, line: str) -> str:
        return waiting or WIDEST[line]

    def of_section(section: Section) -> str:
        return rate or "12,345/s"

    def link(section: Section) -> str:
        return f"/rules/#{section.start.name}-{section.end.name}"

    figures = Figures(of_station, of_section, lambda _: train or 'data-on=""', lambda stop: f"#stop-{stop}", link)
    drawn = LiveMap(network(text), figures)
    return drawn.turned() if turned else drawn.wide()


def without_figures(svg: str) -> str:
    return re.sub(r'(<text class="number"[^>]*>)[^<]*', r"\1", re.sub('<g class="train"[^>]*>', "<g>", svg))


FORMS = pytest.mark.parametrize("turned", [False, True], ids=["wide", "turned"])


@FORMS
@pytest.mark.parametrize("name", TABLES)
def test_figures_change_nothing_but_themselves(name: str, turned: bool) -> None:
    idle = drawn(TABLES[name], "0 wait", "0/s", 'data-off=""', turned=turned)
    busy = drawn(TABLES[name], turned=turned)
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
    links = {each.get("href") for each in root.iter(f"{SVG}a") if each.get("class") != "section"}
    assert links == {f"#stop-{stop}" for stop in ("source", *network(TABLES[name]).stops)}


@FORMS
@pytest.mark.parametrize("name", TABLES)
def test_every_track_is_a_link_to_its_rules(name: str, turned: bool) -> None:
    root = ET.fromstring(drawn(TABLES[name], turned=turned))
    links = {each.get("href") for each in root.iter(f"{SVG}a") if each.get("class") == "section"}
    sections = sections_of(network(TABLES[name]), {})
    assert links == {f"/rules/#{section.start.name}-{section.end.name}" for section in sections}


@FORMS
@pytest.mark.parametrize("name", TABLES)
def test_a_train_stands_around_the_lines_to_each_stop(name: str, turned: bool) -> None:
    root = ET.fromstring(drawn(TABLES[name], turned=turned))
    trains = [[path.get("d") for path in each] for each in root.iter(f"{SVG}g") if each.get("class") == "train"]
    assert len(trains) >= len(network(TABLES[name]).stops)
    lines = {path.get("d") for path in root.iter(f"{SVG}path") if path.get("class") == "stop"}
    assert lines
    assert {path for train in trains for path in train} == lines


def straight_lines(root: ET.Element) -> Iterator[tuple[float, float, float, float]]:
    """Yield the boxes of the straight parts of the lines along the direction in which the map reads."""
    for path in root.iter(f"{SVG}path"):
        if path.get("class") in (None, "under", "arrow", "hit"):  # without a class: trains
            continue
        half, x, y = float(path.get("stroke-width", "")) / 2, 0.0, 0.0
        for command, rest in re.findall(r"([MHVQ])([^MHVQ]*)", path.get("d", "")):
            numbers = [float(number) for number in rest.split()]
            before = x, y
            x, y = (
                (numbers[0], y) if command == "H" else (x, numbers[0]) if command == "V" else (numbers[-2], numbers[-1])
            )
            if command in "HV":
                yield (
                    min(x, before[0]) - (half if command == "V" else 0),
                    min(y, before[1]) - (half if command == "H" else 0),
                    max(x, before[0]) + (half if command == "V" else 0),
                    max(y, before[1]) + (half if command == "H" else 0),
                )


@FORMS
@pytest.mark.parametrize("name", TABLES)
def test_names_and_figures_do_not_overlap_and_stand_on_the_map(name: str, turned: bool) -> None:
    root = ET.fromstring(drawn(TABLES[name], turned=turned))
    boxes = []
    for each in root.iter(f"{SVG}text"):
        letter, size = (5.6, 11) if each.get("class") == "number" else (7.4, 13)
        text, x, y = each.text or "", float(each.get("x", "")), float(each.get("y", ""))
        width = letter * len(text)
        x -= {"start": 0.0, "middle": width / 2, "end": width}[each.get("text-anchor", "start")]
        boxes.append((text, x, y - 0.8 * size, x + width, y + 0.1 * size))
    overlaps = [
        (one[0], other[0])
        for one, other in combinations(boxes, 2)
        if one[1] < other[3] and other[1] < one[3] and one[2] < other[4] and other[2] < one[4]
    ]
    assert not overlaps
    lines = list(straight_lines(root))
    assert lines
    assert not [
        (box[0], line)
        for box in boxes
        for line in lines
        if box[1] < line[2] and line[0] < box[3] and box[2] < line[3] and line[1] < box[4]
    ]
    left, top, width, height = map(float, root.get("viewBox", "").split())
    assert not [box for box in boxes if box[1] < left or box[3] > left + width]
    assert not [box for box in boxes if box[2] < top or box[4] > top + height]


@FORMS
@pytest.mark.parametrize("name", TABLES)
def test_every_line_ends_at_a_station(name: str, turned: bool) -> None:
    root = ET.fromstring(drawn(TABLES[name], turned=turned))
    stations = [
        [float(each.get(key, "")) for key in ("x", "y", "width", "height")]
        for each in root.iter(f"{SVG}rect")
        if "station" in each.get("class", "")
    ]
    begins = [
        tuple(map(float, re.findall(r"-?[0-9.]+", group[1].get("d", ""))[:2]))
        for group in (list(each) for each in root.iter(f"{SVG}a") if each.get("class") == "section")
    ]
    assert begins
    for x, y in begins:
        assert any(left <= x <= left + width and top <= y <= top + height for left, top, width, height in stations)


def test_markup_in_a_name_stays_text() -> None:
    text = '[[rules]]\nname = "<b>&"\nafter = "source"\nto = "x"'
    assert "&lt;b&gt;&amp;" in drawn(text)
    assert "<b>" not in drawn(text)
