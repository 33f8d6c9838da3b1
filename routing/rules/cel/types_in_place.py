"""Tells types from fields of the same name: `type(a) == int` means the type, and `int > 3` the field."""

from __future__ import annotations

from collections.abc import Iterator

from metroline.routing.rules.cel.functions import TYPES
from metroline.routing.rules.cel.syntax_tree import Call, ListOf, Name, Node, walk

COMPARISONS = frozenset({"_==_", "_!=_", "@in"})


def types_in(root: Node) -> frozenset[int]:
    """Return the ids of the nodes that stand for types: names of types that are compared with what `type` returns."""
    return frozenset(
        id(name)
        for node in walk(root)
        if isinstance(node, Call) and node.function in COMPARISONS
        for one, other in (node.arguments, node.arguments[::-1])
        if isinstance(one, Call) and one.function == "type"
        for name in _names(other)
        if name.name in TYPES
    )


def _names(node: Node) -> Iterator[Name]:
    for part in node.elements if isinstance(node, ListOf) else (node,):
        if isinstance(part, Name):
            yield part
