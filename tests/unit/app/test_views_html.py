"""HTML of the pages: whatever a record says, it stays text."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metroline.app.markup.html import grid, markup, moment, tag
from metroline.app.markup.times import iso
from metroline.app.views.page import LINKS, frame
from metroline.app.views.tables import journeys, outcomes
from tests.support.table_entries import journey

EVIL = "<script>alert(1)</script>\"'&"


class Reader(HTMLParser):
    """The elements of a document in order, and all its text."""

    def __init__(self, document: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, tag: str, name: str) -> list[str | None]:
        return [attrs[name] for element, attrs in self.elements if element == tag and name in attrs]


@given(st.text(st.characters(exclude_characters="\r\x00", exclude_categories=["C"])))
def test_text_and_attributes_come_out_as_they_went_in(text: str) -> None:
    read = Reader(tag("p", text, title=text))
    assert read.elements == [("p", {"title": text})]
    assert read.text == text


def test_what_is_markup_already_is_not_escaped_again() -> None:
    assert markup([tag("b", "<"), "<", None, 3]) == "<b>&lt;</b>&lt;3"


def test_half_a_character_does_not_break_a_page() -> None:
    assert markup("a\ud800b").encode() == "a\ufffdb".encode()


def test_a_grid_puts_what_is_no_cell_into_one() -> None:
    read = Reader(grid(["Name", "Size#"], [[EVIL, tag("td", 1)], ["<td>", 2]]))
    assert [name for name, _ in read.elements].count("td") == 4
    assert "script" not in [name for name, _ in read.elements]


def test_every_page_links_to_all_others_and_loads_nothing() -> None:
    read = Reader(frame(EVIL, EVIL, "http://here:1", "/table/outcomes/0/source/1/", tag("p", "x")))
    names = [name for name, _ in read.elements]
    assert set(LINKS) <= set(read.attributes("a", "href"))
    assert read.attributes("a", "aria-current") == ["page"]
    assert not {"script", "img", "iframe"} & set(names)
    assert read.attributes("link", "href") == ["data:,"]


@pytest.mark.parametrize("field", ["id", "outcome", "reason", "rule", "record"])
def test_a_journey_with_markup_in_it_shows_it_as_text(field: str) -> None:
    shown = journeys.shown(journey() | {field: EVIL})
    read = Reader(journeys.show({"journeys": [shown]}))
    assert {name for name, _ in read.elements} <= {
        "ol",
        "li",
        "div",
        "span",
        "b",
        "time",
        "details",
        "summary",
        "code",
        "pre",
    }
    titles = [str(title) for title in [*read.attributes("b", "title"), *read.attributes("span", "title")]]
    assert EVIL in read.text or any(EVIL in title for title in titles)


def test_a_journey_names_its_stops_in_order_and_their_rules() -> None:
    read = Reader(journeys.show({"journeys": [journeys.shown(journey(stops=["a", "b"]))]}))
    assert "source → a → b → delivered" in read.text
    assert [str(title).splitlines()[0] for title in read.attributes("span", "title")][1:] == [
        "rule: to a",
        "rule: to b",
    ]


def test_a_record_that_is_json_is_laid_out_and_another_is_shown_as_it_is() -> None:
    laid_out = Reader(journeys.show({"journeys": [journeys.shown(journey() | {"record": '{"a":{"b":"<i>"}}'})]}))
    as_it_is = Reader(journeys.show({"journeys": [journeys.shown(journey() | {"record": '{"a":"<i>'})]}))
    assert '{\n  "a": {\n    "b": "<i>"\n  }\n}' in laid_out.text
    assert '{"a":"<i>' in as_it_is.text


def test_a_drop_whose_reason_is_markup_is_counted_as_text() -> None:
    sums: dict[str, Any] = {"counts": [{"stop": EVIL, "ending": "dropped", "reason": EVIL, "count": 3}], "settled": 3}
    entry = outcomes.show_entry(sums | {"offsets": [0, 9], "messages_in_part": 1})
    assert "script" not in [name for name, _ in Reader(entry).elements]
    assert Reader(entry).text.count(EVIL) == 2


@pytest.mark.parametrize("at", [1e300, -1e300, float("nan"), float("inf"), None])
def test_what_is_no_time_is_said_to_be_none(at: float | None) -> None:
    assert iso(at) is None
    assert "no time" in moment(iso(at))


def test_times_are_in_utc() -> None:
    assert iso(0.0) == "1970-01-01T00:00:00.000Z"
    assert iso(1_700_000_000.5) == "2023-11-14T22:13:20.500Z"
