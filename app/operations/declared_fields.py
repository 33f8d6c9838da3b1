"""Compares the fields that rules read with the types that services declare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from metroline.agents.services.service import Service
from metroline.routing.records.json_kinds import Kinds, kind_of
from metroline.routing.records.record_types import RecordType
from metroline.routing.rules.condition import Condition
from metroline.routing.rules.rule import Rule, alternatives
from metroline.routing.rules.table import RulesTable
from metroline.routing.spelling import nearest

NEARLY = 0.8
"""Similarity from which on a name is taken for a misspelt one (`difflib.SequenceMatcher.ratio`)."""

Fields = Mapping[str, Kinds]


def field_warnings(table: RulesTable, services: Mapping[str, Service]) -> Iterator[str]:
    """Yield a warning for each rule that compares a field with a kind of value that a service declares otherwise.

    Yield another one for each field that a rule reads, no service declares, and is nearly spelt as one that is, and for
    each field that a service returns as a kind of value which the next one does not take.
    """
    taken = {stop: _fields(one.types.taken, is_returned=False) for stop, one in services.items() if one.types}
    returned = {stop: _fields(one.types.returned, is_returned=True) for stop, one in services.items() if one.types}
    declared = {name for fields in (*taken.values(), *returned.values()) for name in fields}
    for rule in table.rules:
        yield from _misspelt(rule, declared)
        yield from _other_kinds(rule, f"the service {rule.after!r} returns it as", returned.get(rule.after, {}))
        yield from _other_kinds(rule, f"the service {rule.to!r} takes it as", taken.get(rule.to or "", {}))
        yield from _unfit(rule, returned.get(rule.after, {}), taken.get(rule.to or "", {}))


def _fields(type: RecordType | None, *, is_returned: bool) -> Fields:
    return {} if type is None else type.fields(is_returned=is_returned) or {}


def _misspelt(rule: Rule, declared: set[str]) -> Iterator[str]:
    read = set(rule.match)
    if rule.when is not None:
        read |= Condition.compile(rule.when).reads or set()
    for name in sorted(read - declared):
        if near := nearest(name, declared, NEARLY):
            yield f"rule {rule.name!r} reads {name!r}, which no service of the line declares: is {near!r} meant?"


def _other_kinds(rule: Rule, says: str, fields: Fields) -> Iterator[str]:
    for name, wanted in rule.match.items():
        kinds = fields.get(name)
        given = {kind_of(one) for one in alternatives(wanted)}
        if kinds is not None and given.isdisjoint(kinds):
            yield (
                f"rule {rule.name!r} matches {name!r} with a {' or a '.join(sorted(given))}, but {says} "
                f"{' or '.join(sorted(kinds))}"
            )


def _unfit(rule: Rule, returned: Fields, taken: Fields) -> Iterator[str]:
    for name, kinds in returned.items():
        wanted = taken.get(name)
        if kinds is not None and wanted is not None and kinds.isdisjoint(wanted):
            yield (
                f"rule {rule.name!r} sends what {rule.after!r} returns to {rule.to!r}: the first declares {name!r} as "
                f"{' or '.join(sorted(kinds))}, the second as {' or '.join(sorted(wanted))}"
            )
