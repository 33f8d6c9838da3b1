"""Conditions of rules, written in CEL, the Common Expression Language (https://github.com/google/cel-spec).

A condition of a table is compiled once. Where it leaves CEL's letter, because records are JSON, is in docs/rules.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from metroline.routing.errors import ConditionError
from metroline.routing.records.field_sets import FieldSet
from metroline.routing.rules.cel.checks import Impossible, check
from metroline.routing.rules.cel.complaints import impossible, syntax_error
from metroline.routing.rules.cel.evaluation import Program
from metroline.routing.rules.cel.reading import Path, Reads
from metroline.routing.rules.cel.syntax_tree import parse
from metroline.routing.rules.cel.values import Budget, NullMet, OverBudget, Wrong, kind_of
from metroline.routing.rules.rule_meta import NO_META, RuleMeta, as_variable

MAX_CONDITION_CHARACTERS = 100_000
"""Maximum number of characters in a condition; enough for a list of some thousand values."""

LONG_CHARACTERS = 2_000
"""Number of characters above which a condition is long."""

MAX_REMEMBERED, MAX_LONG_REMEMBERED = 4_096, 16
"""Number of compiled conditions that are remembered, and of long ones: a draft may hold many that are never used."""

MAX_OPERATIONS = 500_000
"""Number of operations that deciding where one record goes after a stop may take: about a tenth of a second."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition."""

    text: str
    program: Program
    reads: FieldSet
    """The top-level fields on which the result depends; None for the whole record."""
    meta: frozenset[str]
    """The fields of `meta`, the metadata of the record, on which the result depends."""
    paths: tuple[Path, ...]
    """The paths of all values read, including nested ones."""

    @classmethod
    def compile(cls, text: str) -> Condition:
        """Return the compiled condition; raise `ConditionError` if it is not valid or can never work.

        It is remembered: the versions of a table have most conditions in common.
        """
        return _remembered(text) if len(text) <= LONG_CHARACTERS else _long_remembered(text)

    @classmethod
    def compile_once(cls, text: str) -> Condition:
        """Return the compiled condition as `compile` does, without remembering it: one of a query is used once."""
        if len(text) > MAX_CONDITION_CHARACTERS:
            limit = f"at most {MAX_CONDITION_CHARACTERS} are allowed"
            raise ConditionError(f"the condition is {len(text)} characters long; {limit}")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ConditionError("the condition has a character that cannot be encoded as UTF-8") from None
        if not text.strip():
            raise ConditionError("the condition is empty: leave out `when`, or write one")
        try:
            root = parse(text)
            check(root)
        except ValueError as error:
            raise syntax_error(text, str(error)) from error
        except Impossible as problem:
            raise impossible(text, problem) from None
        reads = Reads.of(root)
        if not (reads.fields or reads.whole or reads.meta):
            same = "the condition reads nothing of a record, so it is the same for all"
            raise ConditionError(f"{same}: leave out `when`, or the rule")
        fields = None if reads.whole else frozenset(reads.fields)
        return cls(text, Program.of(root), fields, frozenset(reads.meta), tuple(reads.paths))

    def holds(self, record: dict[str, Any], meta: RuleMeta = NO_META, budget: Budget | None = None) -> bool:
        """Return whether the condition holds for a record; raise `ConditionError` if it cannot be decided.

        A condition whose answer is null does not hold, nor does one that needs another value where null stands.
        `budget` is what is left of the operations for the record.
        """
        known = as_variable(meta) if self.meta else {}
        try:
            answer = self.program.evaluate(record, known, budget or Budget(MAX_OPERATIONS))
        except NullMet:
            return False
        except Wrong as error:
            raise ConditionError(str(error)) from None
        except OverBudget:
            limit = f"deciding about this record takes more than {MAX_OPERATIONS:,} operations"
            raise ConditionError(f"over budget: {limit}") from None
        except RecursionError:
            raise ConditionError("a value is nested too deeply to be compared") from None
        except Exception as error:
            raise ConditionError(f"the condition failed: {type(error).__name__}: {error}") from error
        if answer is True or answer is False:
            return answer
        if answer is None:
            return False
        raise ConditionError(f"the condition is {kind_of(answer)}, not true or false")


_remembered = lru_cache(MAX_REMEMBERED)(Condition.compile_once)
_long_remembered = lru_cache(MAX_LONG_REMEMBERED)(Condition.compile_once)
