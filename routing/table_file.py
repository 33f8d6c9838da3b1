"""Reads a rules table from TOML: every problem at once, each with its line."""

from __future__ import annotations

import math
import re
import tomllib
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError

from routing.conditions import Condition
from routing.errors import ConditionError, InvalidRules

HEADER = re.compile(r"\s*\[\[\s*[\"']?rules[\"']?\s*\]\]")
MULTILINE = re.compile(r'"""|\'\'\'')
AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")

Text = Annotated[str, Field(strict=True, min_length=1)]
Scalar = StrictBool | StrictInt | StrictFloat | StrictStr

EXPLAINED = {
    "extra_forbidden": "unknown key",
    "missing": "is missing",
}


class Rule(BaseModel):
    """One rule of the table, immutable: after which stop, for which records, and where to or why they are dropped."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text = ""
    after: Text
    match: dict[str, Scalar] = Field(default_factory=dict)
    when: Text | None = None
    to: Text | None = None
    drop: Text | None = None

    @property
    def is_unconditional(self) -> bool:
        return not self.match and self.when is None


class _Lines:
    """Where the rules of a table stand in its text; the TOML reader itself does not tell."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._headers: list[int] = []
        inside = False
        for number, line in enumerate(self._lines, 1):
            if not inside and HEADER.match(line):
                self._headers.append(number)
            inside ^= len(MULTILINE.findall(line)) % 2 == 1

    def of(self, index: int, key: str | None = None) -> int:
        """The line of a rule, or of one of its keys; 1 where the table is written in another way."""
        if index >= len(self._headers):
            return 1
        start = self._headers[index]
        end = self._headers[index + 1] - 1 if index + 1 < len(self._headers) else len(self._lines)
        if key is not None:
            pattern = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]")
            for number in range(start, end + 1):
                if pattern.match(self._lines[number - 1]):
                    return number
        return start


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.lines = _Lines(text)
        self.problems: list[tuple[int, str]] = []

    def problem(self, line: int, what: str) -> None:
        self.problems.append((line, f"{self.file}:{line}: {what}"))

    def read(self) -> tuple[tuple[Rule, ...], tuple[Condition | None, ...]]:
        tables = self._tables()
        parsed = [self._rule(index, table) for index, table in enumerate(tables)]
        conditions = [None if rule is None else self._condition(index, rule) for index, rule in enumerate(parsed)]
        self._cross_check(parsed)
        if not tables and not self.problems:
            self.problem(1, "there are no rules: add a [[rules]] with after = \"source\"")
        if self.problems:
            raise InvalidRules(tuple(text for _, text in sorted(self.problems, key=lambda problem: problem[0])))
        return tuple(rule for rule in parsed if rule is not None), tuple(conditions)

    def _tables(self) -> list[Any]:
        try:
            data = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            found = AT_LINE.search(str(error))
            line = int(found.group(1)) if found else max(1, len(self.text.splitlines()))
            self.problem(line, f"no TOML: {AT_LINE.sub('', str(error))}")
            return []
        for key in data.keys() - {"rules"}:
            self.problem(_line_of_key(self.text, key), f"unknown key {key!r}: a table has [[rules]] only")
        tables = data.get("rules", [])
        if not isinstance(tables, list):
            self.problem(_line_of_key(self.text, "rules"), "write [[rules]], with two brackets, for each rule")
            return []
        return tables

    def _rule(self, index: int, table: Any) -> Rule | None:
        try:
            rule = Rule.model_validate(table)
        except ValidationError as error:
            told = set()
            for detail in error.errors():
                key = str(detail["loc"][0]) if detail["loc"] else None
                where = ".".join(str(part) for part in detail["loc"][:2]) if key == "match" else key
                if where in told:  # a value of the wrong kind is reported once, not once for each kind it could be
                    continue
                told.add(where)
                what = EXPLAINED.get(detail["type"], detail["msg"])
                if key == "match":
                    what = "must be text, a number, or true or false"
                self.problem(self.lines.of(index, key), f"{self._name(index, table)}: {where or 'the rule'}: {what}")
            if isinstance(table, dict) and isinstance(table.get("when"), str):
                self._compile(index, self._name(index, table), table["when"])
            return None
        return rule if rule.name else rule.model_copy(update={"name": f"rule {index + 1}"})

    def _name(self, index: int, table: Any) -> str:
        name = table.get("name") if isinstance(table, dict) else None
        return f"rule {name!r}" if isinstance(name, str) and name else f"rule {index + 1}"

    def _condition(self, index: int, rule: Rule) -> Condition | None:
        if (rule.to is None) == (rule.drop is None):
            what = "has neither `to` nor `drop`" if rule.to is None else "has both `to` and `drop`"
            self.problem(self.lines.of(index), f"rule {rule.name!r} {what}; it needs one of them")
        if rule.to == "source":
            self.problem(self.lines.of(index, "to"), f"rule {rule.name!r}: nothing leads to 'source', where journeys begin")
        for name, value in rule.match.items():
            if isinstance(value, float) and not math.isfinite(value):
                self.problem(self.lines.of(index, "match"), f"rule {rule.name!r}: match.{name}: {value} equals nothing")
        return None if rule.when is None else self._compile(index, f"rule {rule.name!r}", rule.when)

    def _compile(self, index: int, name: str, when: str) -> Condition | None:
        try:
            return Condition.compile(when)
        except ConditionError as error:
            self.problem(self.lines.of(index, "when"), f"{name}: when: {error}")
            return None

    def _cross_check(self, rules: list[Rule | None]) -> None:
        named: dict[str, int] = {}
        closed: dict[str, Rule] = {}
        for index, rule in enumerate(rules):
            if rule is None:
                continue
            if rule.name in named:
                first = self.lines.of(named[rule.name])
                self.problem(self.lines.of(index, "name"), f"the name {rule.name!r} is taken by the rule in line {first}")
            named.setdefault(rule.name, index)
            if rule.after in closed:
                self.problem(
                    self.lines.of(index),
                    f"rule {rule.name!r} can never be reached: {closed[rule.after].name!r} takes every record after {rule.after!r}",
                )
            elif rule.is_unconditional:
                closed[rule.after] = rule


def read_rules(text: str, file: str) -> tuple[tuple[Rule, ...], tuple[Condition | None, ...]]:
    """The rules of a table with their compiled conditions; raises `InvalidRules` that lists every problem."""
    return _Reader(text, file).read()


def line_of_rule(text: str, index: int, key: str | None = None) -> int:
    """The line in which the rule of this index, or one of its keys, stands."""
    return _Lines(text).of(index, key)


def _line_of_key(text: str, key: str) -> int:
    pattern = re.compile(rf"\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[\].=]")
    return next((number for number, line in enumerate(text.splitlines(), 1) if pattern.match(line)), 1)
