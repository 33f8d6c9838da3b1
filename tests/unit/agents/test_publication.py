"""A publication keeps who published a table, when and why; those that earlier versions wrote have no reason."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from metroline.agents.tables.forecast import Forecast
from metroline.agents.tables.publication import MAX_REASON, NotAPublication, Publication

WRITTEN = {"rules": "[[rules]]", "replaces": 3, "by": "me", "at": 5.0}


def decoded(**more: Any) -> Publication:
    return Publication.decode(orjson.dumps(WRITTEN | more))


def test_the_reason_is_kept() -> None:
    one = Publication("[[rules]]", 3, "me", 5.0, "large orders are reviewed")
    assert Publication.of_json(one.as_json()) == one


def test_the_forecast_is_kept() -> None:
    forecast = Forecast(10, 3, 1, {"delivered": 9, "dropped: no": 1}, {"price": 10})
    one = Publication("[[rules]]", 3, "me", 5.0, forecast=forecast)
    assert Publication.of_json(one.as_json()) == one


@pytest.mark.parametrize("forecast", [3, {}, {"journeys": -1}, {"journeys": 1, "outcomes": {"a": "b"}}])
def test_what_is_no_forecast_is_left_out(forecast: Any) -> None:
    assert decoded(forecast=forecast).forecast is None


def test_a_publication_without_a_reason_is_written_as_it_always_was() -> None:
    assert Publication("[[rules]]", 3, "me", 5.0).as_json() == WRITTEN
    assert decoded().reason == ""


def test_a_reason_that_is_too_long_is_cut() -> None:
    assert decoded(reason="a" * (MAX_REASON + 1)).reason == "a" * MAX_REASON


@pytest.mark.parametrize("reason", [None, 3, ["why"]])
def test_a_reason_that_is_no_text_makes_no_publication(reason: Any) -> None:
    with pytest.raises(NotAPublication):
        decoded(reason=reason)


@pytest.mark.parametrize("value", [b"[]", b"3", b"null", b'"text"', b"{", None])
def test_what_is_no_object_is_no_publication(value: bytes | None) -> None:
    with pytest.raises(NotAPublication):
        Publication.decode(value)
