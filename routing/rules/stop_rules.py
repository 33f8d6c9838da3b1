"""The rules after one stop: their index, their decisions, and a cache of decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product, repeat
from typing import Any, TypeVar, cast

from metroline.routing.addresses import ONLY_END
from metroline.routing.errors import ConditionError
from metroline.routing.messages.itinerary import Decision
from metroline.routing.outcome import DELIVERED, Cause, Outcome
from metroline.routing.records.field_reader import EMPTY_READER, FieldReader
from metroline.routing.records.field_sets import FieldSet, union
from metroline.routing.records.fingerprints import (
    as_sent,
    differs_beyond_floats,
    fingerprints,
    match_key,
    match_keys,
    matches,
)
from metroline.routing.rules.cel.values import Budget
from metroline.routing.rules.condition import MAX_OPERATIONS, Condition
from metroline.routing.rules.rule import Rule, alternatives
from metroline.routing.rules.rule_meta import NO_META, RuleMeta, RuleMetas

MAX_CACHED = 8_192
"""Maximum number of entries in a cache; a full cache is emptied."""


MAX_KEY_CHARACTERS = 512
"""Maximum length of each value in the key of a cached decision, in characters or in bytes of JSON."""


Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A rule with its index among the rules of its stop and the checks that the `match` index cannot make."""

    place: int
    rule: Rule
    condition: Condition | None
    exact: tuple[tuple[str, Any], ...]
    """The `match` fields with integers that the index, which compares numbers as floats, confuses with others."""

    def matches(self, record: dict[str, Any]) -> bool:
        """Return whether the record, which was found in the index, has exactly the integers in `exact`."""
        return all(matches(wanted, record.get(name)) for name, wanted in self.exact)


@dataclass(slots=True)
class StopRules:
    """The rules after one stop, with a hash index of their `match` and a cache of decisions.

    Call `add` for each rule in the order of the table, then `close`, then `decide` as often as needed.
    """

    after: str
    version: int
    ends: frozenset[str] = ONLY_END
    """The names of the line's ends."""
    rules: list[_Compiled] = field(default_factory=list)
    _indexes: dict[tuple[str, ...], dict[tuple[Any, ...], list[_Compiled]]] = field(default_factory=dict)
    _unmatched: list[_Compiled] = field(default_factory=list)
    _match_fields: list[frozenset[str]] = field(default_factory=list)
    """For each rule, the `match` fields of this rule and of all rules before it."""
    _made: dict[tuple[int, FieldSet], Decision] = field(default_factory=dict)
    """Every decision made so far, by the index of its rule and the fields that conditions read."""
    _cache: dict[tuple[Any, ...], Decision] = field(default_factory=dict)
    """Decisions by the fingerprints of the `_key_fields`."""
    reads: FieldSet = frozenset()
    """The fields that the rules of this stop read."""
    meta: frozenset[str] = frozenset()
    """The fields of the metadata that the rules of this stop read."""
    reader: FieldReader = EMPTY_READER
    """Reads those fields from the line of a record."""
    _key_fields: tuple[str, ...] | None = None
    """The fields that make the key of a cached decision; None if decisions depend on the whole record."""
    _direct: dict[Any, Decision] = field(default_factory=dict)
    """All decisions by `match` key, if one look-up is enough to decide."""
    _direct_fields: tuple[str, ...] = ()
    _otherwise: Decision | None = None
    """The decision for a record that is not in `_direct`; None if one look-up is not enough to decide."""

    def add(self, rule: Rule, condition: Condition | None) -> None:
        """Add the next rule in the order of the table."""
        exact = tuple(
            (name, wanted)
            for name, wanted in rule.match.items()
            if any(differs_beyond_floats(value, None) for value in alternatives(wanted))
        )
        compiled = _Compiled(len(self.rules), rule, condition, exact)
        self.rules.append(compiled)
        before = self._match_fields[-1] if self._match_fields else frozenset()
        self._match_fields.append(before if rule.match.keys() <= before else before.union(rule.match))
        if rule.match:
            names = tuple(sorted(rule.match))
            index = self._indexes.setdefault(names, {})
            for values in product(*(alternatives(rule.match[name]) for name in names)):
                fitting = index.setdefault(tuple(map(match_key, values)), [])
                if compiled not in fitting[-1:]:
                    fitting.append(compiled)
        else:
            self._unmatched.append(compiled)

    def close(self) -> None:
        """Prepare for decisions. Called once, after the last `add`."""
        conditions = [compiled.condition for compiled in self.rules if compiled.condition is not None]
        self.reads = union([*self._match_fields[-1:], *(condition.reads for condition in conditions)])
        self.meta = frozenset[str]().union(*(condition.meta for condition in conditions))
        self.reader = FieldReader(self.reads, self.meta)
        if self.reads is not None:
            self._key_fields = tuple(sorted(self.reads))
        if not conditions and len(self._indexes) <= 1 and not any(compiled.exact for compiled in self.rules):
            self._precompute()

    def _precompute(self) -> None:
        """Make all decisions in advance: without conditions and with at most one index, one look-up decides."""
        last = self._unmatched[0].place if self._unmatched else len(self.rules)
        self._otherwise = self._decision(last, frozenset())
        for names, index in self._indexes.items():
            self._direct_fields = names
            for key, fitting in index.items():
                only = key[0] if len(names) == 1 else key
                self._direct[only] = self._decision(min(fitting[0].place, last), frozenset())

    def decide(self, records: Sequence[dict[str, Any]], metas: RuleMetas = None) -> list[Decision]:
        """Return a decision for each record; records with equal values in the fields `reads` get the same decision.

        The rules see each record as it will be decoded from JSON. `metas` is the metadata of the records, which is
        needed only if the rules read it.
        """
        if self._otherwise is not None:
            keys = match_keys(records, self._direct_fields)
            return list(map(self._direct.get, keys, repeat(self._otherwise)))
        if self._key_fields is None:
            every = metas or [NO_META] * len(records)
            return [self._decide(as_sent(record, None), meta) for record, meta in zip(records, every, strict=True)]
        keys = fingerprints(records, self._key_fields)
        if not self.meta:
            return cached(self._cache, keys, lambda at: self._decide(as_sent(records[at], self.reads), NO_META))
        known = metas or [NO_META] * len(records)
        keys = list(zip(keys, known, strict=True))
        return cached(self._cache, keys, lambda at: self._decide(as_sent(records[at], self.reads), known[at]))

    def _decide(self, record: dict[str, Any], meta: RuleMeta) -> Decision:
        budget = Budget(MAX_OPERATIONS)
        tried: list[FieldSet] = []
        for compiled in self._candidates(record):
            if compiled.exact and not compiled.matches(record):
                continue
            condition = compiled.condition
            if condition is not None:
                tried.append(condition.reads)
                try:
                    holds = condition.holds(record, meta, budget)
                except ConditionError as error:
                    return self._error(compiled, str(error), union(tried))
                if not holds:
                    continue
            return self._decision(compiled.place, union(tried))
        return self._decision(len(self.rules), union(tried))

    def _candidates(self, record: dict[str, Any]) -> Iterable[_Compiled]:
        """Return the rules whose `match` may hold for a record, in the order of the table."""
        found = [self._unmatched] if self._unmatched else []
        for names, index in self._indexes.items():
            fitting = index.get(tuple([match_key(record.get(name)) for name in names]))
            if fitting:
                found.append(fitting)
        if len(found) == 1:
            return found[0]
        return sorted((compiled for group in found for compiled in group), key=_place)

    def _reads(self, place: int, looked: FieldSet) -> FieldSet:
        if not self._match_fields:
            return looked
        return union([looked, self._match_fields[min(place, len(self.rules) - 1)]])

    def _decision(self, place: int, looked: FieldSet) -> Decision:
        """Return the decision by the rule at an index, which depends on the fields `looked` and the `match` fields.

        Equal decisions are the same object, so that records with the same decision travel together.
        """
        made = self._made.get((place, looked))
        if made is None:
            reads = self._reads(place, looked)
            if place == len(self.rules):
                made = Decision(None, self._unruled(), None, self.version, reads)
            else:
                rule = self.rules[place].rule
                outcome = self._ended(rule)
                made = Decision(rule.to if outcome is None else None, outcome, rule.name, self.version, reads)
            if len(self._made) >= MAX_CACHED:
                self._made.clear()
            self._made[place, looked] = made
        return made

    def _ended(self, rule: Rule) -> Outcome | None:
        """Return the outcome of the records for which a rule holds; None if it leads to a stop."""
        if rule.drop is not None:
            return Outcome.dropped(rule.drop, rule.name)
        return Outcome.delivered(rule.to, rule.name) if rule.to in self.ends else None

    def _unruled(self) -> Outcome:
        """Return the outcome of the records for which no rule holds."""
        if not self.rules:
            return DELIVERED
        return Outcome.dead(Cause.UNROUTABLE, f"no rule after {self.after} holds")

    def _error(self, compiled: _Compiled, reason: str, looked: FieldSet) -> Decision:
        outcome = Outcome.dead(Cause.RULE_ERROR, f"{compiled.rule.name}: {reason}", compiled.rule.name)
        return Decision(None, outcome, compiled.rule.name, self.version, self._reads(compiled.place, looked))


def _place(compiled: _Compiled) -> int:
    return compiled.place


def cached(cache: dict[Any, Answer], keys: list[Any], answer: Callable[[int], Answer]) -> list[Answer]:
    """Return an answer for each key, from the cache or by calling `answer` with the index of the key."""
    found = list(map(cache.get, keys))
    if all(found):
        return cast("list[Answer]", found)
    answers = []
    for place, key in enumerate(keys):
        known = found[place] or cache.get(key)
        if known is None:
            known = answer(place)
            if _is_short(key):
                if len(cache) >= MAX_CACHED:
                    cache.clear()
                cache[key] = known
        answers.append(known)
    return answers


def _is_short(key: Any) -> bool:
    """Return whether a key is small enough to be cached."""
    if type(key) is tuple:
        return all(map(_is_short, key))
    return type(key) not in (str, bytes) or len(key) <= MAX_KEY_CHARACTERS
