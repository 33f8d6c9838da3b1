"""Finds values for which a condition holds, or does not, from the values worth trying."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any

from metroline.routing.records.fingerprints import matches
from metroline.routing.rules.cel.evaluation import Program
from metroline.routing.rules.cel.syntax_tree import Call, Comprehension, Macro, Name, Node, walk
from metroline.routing.rules.cel.values import Budget, Undecided
from metroline.routing.rules.meaning.candidates import Candidates
from metroline.routing.rules.meaning.places import ABSENT, Assignment, Scope, element_of, merged, places_in, record_of
from metroline.routing.rules.rule import Rule
from metroline.routing.rules.rule_meta import as_variable

MAX_ANSWERS = 24
"""Number of answers that are kept for each part of a condition."""

MAX_TRIED = 1_500
"""Number of combinations of values that are tried for a part of a condition."""

OPERATIONS = 20_000
"""Budget of operations for one evaluation."""


@dataclass(slots=True)
class Solver:
    """Finds assignments for the conditions of one stop."""

    values: Candidates
    _answers: dict[tuple[int, bool], list[Assignment]] = field(default_factory=dict)

    def rule(self, rule: Rule, root: Node | None, *, holds: bool) -> list[Assignment]:
        """Return assignments for which a rule holds, or does not."""
        key = (id(rule), holds)
        found = self._answers.get(key)
        if found is None:
            answers = self._for_match(rule, holds=holds)
            if root is not None:
                of_condition = self._solve(root, holds, {})
                answers = _all([answers, of_condition]) if holds else _any([answers, of_condition])
            found = self._answers[key] = answers
        return found

    def _for_match(self, rule: Rule, *, holds: bool) -> list[Assignment]:
        fitting = {
            name: [value for value in self.values.get((name,), []) if value is not ABSENT and matches(wanted, value)]
            for name, wanted in rule.match.items()
        }
        if holds:
            choices = product(*([(name, value) for value in values] for name, values in fitting.items()))
            return [{(name,): value for name, value in chosen} for chosen in islice(choices, MAX_ANSWERS)]
        return [
            {(name,): value}
            for name, wanted in rule.match.items()
            for value in self.values.get((name,), [])
            if value is ABSENT or not matches(wanted, value)
        ][:MAX_ANSWERS]

    def _solve(self, node: Node, want: bool, scope: Scope) -> list[Assignment]:
        if isinstance(node, Comprehension) and node.macro in (Macro.EXISTS, Macro.ALL):
            return self._for_elements(node, want, scope)
        if isinstance(node, Call):
            parts = node.arguments
            if node.function in ("_&&_", "_||_"):
                solved = [self._solve(part, want, scope) for part in parts]
                return _all(solved) if want is (node.function == "_&&_") else _any(solved)
            if node.function == "!_":
                return self._solve(parts[0], not want, scope)
            if node.function == "_?_:_":
                return _any(
                    _all([self._solve(parts[0], is_first, scope), self._solve(part, want, scope)])
                    for is_first, part in ((True, parts[1]), (False, parts[2]))
                )
        return self._try(node, want, scope)

    def _for_elements(self, node: Comprehension, want: bool, scope: Scope) -> list[Assignment]:
        element = element_of(node.range, scope)
        if element is None or node.predicate is None:
            return self._try(node, want, scope)
        inside = self._solve(node.predicate, want, {**scope, node.variable: element})
        if isinstance(node.range, Comprehension) and node.range.macro is Macro.FILTER and node.range.predicate:
            kept = self._solve(node.range.predicate, True, {**scope, node.range.variable: element})
            inside = _all([inside, kept])
        empty: list[Assignment] = [{over: []} for over in places_in(node.range, scope)]
        return inside if want is (node.macro is Macro.EXISTS) else _any([empty, inside])

    def _try(self, node: Node, want: bool, scope: Scope) -> list[Assignment]:
        """Try values for a part that combines no others; those for which it has no value come last."""
        places = list(dict.fromkeys(places_in(node, scope)))
        is_open = any(isinstance(part, Name) and part.name in scope for part in walk(node))
        program = None if is_open else Program.of(node)
        sure: list[Assignment] = []
        unsure: list[Assignment] = []
        for values in islice(product(*(self.values.get(place, [ABSENT]) for place in places)), MAX_TRIED):
            assignment = dict(zip(places, values, strict=True))
            answer = None if program is None else _answer(program, assignment)
            if answer is want:
                sure.append(assignment)
            elif answer is None and (is_open or not want):
                unsure.append(assignment)
            if len(sure) >= MAX_ANSWERS:
                break
        return [*sure, *unsure][:MAX_ANSWERS]


def _answer(program: Program, assignment: Assignment) -> Any:
    """Return the value of a part of a condition; None if it has none."""
    made = record_of(assignment)
    if made is None:
        return None
    record, meta = made
    try:
        return program.evaluate(record, as_variable(meta), Budget(OPERATIONS))
    except Undecided:
        return None
    except Exception:  # noqa: BLE001 - such as a number that is no date: the table itself decides about the record
        return None


def _any(answers: Iterable[Sequence[Assignment]]) -> list[Assignment]:
    """Return answers of each, in turns."""
    return list(islice(_in_turns([*answers]), MAX_ANSWERS))


def _in_turns(answers: Sequence[Sequence[Assignment]]) -> Iterator[Assignment]:
    for place in range(max(map(len, answers), default=0)):
        yield from (some[place] for some in answers if place < len(some))


def _all(answers: Iterable[Sequence[Assignment]]) -> list[Assignment]:
    """Return answers that hold for all of them together."""
    together: list[Assignment] = [{}]
    for some in answers:
        both = (merged(one, other) for other in some for one in together)
        together = list(islice((one for one in both if one is not None), MAX_ANSWERS))
    return together
