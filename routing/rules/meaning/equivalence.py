"""Proves that two lists of rules decide alike, whatever the conditions in them mean.

Each condition either holds, does not, or cannot be evaluated. The lists decide alike if they do so for every
combination of these answers with the values that the rules match, and one more value that none of them matches.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from metroline.routing.addresses import END
from metroline.routing.records.fingerprints import differs_beyond_floats, fingerprint, matches
from metroline.routing.rules.rule import Rule, alternatives

MAX_COMBINATIONS = 50_000
"""Number of combinations that are looked at. With more of them, nothing is proven."""

HOLDS, FAILS, UNROUTABLE = "holds", "fails", "unroutable"
ANSWERS = (HOLDS, "does not hold", FAILS)


def meaning(rule: Rule) -> tuple[Any, ...]:
    """Return all of a rule but its name."""
    match = frozenset((name, frozenset(map(fingerprint, alternatives(wanted)))) for name, wanted in rule.match.items())
    return match, rule.when, rule.to, rule.drop


def are_the_same(one: Sequence[Rule], other: Sequence[Rule]) -> bool:
    """Return whether two lists of rules differ in names alone."""
    return list(map(meaning, one)) == list(map(meaning, other))


def decide_alike(one: Sequence[Rule], other: Sequence[Rule]) -> bool:
    """Return True if two lists of rules are proven to decide every record alike; False if it is not known."""
    rules = [*one, *other]
    values: dict[str, dict[Any, Any]] = {}
    for rule in rules:
        for name, wanted in rule.match.items():
            for value in alternatives(wanted):
                if differs_beyond_floats(value, None):
                    return False  # such integers are compared in two steps
                values.setdefault(name, {None: None})[fingerprint(value)] = value
    conditions = list(dict.fromkeys(rule.when for rule in rules if rule.when is not None))
    count = len(ANSWERS) ** len(conditions)
    for own in values.values():
        count *= len(own)
        if count > MAX_COMBINATIONS:
            return False
    if count > MAX_COMBINATIONS:
        return False
    for matched in product(*(own.values() for own in values.values())):
        record = dict(zip(values, matched, strict=True))
        for answers in product(ANSWERS, repeat=len(conditions)):
            told = dict(zip(conditions, answers, strict=True))
            if _verdict(one, record, told) != _verdict(other, record, told):
                return False
    return True


def _verdict(rules: Sequence[Rule], record: dict[str, Any], answers: dict[str, str]) -> Any:
    """Return where a record goes; `answers` are those of the conditions, and None is a value that no rule matches."""
    for rule in rules:
        if not all(record[name] is not None and matches(wanted, record[name]) for name, wanted in rule.match.items()):
            continue
        answer = HOLDS if rule.when is None else answers[rule.when]
        if answer == FAILS:
            return FAILS
        if answer == HOLDS:
            return rule.to, rule.drop
    return UNROUTABLE if rules else (END, None)
