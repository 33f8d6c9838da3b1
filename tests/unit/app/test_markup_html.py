"""HTML: text is always escaped before it becomes markup."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metroline.app.markup.html import grid, markup, moment, number, tag
from tests.support.html_reader import HtmlReader
from tests.support.worlds import examples

EVIL = "<script>alert(1)</script>\"'&"


@given(st.text(st.characters(exclude_characters="\r\x00", exclude_categories=["C"])))
@examples(100)
def test_text_and_attributes_come_out_as_they_went_in(text: str) -> None:
    read = HtmlReader(tag("p", text, title=text))
    assert read.elements == [("p", {"title": text})]
    assert read.text == text


def test_what_is_markup_already_is_not_escaped_again() -> None:
    assert markup([tag("b", "<"), "<", None, 3]) == "<b>&lt;</b>&lt;3"


def test_half_a_character_does_not_break_a_page() -> None:
    assert markup("a\ud800b").encode() == "a\ufffdb".encode()


def test_attributes_without_a_value_are_left_out() -> None:
    assert tag("p", class_=None, data_label="x") == '<p data-label="x"></p>'


def test_a_grid_puts_what_is_no_cell_into_one() -> None:
    read = HtmlReader(grid(["Name", "Size#"], [[EVIL, tag("td", 1)], ["<td>", 2]]))
    assert read.names.count("td") == 4
    assert "script" not in read.names


@pytest.mark.parametrize(("value", "shown"), [(1_234, "1,234"), ("< 0.1 %", "< 0.1 %"), (None, "")])
def test_a_number_has_commas_and_what_is_none_stays_empty(value: int | str | None, shown: str) -> None:
    assert HtmlReader(number(value)).text == shown


def test_a_moment_is_readable_and_exact() -> None:
    read = HtmlReader(moment("2023-11-14T22:13:20.500Z"))
    assert read.text == "2023-11-14 22:13:20 UTC"
    assert read.attributes("time", "datetime") == ["2023-11-14T22:13:20.500Z"]
    assert HtmlReader(moment("2023-11-14T22:13:20.500Z", is_precise=True)).text == "2023-11-14 22:13:20.500 UTC"


def test_a_moment_that_is_not_known_says_so() -> None:
    assert moment(None) == "unknown time"
