"""Stored blocks and journeys that others wrote are refused, whatever they are; those of the line are not."""

from __future__ import annotations

import os
from random import Random
from typing import Any

import orjson
import pytest

from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.block_checks import check_block, check_journeys
from metroline.routing.journeys.settlement import BLOCK_OFFSETS, SettledBlock, outcome_key
from metroline.routing.outcome import Cause, Outcome
from tests.support.mutants import mutated
from tests.support.table_entries import block, journey

KEY = "0/source/0"


def full() -> dict[str, Any]:
    """Return a block with something of everything."""
    made = SettledBlock()
    dead = Outcome.dead(Cause.UNROUTABLE, "no")
    made.settle([1, 2, 3], outcome_key("a", dead), 3)
    made.settle([(7, 0, 3), (7, 2, 3)], outcome_key("a", dead), 3)
    made.reopen([1], outcome_key("a", dead), 0)
    made.lose(range(100, 200))
    return made.encode()


@pytest.mark.parametrize("data", [block(), block(5, 2, 1), full(), full() | {"epoch": 7}])
def test_what_workers_write_is_a_block(data: dict[str, Any]) -> None:
    check_block(KEY, orjson.loads(orjson.dumps(data)))
    check_block("12/source-3/99999", data)
    check_block("3/stray:service.a/0", data)


def test_a_block_of_an_earlier_version_is_one() -> None:
    check_block(KEY, {name: full()[name] for name in ("whole", "partial", "counts", "hops", "duplicates")})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lost", [[0, 10**18]]),
        ("lost", [[-1, 3]]),
        ("hops", 2**63),
        ("hops", -1),
        ("counts", [["a", "delivered", "", 2**63]]),
        ("counts", [["a", "lost in the post", "", 1]]),
        ("counts", [["a" * 1_000, "delivered", "", 1]]),
        ("partial", {str(BLOCK_OFFSETS): [3, full()["partial"]["7"][1]]}),
        ("partial", {"7": [1, full()["partial"]["7"][1]]}),
        ("partial", {"x": [3, full()["partial"]["7"][1]]}),
        ("whole", "no base64"),
        ("whole", "AAAA"),
        ("dead", None),
        ("generations", [[1, 2]]),
    ],
)
def test_a_block_with_another_value_is_none(name: str, value: object) -> None:
    with pytest.raises(MetrolineError):
        check_block(KEY, full() | {name: value})


@pytest.mark.parametrize(
    "key", ["0/source", "0/source/x", "0/source/-1", "0/source/1e9", "0/a/b/1", "/source/1", "é/s/1"]
)
def test_another_key_is_none_of_a_block(key: str) -> None:
    with pytest.raises(MetrolineError):
        check_block(key, block())


def test_the_latest_journeys_are_checked() -> None:
    good = {"number": 3, "entries": [journey(), journey(1)]}
    check_journeys("0/3", good | {"epoch": 1})
    broken = [("0/3", {}), ("0/3", good | {"number": "3"}), ("0/3", good | {"entries": [{}]}), ("0/300", good)]
    for key, data in broken:
        with pytest.raises(MetrolineError):
            check_journeys(key, data)


def test_whatever_is_changed_in_a_block_it_is_one_that_can_be_used_or_is_refused() -> None:
    seed = int(os.environ.get("SEED", "3"))
    random, good, refused = Random(seed), orjson.dumps(full()), 0
    for _ in range(3_000):
        try:
            data = orjson.loads(mutated(random, good))
            assert isinstance(data, dict)
        except (ValueError, AssertionError):
            continue
        try:
            check_block(KEY, data)
        except MetrolineError:
            refused += 1
            continue
        made = SettledBlock.decode(data)
        made.settle([BLOCK_OFFSETS - 1], ("a", "delivered", ""), 1)
        orjson.dumps(made.encode())
    assert refused > 300, f"SEED={seed}"
