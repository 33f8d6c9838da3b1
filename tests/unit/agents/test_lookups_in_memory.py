"""Lookups in memory answer as lookups on disk do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metroline.agents.lookups import lookup
from metroline.agents.lookups.errors import InvalidLookup, LookupMissing
from metroline.agents.lookups.in_memory import lookups_in_memory


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a folder without lookups."""
    monkeypatch.setenv("LOOKUP_DIR", str(tmp_path))


def test_entries_are_found_by_keys_as_on_disk() -> None:
    names = lookup("names.in-memory")
    with lookups_in_memory({"names.in-memory": {1000: "Ann", "b": {"first": "Bob"}}}):
        assert (names.get("1000"), names[1000], names["b"]) == ("Ann", "Ann", {"first": "Bob"})
        assert names.get(True) is names.get(None) is names.get("") is names.get("\ud800") is None
        assert (len(names), "b" in names, 1.5 in names) == (2, True, False)
        with pytest.raises(KeyError):
            names["c"]


def test_each_value_is_a_new_object() -> None:
    with lookups_in_memory({"names.in-memory": {"b": {"first": "Bob"}}}):
        lookup("names.in-memory")["b"]["first"] = "Bert"
        assert lookup("names.in-memory")["b"] == {"first": "Bob"}


def test_behind_the_block_the_lookup_is_the_one_on_disk_again() -> None:
    with lookups_in_memory({"names.in-memory": {"a": 1}}):
        pass
    with pytest.raises(LookupMissing):
        lookup("names.in-memory").get("a")


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ({1.5: "x"}, "lookup names: the key 1.5 is neither text nor a whole number"),
        ({"a": {1, 2}}, "lookup names: the value of the key 'a' is no JSON"),
        (["a"], r"lookup names: its entries must be a dict, not \['a'\]"),
    ],
)
def test_what_no_lookup_can_hold_is_refused(entries: Any, problem: str) -> None:
    with pytest.raises(InvalidLookup, match=problem), lookups_in_memory({"names": entries}):
        pass
