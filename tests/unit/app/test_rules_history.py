"""The differences of versions are counted once, however often these are listed, and a bounded number is remembered."""

from __future__ import annotations

from itertools import pairwise

import pytest

from metroline.agents.tables.publication import Publication
from metroline.app.operations import rules_history
from metroline.app.operations.rules_history import LineCounts, history_of

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
