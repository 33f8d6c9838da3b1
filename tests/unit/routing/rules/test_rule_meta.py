"""Rules that read the metadata of a record's source message."""

from __future__ import annotations

from typing import Any

import pytest

from metroline.routing.errors import ConditionError, InvalidRules
from metroline.routing.messages.metadata import Metadata
from metroline.routing.rules.condition import Condition
from metroline.routing.rules.rule_meta import NO_META, RuleMeta, rule_metas
from metroline.routing.rules.table import RulesTable

ORDER: RuleMeta = (b"eu-7", (("type", b"order"), ("raw", b"\xff"), ("none", None)), 1_700_000_000_500, 1_700_000_060.0)


@pytest.mark.parametrize(
    ("condition", "record", "holds"),
    [
        ('meta.key.startsWith("eu-")', {}, True),
        ('meta.headers["type"] == "order"', {}, True),
        ('meta.headers.type == "order"', {}, True),
        ('meta["headers"]["type"] == "order"', {}, True),
        ('"type" in meta.headers && !("other" in meta.headers)', {}, True),
        ('meta.headers["raw"] == "\ufffd"', {}, True),
        ('meta.headers["none"] == null', {}, True),
        ('meta.headers["other"] == "order"', {}, False),
        ("meta.timestamp == 1700000000.5", {}, True),
        ("meta.timestamp > since", {"since": 1_600_000_000}, True),
        ("meta.timestamp > since", {}, False),
        ("meta.entered - meta.timestamp > 59", {}, True),
        ("meta.entered - meta.timestamp > 60", {}, False),
        ('timestamp(meta.entered) - timestamp(at) > duration("24h")', {"at": "2023-11-13T22:00Z"}, True),
        ('record["meta"] == "a field" && meta.key == "eu-7"', {"meta": "a field"}, True),
        ("items.exists(meta, meta > 1)", {"items": [1, 2]}, True),
    ],
)
def test_a_condition_reads_key_headers_and_timestamp(condition: str, record: dict[str, Any], holds: bool) -> None:
    assert Condition.compile(condition).holds(record, ORDER) is holds


@pytest.mark.parametrize(
    "condition",
    ['meta.key == "a"', 'meta.headers["type"] == "order"', "meta.timestamp > 0", "size(meta.key) > 0"],
)
def test_without_metadata_a_condition_does_not_hold(condition: str) -> None:
    assert Condition.compile(condition).holds({}) is False


def test_metadata_is_no_field_of_the_record_and_only_what_is_read_is_looked_at() -> None:
    read = Condition.compile('meta.headers["type"] == "order" && size > 1')
    assert (read.reads, read.meta) == (frozenset({"size"}), frozenset({"headers"}))
    assert Condition.compile('record["meta"] == 1').meta == frozenset()
    metadata = Metadata((b"a", b"b"), ((("type", b"x"),), None), (1, 2))
    assert rule_metas(metadata, 5.0, 2, read.meta) == [(None, (("type", b"x"),), -1, None), NO_META]
    assert rule_metas(metadata, 5.0, 2, {"entered"}) == [(None, None, -1, 5.0)] * 2
    assert rule_metas(metadata, 5.0, 2, frozenset()) is None
    assert rule_metas(None, 5.0, 2, read.meta) == [NO_META, NO_META]


def test_a_field_that_metadata_does_not_have_is_refused() -> None:
    with pytest.raises(
        ConditionError,
        match=r"meta has no \'source\', only key, headers, timestamp and entered; a field of the record is record",
    ):
        Condition.compile('meta.source == "web"')
    with pytest.raises(InvalidRules, match="meta has no 'source'"):
        RulesTable.parse('[[rules]]\nafter = "source"\nwhen = "meta.source == 1"\nto = "a"\n')


def test_an_object_of_metadata_is_not_iterated_over() -> None:
    with pytest.raises(ConditionError, match=r"exists\(\) goes over a list, not over an object"):
        Condition.compile('meta.headers.exists(name, name == "type")').holds({}, ORDER)


def test_decisions_are_remembered_by_record_and_metadata() -> None:
    table = RulesTable.parse(
        '[[rules]]\nafter = "source"\nwhen = \'meta.key == "a" && n == 1\'\nto = "a"\n\n'
        '[[rules]]\nafter = "source"\nto = "b"\n'
    )
    rules = table.stop_rules("source")
    records = [{"n": 1}, {"n": 1}, {"n": 2}]
    for keys, stops in (((b"a", b"b", b"a"), ["a", "b", "b"]), ((b"b", b"a", b"a"), ["b", "a", "b"])):
        metas = rule_metas(Metadata(keys, None, None), 0.0, 3, rules.meta)
        assert [decision.stop for decision in rules.decide(records, metas)] == stops
        assert [plan.legs[0].stop for plan in table.plans("source", records, metas)] == stops  # type: ignore[union-attr]
    assert not rules.reader.is_blind
