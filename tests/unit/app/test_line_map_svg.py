"""The drawn map of a line: its stations, sections and numbers match the rules and the records, and nothing overlaps."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metroline.app.line_map.svg import draw
from metroline.routing.outcome import Ending
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable
from tests.support.worlds import examples

SVG = "{http://www.w3.org/2000/svg}"
MAIL = """
[[rules]]
name = "alerts need a contact"
after = "source"
match = { kind = "alert" }
to = "contact"
[[rules]]
after = "source"
drop = "no alert"
[[rules]]
after = "contact"
to = "mail"
"""
FIFTEEN = [f"station_{number:02}" for number in range(15)]


def network(text: str) -> Network:
    return Network.of(RulesTable.parse(text))


def rules(*ways: tuple[str, str | None]) -> Network:
    """Return a network with one rule for each section; a section to None is a drop."""
    lines = [f'[[rules]]\nafter = "{after}"\nwhen = "n > {number}"\n' for number, (after, _) in enumerate(ways)]
    ends = [f'to = "{to}"\n' if to else 'drop = "because"\n' for _, to in ways]
    return network("".join(line + end for line, end in zip(lines, ends, strict=True)))


def outcomes(delivered: int = 0, dropped: int = 0, dead: int = 0) -> dict[Ending, int]:
    return {Ending.DELIVERED: delivered, Ending.DROPPED: dropped, Ending.DEAD: dead}


Routes = dict[str, dict[Ending, int]]
"""Outcomes by route; a route is written as `a>b>c`."""


@dataclass(frozen=True)
class Box:
    what: str
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        apart_sideways = self.right <= other.left or other.right <= self.left
        return not (apart_sideways or self.bottom <= other.top or other.bottom <= self.top)


class Map:
    """A drawn map as a reader sees it."""

    def __init__(self, network: Network, traffic: Routes) -> None:
        self.svg = draw(network, {tuple(filter(None, route.split(">"))): ended for route, ended in traffic.items()})
        self.root = ET.fromstring(self.svg)
        groups = [each for each in self.root.iter(f"{SVG}g") if each.get("class") == "section"]
        self.sections = {(each.get("data-from"), each.get("data-to")): each for each in groups}
        self.texts = [each.text or "" for each in self.root.iter(f"{SVG}text")]
        left, top, width, height = map(float, self.root.get("viewBox", "").split())
        self.frame = Box("the map", left, top, left + width, top + height)

    def records(self, start: str, end: str) -> int:
        return int(self.sections[start, end].get("data-records", ""))

    def lines(self, start: str, end: str) -> list[ET.Element]:
        return [path for path in self.sections[start, end].iter(f"{SVG}path") if path.get("class") != "arrow"]

    def thickness(self, start: str, end: str) -> float:
        return float(self.lines(start, end)[0].get("stroke-width", ""))

    def is_dotted(self, start: str, end: str) -> bool:
        return "idle" in self.lines(start, end)[0].get("class", "")

    def stations(self) -> list[Box]:
        """Return the boxes of the stations, including half of their outline."""
        found = []
        for each in self.root.iter(f"{SVG}rect"):
            if each.get("data-station"):
                x, y, width, height = (float(each.get(name, "")) for name in ("x", "y", "width", "height"))
                name = f"{each.get('data-station')} {each.get('class')}"
                found.append(Box(name, x - 1.5, y - 1.5, x + width + 1.5, y + height + 1.5))
        return found

    def labels(self) -> list[Box]:
        """Return the boxes of names and numbers, in a font of ordinary width."""
        found = []
        for each in self.root.iter(f"{SVG}text"):
            letter, size = (6.2, 11) if each.get("class") == "number" else (7.4, 13)
            width, x, y = letter * len(each.text or ""), float(each.get("x", "")), float(each.get("y", ""))
            x -= width / 2 if each.get("text-anchor") == "middle" else 0
            found.append(Box(each.text or "", x, y - 0.8 * size, x + width, y + 0.1 * size))
        return found

    def level_lines(self) -> list[Box]:
        """Return the horizontal parts of the lines between stations."""
        found = []
        for path in self.root.iter(f"{SVG}path"):
            if path.get("class") in ("under", "arrow"):
                continue
            half, x, y = float(path.get("stroke-width", "")) / 2, 0.0, 0.0
            for command, rest in re.findall(r"([MHVQ])([^MHVQ]*)", path.get("d", "")):
                numbers = [float(number) for number in rest.split()]
                if command == "H":
                    found.append(Box("a line", min(x, numbers[0]), y - half, max(x, numbers[0]), y + half))
                    x = numbers[0]
                elif command == "V":
                    y = numbers[0]
                else:
                    x, y = numbers[-2:]
        return found

    def station(self, name: str) -> Box:
        return next(box for box in self.stations() if box.what.split()[0] == name)


def nothing_overlaps(drawn: Map) -> None:
    boxes = [*drawn.stations(), *drawn.labels()]
    assert not [(one, other) for one, other in combinations(boxes, 2) if one.overlaps(other)]
    assert not [(label, line) for label in drawn.labels() for line in drawn.level_lines() if label.overlaps(line)]
    frame = drawn.frame
    for box in boxes:
        assert frame.left <= box.left, box
        assert box.right <= frame.right, box
        assert frame.top <= box.top, box
        assert box.bottom <= frame.bottom, box


def test_every_stop_and_every_terminal_that_is_reached_is_a_station() -> None:
    drawn = Map(network(MAIL), {"contact>mail": outcomes(delivered=7), "contact": outcomes(dead=2)})
    assert {box.what for box in drawn.stations()} == {
        "source station stop",
        "contact station stop",
        "mail station stop",
        "delivered station delivered",
        "dropped station dropped",
        "dead station dead",
    }


def test_sections_carry_the_records_that_took_them() -> None:
    traffic = {
        "contact>mail": outcomes(delivered=7_000, dead=1),
        "contact": outcomes(dropped=2_000),
        "": outcomes(dropped=900, dead=99),
    }
    drawn = Map(network(MAIL), traffic)
    assert drawn.records("source", "contact") == 9_001
    assert drawn.records("contact", "mail") == 7_001
    assert drawn.records("mail", "delivered") == 7_000
    assert drawn.records("mail", "dead") == 1
    assert drawn.records("contact", "dropped") == 2_000
    assert drawn.records("source", "dropped") == 900
    assert drawn.records("source", "dead") == 99
    assert {"9,001", "7,001", "7,000", "2,000", "900", "99", "1"} <= set(drawn.texts)


def test_terminals_say_how_many_ended_there_and_which_share_that_is() -> None:
    drawn = Map(network(MAIL), {"contact>mail": outcomes(delivered=72), "contact": outcomes(dropped=28)})
    assert {"72 · 72.0 %", "28 · 28.0 %"} <= set(drawn.texts)


def test_the_more_records_the_thicker_and_a_rule_that_none_took_is_thin_and_dotted() -> None:
    drawn = Map(network(MAIL), {"contact>mail": outcomes(delivered=90), "contact": outcomes(dropped=10)})
    assert drawn.thickness("source", "contact") > drawn.thickness("contact", "mail")
    assert drawn.thickness("contact", "mail") > drawn.thickness("contact", "dropped")
    assert drawn.thickness("contact", "dropped") > drawn.thickness("source", "dropped")
    assert drawn.is_dotted("source", "dropped")
    assert not drawn.is_dotted("contact", "dropped")


def test_without_traffic_the_whole_network_is_there_and_dotted() -> None:
    drawn = Map(network(MAIL), {})
    ways = [("source", "contact"), ("source", "dropped"), ("contact", "mail"), ("mail", "delivered")]
    assert set(drawn.sections) == set(ways)
    assert all(drawn.is_dotted(*way) for way in ways)


def test_rules_between_the_same_stops_are_one_section_that_names_them() -> None:
    text = MAIL.replace(
        "[[rules]]", '[[rules]]\nname = "vip"\nafter = "source"\nmatch = {n = 1}\nto = "contact"\n[[rules]]', 1
    )
    drawn = Map(network(text), {"contact>mail": outcomes(delivered=1)})
    titles = [each.text or "" for each in drawn.sections["source", "contact"].iter(f"{SVG}title")]
    assert titles == ["source to contact: 1 record (vip, alerts need a contact)"]


def test_loops_lead_back_over_the_stations_between_with_an_arrow() -> None:
    drawn = Map(
        rules(("source", "a"), ("a", "b"), ("b", "c"), ("c", "a"), ("c", "c"), ("c", "end")),
        {"a>b>c>a>b>c>c>end": outcomes(delivered=5)},
    )
    assert drawn.records("c", "a") == 5
    assert drawn.records("c", "c") == 5
    assert drawn.records("a", "b") == 10
    for loop in (("c", "a"), ("c", "c")):
        assert [path for path in drawn.sections[loop].iter(f"{SVG}path") if path.get("class") == "arrow"]
    assert drawn.station("a").left < drawn.station("b").left < drawn.station("c").left
    nothing_overlaps(drawn)


def test_what_is_ahead_is_further_right() -> None:
    drawn = Map(
        rules(("source", "a"), ("source", "c"), ("a", "b"), ("a", "c"), ("b", "c")), {"a>b>c": outcomes(delivered=1)}
    )
    for start, end in drawn.sections:
        assert drawn.station(str(start)).right < drawn.station(str(end)).left, (start, end)


def test_sections_to_different_stops_turn_at_places_of_their_own() -> None:
    ways = [("source", stop) for stop in FIFTEEN[:6]]
    drawn = Map(rules(*ways), {})
    ends = [drawn.lines(*way)[0].get("d", "") for way in ways]
    turns = [path.split()[-2] for path in ends if "Q" in path]
    assert len(turns) >= 5
    assert len(set(turns)) == len(turns)


def test_fifteen_stops_with_cycles_drops_and_dead_letters_do_not_overlap() -> None:
    ways: list[tuple[str, str | None]] = [("source", FIFTEEN[0])]
    for here, following in pairwise(FIFTEEN):
        ways += [(here, following), (here, None)]
    ways += [(FIFTEEN[6], FIFTEEN[2]), (FIFTEEN[2], FIFTEEN[9]), ("source", FIFTEEN[5]), (FIFTEEN[12], FIFTEEN[12])]
    through = ">".join(FIFTEEN)
    again = ">".join([*FIFTEEN[:7], *FIFTEEN[2:]])
    drawn = Map(
        rules(*ways),
        {
            through: outcomes(delivered=100_000),
            again: outcomes(delivered=10_000),
            ">".join(FIFTEEN[:8]): outcomes(dropped=500, dead=20),
        },
    )
    assert len(drawn.stations()) == 1 + 15 + 3
    assert drawn.records(FIFTEEN[6], FIFTEEN[2]) == 10_000
    nothing_overlaps(drawn)


@st.composite
def lines(draw: st.DrawFn) -> tuple[Network, Routes]:
    """Draw a network of up to 15 stops, with loops and ends anywhere, and records on some of its sections."""
    stops = FIFTEEN[: draw(st.integers(1, 15))]
    ways: list[tuple[str, str | None]] = [("source", stops[0])]
    for after in ("source", *stops):
        ways += [(after, to) for to in draw(st.lists(st.sampled_from([*stops, None]), max_size=4))]
    drawn = rules(*ways)
    traffic: Routes = {}
    for _ in range(draw(st.integers(0, 4))):
        at, route = "source", []
        for choice in draw(st.lists(st.integers(0, 9), max_size=12)):
            onward = [rule.to for rule in drawn.edges.get(at, []) if rule.to]
            if not onward:
                break
            at = onward[choice % len(onward)]
            route.append(at)
        traffic[">".join(route)] = draw(st.builds(outcomes, *[st.integers(0, 900_000)] * 3))
    return drawn, traffic


@examples(60)
@given(lines())
def test_no_line_is_drawn_with_overlaps(line: tuple[Network, Routes]) -> None:
    nothing_overlaps(Map(*line))


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a & b", "quo\"ted'", "bell \\u0007 and escape \\u001b"])
def test_hostile_names_stay_text(name: str) -> None:
    quoted = name.replace('"', '\\"')
    text = f'[[rules]]\nname = "{quoted}"\nafter = "source"\nto = "{quoted}"\n'
    drawn = Map(network(text), {"odd<stop>": outcomes(dead=1)})
    assert "<script" not in drawn.svg
    if "\\u" not in name:
        assert name in drawn.texts
        assert f"({name})" in "".join(each.text or "" for each in drawn.root.iter(f"{SVG}title"))


def test_a_long_name_is_shortened_where_it_is_shown() -> None:
    drawn = Map(rules(("source", "x" * 200)), {})
    assert max(map(len, drawn.texts)) < 40
    nothing_overlaps(drawn)


def test_a_stop_that_is_named_as_a_terminal_is_a_station_of_its_own() -> None:
    drawn = Map(rules(("source", "delivered")), {"delivered": outcomes(delivered=3)})
    assert drawn.records("source", "delivered") == 3
    assert drawn.records("delivered", "delivered") == 3
    assert {box.what for box in drawn.stations() if box.what.startswith("delivered")} == {
        "delivered station stop",
        "delivered station delivered",
    }


def test_a_stop_that_only_records_know_is_drawn() -> None:
    drawn = Map(network(MAIL), {"contact>archive": outcomes(delivered=4)})
    assert drawn.records("contact", "archive") == 4
    nothing_overlaps(drawn)


def test_it_scales_and_is_described_in_words() -> None:
    drawn = Map(network(MAIL), {"contact>mail": outcomes(delivered=1_234)})
    assert drawn.root.get("width") is None
    assert drawn.root.get("role") == "img"
    description = drawn.root.find(f"{SVG}desc")
    assert description is not None
    assert "contact to mail: 1,234 records" in (description.text or "")
    assert "prefers-color-scheme: dark" in drawn.svg
