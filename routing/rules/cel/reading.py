"""Finds what a condition reads: fields of the record, nested places, and metadata of the source message."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from metroline.routing.errors import ConditionError
from metroline.routing.rules.cel.evaluation import META, RECORD
from metroline.routing.rules.cel.syntax_tree import Call, Comprehension, Constant, Field, Macro, Name, Node, children
from metroline.routing.rules.cel.types_in_place import types_in

ANY = object()
"""A step of a path that is known only when the condition is evaluated: a computed index, or any element of a list."""

IN_META = object()
"""The first step of a path into the metadata of the source message, the variable `meta`."""

META_PARTS = ("key", "headers", "timestamp", "entered")
"""The fields of `meta`."""

Path = tuple[Any, ...]
"""The steps from the record to a value: names, indexes and `ANY`."""


@dataclass(slots=True)
class Reads:
    """The fields, places and metadata that a condition reads."""

    fields: set[str] = field(default_factory=set)
    """The top-level fields."""
    whole: bool = False
    """True if it uses `record` other than to name a field, so that it depends on all fields."""
    meta: set[str] = field(default_factory=set)
    """The fields of `meta`."""
    paths: list[Path] = field(default_factory=list)
    """The paths of all values, in the order of the text, each once."""

    @classmethod
    def of(cls, root: Node) -> Reads:
        """Return what a condition reads; raise `ConditionError` if it reads metadata that there is not."""
        reads = cls()
        _Reader(reads, types_in(root)).read(root, {})
        reads.paths = list(dict.fromkeys(reads.paths))
        return reads


Scope = dict[str, Path | None]
"""The variables of the comprehensions around a node, with the path of what they stand for; None if it has none."""


class _Reader:
    def __init__(self, reads: Reads, types: frozenset[int]) -> None:
        self._reads = reads
        self._types = types

    def read(self, node: Node, scope: Scope) -> Path | None:
        """Note what a node reads. Return the path of its value; None if it is no value of the record."""
        if isinstance(node, Comprehension):
            return self._comprehension(node, scope)
        start, steps, rest = _split(node)
        for index in rest:
            self.read(index, scope)
        if not isinstance(start, Name):
            for part in children(start) if start is node else (start,):
                self.read(part, scope)
            return None
        path = self._path(start, steps, scope, is_test=isinstance(node, Field) and node.is_test)
        if path is not None:
            self._reads.paths.append(path)
        return path

    def _path(self, start: Name, steps: Path, scope: Scope, *, is_test: bool) -> Path | None:
        name = start.name
        if name in scope:
            over = scope[name]
            return None if over is None else (*over, *steps)
        if id(start) in self._types:
            return None
        if name == META:
            self._meta(steps, start)
            return (IN_META, *steps)
        if name != RECORD:
            self._reads.fields.add(name)
            return (name, *steps)
        if not steps or not isinstance(steps[0], str) or (is_test and len(steps) == 1):
            self._reads.whole = True
        else:
            self._reads.fields.add(steps[0])
        return steps or (ANY,)

    def _meta(self, steps: Path, at: Node) -> None:
        if not steps or steps[0] is ANY:
            self._reads.meta.update(META_PARTS)
        elif steps[0] in META_PARTS:
            self._reads.meta.add(steps[0])
        else:
            has = f"{', '.join(META_PARTS[:-1])} and {META_PARTS[-1]}"
            raise ConditionError(f'meta has no {steps[0]!r}, only {has}; a field of the record is record["meta"]')

    def _comprehension(self, node: Comprehension, scope: Scope) -> Path | None:
        over = self.read(node.range, scope)
        inner: Scope = {**scope, node.variable: None if over is None else (*over, ANY)}
        if node.predicate is not None:
            self.read(node.predicate, inner)
        if node.transform is not None:
            self.read(node.transform, inner)
        return over if node.macro is Macro.FILTER else None


def _split(node: Node) -> tuple[Node, Path, list[Node]]:
    """Return where the fields and indexes of a node begin, the steps from there, and the indexes that are computed."""
    steps: list[Any] = []
    computed: list[Node] = []
    while True:
        if isinstance(node, Field):
            steps.append(node.name)
            node = node.operand
        elif isinstance(node, Call) and node.function == "_[_]":
            index = node.arguments[1]
            if isinstance(index, Constant) and type(index.value) in (str, int):
                steps.append(index.value)
            else:
                steps.append(ANY)
                computed.append(index)
            node = node.arguments[0]
        else:
            return node, tuple(reversed(steps)), computed
