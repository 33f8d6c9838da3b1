"""A name that nobody knows is answered with the one that may be meant, in the same words everywhere."""

from __future__ import annotations

import pytest

from metroline.routing.spelling import nearest, suggestion, unknown_key


@pytest.mark.parametrize(
    ("name", "hint"),
    [("wen", "; did you mean 'when'?"), ("droop", "; did you mean 'drop'?"), ("priority", ""), ("", "")],
)
def test_the_most_similar_name_is_suggested_if_there_is_any(name: str, hint: str) -> None:
    assert suggestion(name, {"when", "drop", "to"}) == hint


def test_the_same_suggestion_is_made_in_whatever_order_the_names_come() -> None:
    assert {nearest("shp", names) for names in (["ship", "shop"], ["shop", "ship"])} == {"shop"}


def test_an_unknown_key_is_answered_with_all_keys_in_the_order_of_their_table() -> None:
    assert unknown_key("topik", ["topic", "key"]) == "unknown key; there are topic, key; did you mean 'topic'?"
