"""A value that JSON cannot hold is named by its path."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest

from metroline.routing.records.unencodable import MAX_PATH, named

CYCLE: dict[str, Any] = {}
CYCLE["again"] = [CYCLE]


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        ({"n": 1, "price": Decimal(1)}, "price: Type is not JSON serializable: decimal.Decimal"),
        ({"items": [{"price": 1}, {"price": {1}}]}, "items[1].price: Type is not JSON serializable: set"),
        ({"size": (1, 2**64)}, "size[1]: Integer exceeds 64-bit range"),
        ({"order": {1: "a key that is no text"}}, "order: Dict key must be str"),
        ({1: "a key that is no text"}, "Dict key must be str"),
    ],
)
def test_the_path_leads_to_the_first_value_that_cannot_be_encoded(record: dict[Any, Any], shown: str) -> None:
    with pytest.raises(TypeError) as raised:
        orjson.dumps(record)
    assert named(record, str(raised.value)) == shown


def test_a_path_has_an_end() -> None:
    assert named(CYCLE, "too deep").startswith("again[0].again[0]")
    assert len(named({"x" * 1000: {1}}, "")) == MAX_PATH + len(": ")
