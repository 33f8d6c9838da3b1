"""Versions of the rules are decoded when they are asked for, once, and a bounded number of them is kept."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import orjson
import pytest

from metroline.agents.tables import publications
from metroline.agents.tables.line_table import LineTable
from metroline.agents.tables.publication import Publication
from metroline.agents.tables.publications import KEPT, Publications


def entry(version: int, text: str = "# {}") -> bytes:
    return orjson.dumps(Publication(text.format(version), version - 1, "ann", 5.0).as_json())


@pytest.fixture
def data() -> dict[bytes, bytes]:
    """Return the entries of a table with more versions than are kept decoded."""
    return {str(version).encode(): entry(version) for version in range(1, KEPT + 11)}


@pytest.fixture
def held(data: dict[bytes, bytes]) -> Publications:
    return Publications(cast(LineTable, SimpleNamespace(data=data)))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list of the versions that are decoded from now on."""
    found: list[int] = []
    read = orjson.loads

    def loads(encoded: bytes) -> object:
        value = read(encoded)
        found.append(value["replaces"] + 1)
        return value

    monkeypatch.setattr(publications, "orjson", SimpleNamespace(loads=loads))
    return found


def test_only_the_versions_that_are_asked_for_are_decoded_and_each_once(held: Publications, decoded: list[int]) -> None:
    newest = KEPT + 10
    for _ in range(3):
        assert list(held.latest(3)) == [newest, newest - 1, newest - 2]
        assert held[newest].text == f"# {newest}"
        assert (held.named("5"), held.named("05"), held.named("99999"), len(held)) == (5, None, None, newest)
        assert 5 in held
        assert held.get(newest + 1) is None
    assert decoded == [newest, newest - 1, newest - 2, 5]


def test_the_versions_that_were_asked_for_last_are_kept(held: Publications, decoded: list[int]) -> None:
    assert [held[version].text for version in held] == [f"# {version}" for version in held]
    decoded.clear()
    assert held[1].by == held[KEPT].by == "ann"
    assert decoded == []
    assert held[KEPT + 1].by == "ann"
    assert decoded == [KEPT + 1]


def test_large_versions_are_kept_up_to_their_bytes(
    held: Publications, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publications, "KEPT_BYTES", 2 * len(entry(9)))
    for version in (7, 8, 9, 8, 9, 7):
        assert held[version].replaces == version - 1
    assert decoded == [7, 8, 9, 7]


def test_a_version_of_a_topic_that_was_created_anew_is_decoded_again(
    held: Publications, data: dict[bytes, bytes]
) -> None:
    assert held[3].text == "# 3"
    data[b"3"] = entry(3, "# another {}")
    assert held[3].text == "# another 3"
    del data[b"3"]
    assert 3 not in held
