"""Text and numbers formatted for a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metroline.app.markup.numbers import count, percent
from metroline.app.markup.text import display_width, one_line, shorten
from tests.support.worlds import examples


def test_text_is_one_line_that_a_terminal_does_not_obey() -> None:
    assert one_line("red \x1b[31m\n  alert\x07") == "red \ufffd[31m alert\ufffd"


def test_wide_letters_take_two_columns_and_combining_ones_none() -> None:
    assert display_width("東京") == 4
    assert display_width("e\u0301") == 1


@given(st.text(), st.integers(1, 20))
@examples(100)
def test_text_is_never_wider_than_asked(text: str, width: int) -> None:
    assert display_width(shorten(text, width)) <= width


def test_text_that_fits_stays_whole_and_other_text_ends_in_an_ellipsis() -> None:
    assert shorten("source", 6) == "source"
    assert shorten("sources", 6) == "sourc…"


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (0, 0, "0 %"),
        (0, 9, "0 %"),
        (9, 9, "100 %"),
        (1, 1_000_000, "< 0.1 %"),
        (999_999, 1_000_000, "> 99.9 %"),
        (1, 3, "33.3 %"),
    ],
)
def test_only_nothing_is_0_percent_and_only_all_is_100(part: int, whole: int, shown: str) -> None:
    assert percent(part, whole) == shown


def test_thousands_have_commas() -> None:
    assert count(1_234_567) == "1,234,567"
