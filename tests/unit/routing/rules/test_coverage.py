"""A change after which records become dead letters that had somewhere to go is warned of."""

from __future__ import annotations

import pytest

from metroline.routing.rules.coverage import warnings_of_change
from metroline.routing.rules.table import RulesTable

BASE = """
[[rules]]
after = "source"
to = "ship"
"""
MORE = """
[[rules]]
name = "heavy"
after = "ship"
when = "weight > 5"
to = "crane"
"""
REST = """
[[rules]]
name = "rest"
after = "ship"
to = "end"
"""
LOST = (
    "after 'ship', a record for which none of its rules holds is a dead letter (unroutable) from now on; so far {}: "
    "add a last rule without `match` and `when`"
)


@pytest.mark.parametrize(
    ("before", "after", "warnings"),
    [
        (BASE, BASE + MORE, [LOST.format("it was delivered")]),
        (BASE, BASE + MORE + REST, []),
        (BASE + MORE + REST, BASE + MORE, [LOST.format("the rule 'rest' took it")]),
        (BASE + MORE, BASE + MORE.replace("5", "6"), []),
        (BASE.replace("ship", "price"), BASE + MORE, []),
        (BASE, BASE, []),
        ("no table", BASE + MORE, []),
    ],
)
def test_a_stop_that_no_longer_lets_every_record_go_on_is_warned_of(
    before: str, after: str, warnings: list[str]
) -> None:
    assert list(warnings_of_change(before, RulesTable.parse(after))) == warnings


def test_the_source_may_be_such_a_place_too() -> None:
    [warning] = warnings_of_change(BASE, RulesTable.parse(BASE.replace("to =", "match = { a = 1 }\nto =")))
    assert warning.startswith("after 'source', ")
