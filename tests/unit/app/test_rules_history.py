"""The differences of versions are counted once, however often these are listed, and a bounded number is remembered."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from metroline.agents.tables.publication import Publication
from metroline.app.operations import rules_history
from metroline.app.operations.rules_history import LineCounts, history_of, text_difference

TABLES = [f'[[rules]]\nafter = "source"\nto = "price"\n# {number}\n' for number in range(1, 5)]
VERSIONS = [(number, Publication(text, number - 1, "ann", 5.0)) for number, text in enumerate(TABLES, 1)]


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Return the list of the pairs of tables that are compared from now on."""
    pairs: list[tuple[str, str]] = []
    compare = rules_history.text_difference

    def text_difference(before: str, after: str, *names: str) -> list[str]:
        pairs.append((before, after))
        return compare(before, after, *names)

    monkeypatch.setattr(rules_history, "text_difference", text_difference)
    return pairs


def test_versions_are_compared_once(compared: list[tuple[str, str]]) -> None:
    counts = LineCounts()
    first = history_of(VERSIONS, counts)
    assert [(one.version, one.added, one.removed, one.rules) for one in first] == [
        (4, 1, 1, 1),
        (3, 1, 1, 1),
        (2, 1, 1, 1),
        (1, 4, 0, 1),
    ]
    assert history_of(VERSIONS, counts) == first
    assert len(compared) == 4
    history_of([*VERSIONS, (5, Publication(TABLES[0], 4, "ann", 6.0))], counts)
    assert compared[4:] == [(TABLES[3], TABLES[0])]


def test_only_the_latest_results_are_remembered(compared: list[tuple[str, str]]) -> None:
    counts = LineCounts(most=2)
    pairs = list(pairwise(TABLES))
    for pair in (pairs[0], pairs[1], pairs[0], pairs[2], pairs[0], pairs[1]):
        assert counts.changes(*pair) == (1, 1)
    assert compared == [pairs[0], pairs[1], pairs[2], pairs[1]]


def test_a_table_that_is_no_toml_has_no_number_of_rules() -> None:
    assert LineCounts().rules("rules = [") is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a b c d e f g h i j k l", "a b c d e f X h i j k l"),
        ("a b c d e f g h i j k l", "a b c d e f h i j k l"),
        ("a b c d e f g h i j k l", "X a b c d e f g h i j k l Y"),
        ("a b c d e f g h i j k l", "a b c d e X g h i j k l m n o"),
        ("a a a a a a", "a a a a a a a"),
        ("a b", ""),
        ("", "a b"),
        ("a b c d e f g h i j k l m n o p q r s t", "a X c d e f g h i j k l m n o p q r Y t"),
    ],
)
def test_a_difference_leads_from_one_table_to_the_other(
    before: str, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = before.split(), after.split()
    for most in (rules_history.MAX_COMPARED, 0):
        monkeypatch.setattr(rules_history, "MAX_COMPARED", most)
        lines = text_difference("\n".join(old), "\n".join(new), "old", "new")
        assert lines[:2] == ["--- old", "+++ new"]
        assert (applied(lines[2:], old, "-"), applied(lines[2:], new, "+")) == (new, old)
    assert text_difference(before, before, "old", "new") == []


def applied(lines: list[str], known: list[str], sign: str) -> list[str]:
    """Return the other table, from one and the hunks; `sign` is that of the lines of the known one."""
    other, at, left = [], 0, 0
    for line in lines:
        if left == 0 and line.startswith("@@ "):
            start, _, count = re.findall(rf"\{sign}(\d+)(,(\d+))?", line)[0]
            left = int(count or 1) if count != "0" else 0
            begin = int(start) - (left > 0)
            other += known[at:begin]
            at = begin
        elif line[0] == " " or line[0] == sign:
            assert known[at] == line[1:]
            at += 1
            left -= 1
            other += [line[1:]] if line[0] == " " else []
        else:
            other.append(line[1:])
    return other + known[at:]


def test_tables_of_which_every_line_differs_are_replaced_as_a_whole() -> None:
    old, new = (["same", *(f"{mark} {number}" for number in range(12_300)), "same"] for mark in "ab")
    lines = text_difference("\n".join(old), "\n".join(new), "old", "new")
    assert lines[2:4] == ["@@ -1,12302 +1,12302 @@", " same"]
    assert (sum(line[0] == "-" for line in lines[3:]), sum(line[0] == "+" for line in lines[3:])) == (12_300, 12_300)
    assert lines[-1] == " same"
