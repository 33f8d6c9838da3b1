"""Conditions of tables are compiled once, and the memory of them is bounded by their length, too."""

from __future__ import annotations

from metroline.app.operations.journeys.query import Query
from metroline.routing.rules import condition
from metroline.routing.rules.condition import LONG_CHARACTERS, MAX_LONG_REMEMBERED, Condition


def test_conditions_are_compiled_once() -> None:
    assert Condition.compile("amount > 12345") is Condition.compile("amount > 12345")


def test_few_long_conditions_are_remembered() -> None:
    before = condition._remembered.cache_info().currsize
    for number in range(MAX_LONG_REMEMBERED + 5):
        Condition.compile(f"name == '{'x' * LONG_CHARACTERS}{number}'")
    assert condition._remembered.cache_info().currsize == before
    assert condition._long_remembered.cache_info().currsize == MAX_LONG_REMEMBERED


def test_conditions_of_queries_are_not_remembered() -> None:
    before = condition._remembered.cache_info()
    Query.of("journey.replays > 54321")
    assert condition._remembered.cache_info() == before
