"""Reads the rules of a table from TOML and reports all problems at once, each with its line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Set
from typing import Any

from pydantic import ValidationError

from metroline.routing.addresses import ONLY_END
from metroline.routing.errors import ConditionError, ConditionSyntaxError, InvalidRules
from metroline.routing.records.fingerprints import MAX_INTEGER, MIN_INTEGER
from metroline.routing.rules.condition import Condition
from metroline.routing.rules.excerpt import below
from metroline.routing.rules.rule import Rule, alternatives, label_of, label_of_data
from metroline.routing.rules.served_stops import unserved, way_of_data
from metroline.routing.rules.toml_lines import TomlLines, lines_of, place_in_value
from metroline.routing.rules.toml_text import InvalidToml, decode_toml
from metroline.routing.spelling import suggestion, unknown_key

MAX_RULES = 20_000
"""Maximum number of rules in a table."""

MAX_COMBINATIONS = 10_000
"""Maximum number of values that the lists in a `match` allow together. The index has an entry for each."""

MAX_COMBINATIONS_IN_ALL = 100_000
"""Maximum number of entries in the indexes of a table: reading it takes time and memory for each."""

MAX_MATCH_FIELDS = 1_000
"""Maximum number of different fields in the `match` of a table: each rule knows those of all rules before it."""

EXPLAINED = {
    "missing": "is missing",
    "string_type": "must be text",
    "string_too_short": "is empty",
    "model_type": "must be a table",
    "dict_type": "must be a table of fields and their values",
}


class _TomlReader:
    """Reads one table and collects its problems."""

    def __init__(self, text: str, file: str, ends: frozenset[str]) -> None:
        self.text = text
        self.file = file
        self.ends = ends
        self.problems: list[tuple[int, str]] = []

    @property
    def lines(self) -> TomlLines:
        """The line numbers; available once the text is known to be TOML."""
        return lines_of(self.text)

    def problem(self, line: int, what: str, column: int | None = None) -> None:
        """Add a problem in a line and, if it is known, a column, which count from 1."""
        place = f"{line}" if column is None else f"{line}:{column}"
        self.problems.append((line, f"{self.file}:{place}: {what}"))

    def read(self, served: Set[str] | None) -> tuple[tuple[Rule, ...], tuple[Condition | None, ...]]:
        """Return the rules with their compiled conditions; raise `InvalidRules` with every problem."""
        tables = self._tables()
        self._check_names(tables)
        parsed = [self._rule(index, table) for index, table in enumerate(tables)]
        conditions = [None if rule is None else self._condition(index, rule) for index, rule in enumerate(parsed)]
        self._check_reach(parsed)
        self._check_matches(parsed)
        if not tables and not self.problems:
            self.problem(1, 'there are no rules: add a [[rules]] with after = "source"')
        if self.problems:
            self._check_served(tables, served)
            raise InvalidRules(tuple(text for _, text in sorted(self.problems, key=lambda problem: problem[0])))
        return tuple(rule for rule in parsed if rule is not None), tuple(conditions)

    def _tables(self) -> list[Any]:
        try:
            data = decode_toml(self.text)
        except InvalidToml as error:
            self.problem(error.line, f"{error}{error.shown}", error.column)
            return []
        for key in data:
            if key != "rules":
                hint = suggestion(key, ["rules"])
                self.problem(self.lines.of_key(key), f"unknown key {key!r}: a rules table has only [[rules]]{hint}")
        tables = data.get("rules", [])
        if not isinstance(tables, list):
            self.problem(self.lines.of_key("rules"), "start each rule with [[rules]], in double brackets")
            return []
        if len(tables) > MAX_RULES:
            self.problem(1, f"there are {len(tables)} rules; at most {MAX_RULES} are allowed")
            return []
        return tables

    def _rule(self, index: int, table: Any) -> Rule | None:
        label = label_of_data(index, table)
        if isinstance(table, dict) and ("to" in table) == ("drop" in table):
            what = "has both `to` and `drop`" if "to" in table else "has neither `to` nor `drop`"
            self.problem(self.lines.of(index), f"{label} {what}; it needs one of them")
        try:
            rule = Rule.model_validate(table)
        except ValidationError as error:
            self._explain(index, label, error)
            if isinstance(table, dict) and isinstance(table.get("when"), str) and table["when"]:
                self._compile(index, label, table["when"])
            return None
        return rule if rule.name else rule.model_copy(update={"name": f"rule {index + 1}"})

    def _explain(self, index: int, label: str, error: ValidationError) -> None:
        reported = set()
        for detail in error.errors():
            key = str(detail["loc"][0]) if detail["loc"] else None
            where = ".".join(str(part) for part in detail["loc"][:2]) if key == "match" else key
            if where in reported:  # pydantic reports a value of the wrong type once for each type of a union
                continue
            reported.add(where)
            what = EXPLAINED.get(detail["type"], detail["msg"])
            if detail["type"] == "extra_forbidden" and key:
                what = unknown_key(key, Rule.model_fields)
            elif key == "match" and where != key:
                what = _advice_on_match(str(detail["loc"][1]), detail["input"])
            self.problem(self.lines.of(index, key), f"{label}: {where}: {what}" if where else f"{label} {what}")

    def _condition(self, index: int, rule: Rule) -> Condition | None:
        label = label_of(index, rule)
        if rule.to == "source":
            self.problem(self.lines.of(index, "to"), f"{label}: no rule may lead to 'source', where journeys begin")
        if rule.after in self.ends:
            what = f"{label}: no rule may come after the end {rule.after!r}, where journeys are over"
            self.problem(self.lines.of(index, "after"), what)
        for problem in _problems_of_match(rule):
            self.problem(self.lines.of(index, "match"), f"{label}: {problem}")
        return None if rule.when is None else self._compile(index, label, rule.when)

    def _compile(self, index: int, name: str, when: str) -> Condition | None:
        try:
            return Condition.compile(when)
        except ConditionSyntaxError as error:
            self._show_place(index, name, error)
            return None
        except ConditionError as error:
            self.problem(self.lines.of(index, "when"), f"{name}: when: {error}")
            return None

    def _show_place(self, index: int, name: str, error: ConditionSyntaxError) -> None:
        """Add the problem of a condition that is not valid CEL, with its place and a caret under it."""
        begins = self.lines.of(index, "when")
        line, column = place_in_value(self.text, begins, error.condition, error.line, error.column)
        shown = below(error.condition, error.line, error.column)
        self.problem(line, f"{name}: when: {error}{shown}", column)

    def _check_names(self, tables: list[Any]) -> None:
        named: dict[str, int] = {}
        for index, table in enumerate(tables):
            name = table.get("name", f"rule {index + 1}") if isinstance(table, dict) else None
            if not isinstance(name, str) or not name:
                continue
            if name in named:
                first = self.lines.of(named[name])
                self.problem(
                    self.lines.of(index, "name"), f"the name {name!r} is already used by the rule in line {first}"
                )
            named.setdefault(name, index)

    def _check_served(self, tables: list[Any], served: Set[str] | None) -> None:
        if served is None:
            return
        ways = [way_of_data(index, table) for index, table in enumerate(tables)]
        for index, key, what in unserved(ways, served, self.ends):
            self.problem(self.lines.of(index, key), what)

    def _check_reach(self, rules: list[Rule | None]) -> None:
        closed: dict[str, str] = {}
        for index, rule in enumerate(rules):
            if rule is None:
                continue
            label = label_of(index, rule)
            if rule.after in closed:
                why = f"{closed[rule.after]} takes every record after {rule.after!r}"
                self.problem(self.lines.of(index), f"{label} can never be reached: {why}")
            elif rule.is_unconditional:
                closed[rule.after] = label

    def _check_matches(self, rules: list[Rule | None]) -> None:
        """Add a problem at the first rule with which the indexes of all `match` are too large."""
        entries, fields = 0, set[str]()
        for index, rule in enumerate(rules):
            if rule is None or not rule.match:
                continue
            entries += _combinations(rule)
            fields.update(rule.match)
            for count, most, what in (
                (entries, MAX_COMBINATIONS_IN_ALL, "have more than {} combinations"),
                (len(fields), MAX_MATCH_FIELDS, "ask for more than {} different fields"),
            ):
                if count > most:
                    told = what.format(f"{most:,}")
                    whose = "the match of this rule and of those before it"
                    self.problem(self.lines.of(index, "match"), f"{label_of(index, rule)}: {whose} {told}")
                    return


def _combinations(rule: Rule) -> int:
    """Return the number of values that the lists in the `match` of a rule allow together."""
    return math.prod(len(alternatives(wanted)) for wanted in rule.match.values())


def _advice_on_match(name: str, value: Any) -> str:
    if isinstance(value, dict) and value:
        return f"for a field inside another one write when = '{name}.{next(iter(value))} == …'"
    return "must be text, a number, true or false, or a list of them"


def _problems_of_match(rule: Rule) -> Iterator[str]:
    for name, wanted in rule.match.items():
        if "." in name:
            nested, flat = f"when = '{name} == …'", f"when = 'record[\"{name}\"] == …'"
            yield f"match.{name}: a field with a dot is {flat}; for a field inside another one write {nested}"
        for value in alternatives(wanted):
            if isinstance(value, float) and not math.isfinite(value):
                yield f"match.{name}: no field can equal {value}"
            elif isinstance(value, int) and not MIN_INTEGER <= value <= MAX_INTEGER:
                yield f"match.{name}: the integer does not fit into 64 bits"
    combinations = _combinations(rule)
    if combinations > MAX_COMBINATIONS:
        yield f"match: its lists have {combinations} combinations; at most {MAX_COMBINATIONS} are allowed"


def read_rules(
    text: str, file: str, served: Set[str] | None = None, ends: frozenset[str] = ONLY_END
) -> tuple[tuple[Rule, ...], tuple[Condition | None, ...]]:
    """Return the rules of a table in TOML with their compiled conditions (None for a rule without `when`).

    `ends` are the names of the line's ends. Raise `InvalidRules` with every problem. If there is any and `served`, the
    stops that services serve, is given, the problems include the stops that no service serves.
    """
    return _TomlReader(text, file, ends).read(served)
