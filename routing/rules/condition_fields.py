"""Finds the fields that a CEL condition reads by scanning its tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from metroline.routing.errors import ConditionError
from metroline.routing.rules.cel_engine import cel

MACROS = frozenset({"all", "exists", "exists_one", "existsOne", "map", "filter"})


KEYWORDS = frozenset({"true", "false", "null", "in"})


TYPE_NAMES = frozenset({"int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type"})


TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
      |(?P<string>[bB]?[rR](?:\"\"\".*?\"\"\"|'''.*?'''|"[^"]*"|'[^']*')
                 |[bB]?(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))
      |(?P<number>0[xX][0-9a-fA-F]+u?|(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?u?)
      |(?P<name>[A-Za-z_]\w*)
      |(?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)


ANY = object()
"""A step of a path that is known only when the condition runs: a computed index or any element of a list."""


META = object()
"""The first step of a path into the metadata of the record, the variable `meta`."""

META_PARTS = ("key", "headers", "timestamp")
"""The fields of `meta`."""


Path = tuple[Any, ...]
"""The steps from the record to a value: names, indexes and `ANY`."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


@dataclass(slots=True)
class _Scope:
    """An open bracket. The bracket of a comprehension binds `name` to each element of the list at `over`."""

    name: str | None = None
    over: Path = (ANY,)
    elements_of: Path | None = None
    """The path whose elements the value has once the bracket is closed; None if the value may not be a list."""


class FieldScan:
    """The fields and paths that a condition reads; raises `ConditionError` for a comprehension that is not allowed."""

    def __init__(self, text: str) -> None:
        self.fields: set[str] = set()
        self.literals: set[str] = set()
        self.meta: set[str] = set()
        self.whole = False
        self.paths: list[Path] = []
        self.ranges: list[Path] = []
        self.bound: set[str] = set()
        self._tokens = [_Token(m.lastgroup or "", m.group()) for m in TOKEN.finditer(text) if m.lastgroup != "space"]
        self._scopes: list[_Scope] = []
        self._read()

    def _read(self) -> None:
        at = 0
        last: Path = (ANY,)  # the path that ends right before the current token
        listed = False  # whether the value there is certainly a list
        while at < len(self._tokens):
            token = self._tokens[at]
            if token.text in ("(", "[", "{") and token.kind == "sign":
                self._scopes.append(_Scope(elements_of=() if token.text == "[" and not self._is_index(at) else None))
            elif token.text in (")", "]", "}") and token.kind == "sign" and self._scopes:
                elements_of = self._scopes.pop().elements_of
                last, listed = ((ANY,), False) if elements_of is None else (elements_of, True)
                at += 1
                continue
            elif token.kind == "name" and self._is_member(at):
                if token.text in MACROS and self._is(at + 1, "("):
                    self._open_macro(at, last, listed)
                    at += 3
                    continue
            elif token.kind == "name" and token.text not in KEYWORDS and not self._is(at + 1, "("):
                at, last = self._variable(at)
                continue
            if token.text != ".":
                last, listed = (ANY,), False
            at += 1

    def _variable(self, at: int) -> tuple[int, Path]:
        """Read a variable and the steps after it; return the index of the next token and the path."""
        name = self._tokens[at].text
        scope = next((scope for scope in reversed(self._scopes) if scope.name == name), None)
        end, steps = self._steps(at + 1)
        if scope is not None:
            path = (*scope.over, ANY, *steps)
        elif name == "record":
            if steps and isinstance(steps[0], str) and self._is(at + 1, "["):
                self.literals.add(steps[0])
                path = steps
            else:
                self.whole = True
                path = steps or (ANY,)
        elif name == "meta":
            self._read_meta(steps)
            path = (META, *steps)
        else:
            self.fields.add(name)
            path = (name, *steps)
        if scope is not None or steps or name not in TYPE_NAMES:
            self.paths.append(path)
        return end, path

    def _read_meta(self, steps: Path) -> None:
        """Note which fields of the metadata are read."""
        if not steps or steps[0] is ANY:
            self.meta.update(META_PARTS)
        elif steps[0] in META_PARTS:
            self.meta.add(steps[0])
        else:
            has = ", ".join(META_PARTS)
            raise ConditionError(f'meta has no {steps[0]!r} but {has}; write record["meta"] for a field of that name')

    def _steps(self, at: int) -> tuple[int, Path]:
        """Read the `.name` and `[...]` after a variable; return the index of the next token and the steps.

        A method call or a computed index, which is read as `ANY`, ends the steps.
        """
        steps: list[Any] = []
        while True:
            if self._is(at, ".") and self._kind(at + 1) == "name" and not self._is(at + 2, "("):
                steps.append(self._tokens[at + 1].text)
                at += 2
            elif self._is(at, "[") and self._kind(at + 1) in ("string", "number") and self._is(at + 2, "]"):
                steps.append(cel.evaluate(self._tokens[at + 1].text))
                at += 3
            else:
                if self._is(at, "["):
                    steps.append(ANY)
                return at, tuple(steps)

    def _open_macro(self, at: int, over: Path, listed: bool) -> None:
        """Open a comprehension. Only lists are allowed, since CEL visits the entries of an object in random order."""
        macro = self._tokens[at].text
        if any(scope.name for scope in self._scopes):
            raise ConditionError("a comprehension inside a comprehension is not allowed")
        if self._kind(at + 2) != "name" or not self._is(at + 3, ","):
            raise ConditionError(f"{macro}() needs a plain name for the elements")
        if not listed:
            if ANY in over:
                where = "a field, a list literal, or the result of map() or filter()"
                raise ConditionError(f"{macro}() can only iterate over {where}")
            self.ranges.append(over)
        name = self._tokens[at + 2].text
        self.bound.add(name)
        self._scopes.append(_Scope(name, over, {"filter": over, "map": (ANY,)}.get(macro)))

    def _is_index(self, at: int) -> bool:
        """Return whether the bracket at `at` selects an element, as opposed to starting a list."""
        if at == 0:
            return False
        before = self._tokens[at - 1]
        if before.kind == "sign":
            return before.text in (")", "]", "}")
        return before.text != "in"

    def _is_member(self, at: int) -> bool:
        return at > 0 and self._is(at - 1, ".")

    def _is(self, at: int, text: str) -> bool:
        return at < len(self._tokens) and self._tokens[at].text == text and self._tokens[at].kind == "sign"

    def _kind(self, at: int) -> str | None:
        return self._tokens[at].kind if at < len(self._tokens) else None
