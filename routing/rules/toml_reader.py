"""Reads a rules table from TOML: every problem at once, each with its line."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterator, Sequence, Set
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError

from metroline.routing.errors import ConditionError, InvalidRules
from metroline.routing.records.fingerprints import MAX_INTEGER, MIN_INTEGER
from metroline.routing.rules.condition import Condition

HEADER = re.compile(r"\s*\[\[\s*[\"']?rules[\"']?\s*\]\]")
TEXT_OR_COMMENT = re.compile(
    r"""\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5}|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*'|\#[^\n]*""", re.DOTALL
)
AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")

Text = Annotated[str, Field(strict=True, min_length=1)]
Scalar = StrictBool | StrictInt | StrictFloat | StrictStr

EXPLAINED = {
    "extra_forbidden": "unknown key",
    "missing": "is missing",
    "model_type": "must be a table",
    "dict_type": "must be a table of fields and the values that they equal",
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
        self._lines = TEXT_OR_COMMENT.sub(_blanked, text).split("\n")
        self._headers = [number for number, line in enumerate(self._lines, 1) if HEADER.match(line)]

    def of(self, index: int, key: str | None = None) -> int:
        """The line of a rule, or of one of its keys; 1 where the table is written in another way."""
        if index >= len(self._headers):
            return 1
        start = self._headers[index]
        end = self._headers[index + 1] - 1 if index + 1 < len(self._headers) else len(self._lines)
        return start if key is None else self._find(start + 1, end, key, r"[\"']?rules[\"']?\s*\.\s*") or start

    def of_key(self, key: str) -> int:
        """The line of a key that belongs to no rule."""
        return self._find(1, len(self._lines), key, "") or 1

    def _find(self, start: int, end: int, key: str, table: str) -> int | None:
        """The line in which a key is given a value or heads a table of its own, before other tables begin."""
        name = rf"[\"']?{re.escape(key)}[\"']?\s*"
        plain, headed = re.compile(rf"\s*{name}[.=]"), re.compile(rf"\s*\[+\s*{table}{name}[\].]")
        own = True
        for number in range(start, end + 1):
            line = self._lines[number - 1]
            if headed.match(line) or (own and plain.match(line)):
                return number
            own = own and not line.lstrip().startswith("[")
        return None


def _blanked(found: re.Match[str]) -> str:
    """A comment or a text of several lines without its letters, so that nothing in it looks like a rule."""
    text = found.group()
    return re.sub(r"[^\n]", " ", text) if text.startswith(("#", '"""', "'''")) else text


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.problems: list[tuple[int, str]] = []

    @property
    def lines(self) -> _Lines:
        """Asked for only once the text is known to be TOML."""
        return _lines(self.text)

    def problem(self, line: int, what: str) -> None:
        self.problems.append((line, f"{self.file}:{line}: {what}"))

    def read(self, served: Set[str] | None) -> tuple[tuple[Rule, ...], tuple[Condition | None, ...]]:
        tables = self._tables()
        self._check_names(tables)
        parsed = [self._rule(index, table) for index, table in enumerate(tables)]
        conditions = [None if rule is None else self._condition(index, rule) for index, rule in enumerate(parsed)]
        self._check_reach(parsed)
        if not tables and not self.problems:
            self.problem(1, 'there are no rules: add a [[rules]] with after = "source"')
        if self.problems:
            self._check_served(tables, served)
            raise InvalidRules(tuple(text for _, text in sorted(self.problems, key=lambda problem: problem[0])))
        return tuple(rule for rule in parsed if rule is not None), tuple(conditions)

    def _tables(self) -> list[Any]:
        try:
            self.text.encode()
            data = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            found = AT_LINE.search(str(error))
            line = int(found.group(1)) if found else self.text.rstrip("\n").count("\n") + 1
            self.problem(line, f"no TOML: {AT_LINE.sub('', str(error))}")
            return []
        except UnicodeEncodeError as error:
            self.problem(self.text.count("\n", 0, error.start) + 1, "no TOML: a character that UTF-8 does not have")
            return []
        except ValueError:  # how Python refuses to read thousands of digits
            self.problem(1, "no TOML: a number in it is too long")
            return []
        except RecursionError:
            self.problem(1, "no TOML: it is nested too deeply")
            return []
        for key in data:
            if key != "rules":
                self.problem(self.lines.of_key(key), f"unknown key {key!r}: a table has [[rules]] only")
        tables = data.get("rules", [])
        if not isinstance(tables, list):
            self.problem(self.lines.of_key("rules"), "write [[rules]], with two brackets, for each rule")
            return []
        return tables

    def _rule(self, index: int, table: Any) -> Rule | None:
        label = _label(index, table)
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
        told = set()
        for detail in error.errors():
            key = str(detail["loc"][0]) if detail["loc"] else None
            where = ".".join(str(part) for part in detail["loc"][:2]) if key == "match" else key
            if where in told:  # a value of the wrong kind is reported once, not once for each kind it could be
                continue
            told.add(where)
            what = EXPLAINED.get(detail["type"], detail["msg"])
            if key == "match" and where != key:
                what = "must be text, a number, or true or false"
            self.problem(self.lines.of(index, key), f"{label}: {where or 'it'}: {what}")

    def _condition(self, index: int, rule: Rule) -> Condition | None:
        label = label_of(index, rule)
        if rule.to == "source":
            self.problem(self.lines.of(index, "to"), f"{label}: nothing leads to 'source', where journeys begin")
        for name, value in rule.match.items():
            found = f"{label}: match.{name}"
            if isinstance(value, float) and not math.isfinite(value):
                self.problem(self.lines.of(index, "match"), f"{found}: {value} equals nothing")
            elif isinstance(value, int) and not MIN_INTEGER <= value <= MAX_INTEGER:
                self.problem(self.lines.of(index, "match"), f"{found}: the integer does not fit into 64 bits")
        return None if rule.when is None else self._compile(index, label, rule.when)

    def _compile(self, index: int, name: str, when: str) -> Condition | None:
        try:
            return Condition.compile(when)
        except ConditionError as error:
            self.problem(self.lines.of(index, "when"), f"{name}: when: {error}")
            return None

    def _check_names(self, tables: list[Any]) -> None:
        named: dict[str, int] = {}
        for index, table in enumerate(tables):
            name = table.get("name", f"rule {index + 1}") if isinstance(table, dict) else None
            if not isinstance(name, str) or not name:
                continue
            if name in named:
                first = self.lines.of(named[name])
                self.problem(self.lines.of(index, "name"), f"the name {name!r} is taken by the rule in line {first}")
            named.setdefault(name, index)

    def _check_served(self, tables: list[Any], served: Set[str] | None) -> None:
        if served is None:
            return
        for index, key, what in unserved([_way(index, table) for index, table in enumerate(tables)], served):
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


def read_rules(
    text: str, file: str, served: Set[str] | None = None
) -> tuple[tuple[Rule, ...], tuple[Condition | None, ...]]:
    """The rules of a table with their compiled conditions; raises `InvalidRules` that lists every problem.

    Beside other problems, and where `served` are given, those of stops that nobody serves are listed too.
    """
    return _Reader(text, file).read(served)


Way = tuple[str, str | None, str | None]
"""A rule's label, its `after` and its `to`, where it has them."""


def unserved(ways: Sequence[Way], served: Set[str]) -> Iterator[tuple[int, str, str]]:
    """The stops that no service serves: the index of the rule that names one, the key, and what to say of it.

    A stop that some rule leads to is told of there, and not again for each rule after it.
    """
    services = frozenset(served)
    known = services | {"source"}
    led_to = known | {to for _, _, to in ways}
    for index, (label, after, to) in enumerate(ways):
        if to is not None and to not in known:
            yield index, "to", f"{label}: {_told(to, services)}"
        if after is not None and after not in led_to:
            yield index, "after", f"{label}: {_told(after, services, 'source')}"


def way_of(index: int, rule: Rule) -> Way:
    return label_of(index, rule), rule.after, rule.to


def _way(index: int, table: Any) -> Way:
    """The same of what may be no rule."""
    after, to = (table.get(key) if isinstance(table, dict) else None for key in ("after", "to"))
    return _label(index, table), after if _is_name(after) else None, to if _is_name(to) else None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


@lru_cache(maxsize=1_024)
def _told(stop: str, served: frozenset[str], *more: str) -> str:
    meant = difflib.get_close_matches(stop, [*sorted(served), *more], 1)
    hint = f"; is {meant[0]!r} meant?" if meant else ""
    return f"no service serves the stop {stop!r} (served: {', '.join(sorted(served)) or 'none'}){hint}"


def line_of_rule(text: str, index: int, key: str | None = None) -> int:
    """The line in which the rule of this index, or one of its keys, stands."""
    return _lines(text).of(index, key)


@lru_cache(maxsize=1)
def _lines(text: str) -> _Lines:
    return _Lines(text)


def label_of(index: int, rule: Rule) -> str:
    """A rule as a problem names it: by its name or, where it has none, by its place."""
    return _label(index, {"name": rule.name} if rule.name != f"rule {index + 1}" else {})


def _label(index: int, table: Any) -> str:
    name = table.get("name") if isinstance(table, dict) else None
    return f"rule {name!r}" if isinstance(name, str) and name else f"rule {index + 1}"
