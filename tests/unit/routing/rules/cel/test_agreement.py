"""Drawn expressions have the same value as in the runtime of CEL's authors.

The generator leaves out where Metroline differs: it joins no integers with other numbers, divides only where nothing is
left, reads no field that is absent, calculates with no null, and goes over no object.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from tests.support.worlds import examples
from tests.unit.routing.rules.cel.answers import FAILS, MEETS_NULL, Record, ours, theirs

small = st.integers(-9, 9)
words = st.text("abXë🚇. ", max_size=4)
objects = st.fixed_dictionaries({"k": small, "name": words, "tags": st.lists(words, max_size=2)})
records = st.fixed_dictionaries(
    {
        **{"i": small, "j": small, "s": words, "t": words, "p": st.booleans(), "q": st.booleans()},
        **{"numbers": st.lists(small, max_size=4), "texts": st.lists(words, max_size=3)},
        **{"o": objects, "objects": st.lists(objects, max_size=3), "nothing": st.none()},
    }
)

FIELDS = {
    "int": ("i", "j", "o.k"),
    "text": ("s", "t", "o.name", "o['name']"),
    "bool": ("p", "q", "true", "false"),
    "ints": ("numbers", "[i, j, 2]", "[]"),
    "texts": ("texts", "o.tags", "[s, t, 'a']"),
    "objects": ("objects", "[o]"),
}
"""The expressions of each kind that are made of no others."""

LISTS = {"ints": "int", "texts": "text", "objects": "object"}
"""The kind of the elements of a list."""

SCALARS = ("int", "text", "bool")

Scope = tuple[tuple[str, str], ...]
"""The variables of the comprehensions around an expression, each with its kind."""


class Writer:
    """Writes expressions of a kind, at most `depth` levels deep."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def write(self, kind: str, depth: int, scope: Scope = ()) -> str:
        if depth == 0 or not self._draw(st.integers(0, 5)):
            return self._atom(kind, scope)
        return self._draw(st.sampled_from(WAYS[kind]))(self, depth - 1, scope)

    def _atom(self, kind: str, scope: Scope) -> str:
        own = [name for name, its in scope if its == kind]
        fields = [f"{name}.{field}" for name, its in scope if its == "object" for field in OF_OBJECT.get(kind, ())]
        return self._pick(*FIELDS[kind], *own, *own, *fields, *fields)

    def _pick(self, *texts: str) -> str:
        return self._draw(st.sampled_from(texts))

    def choice(self, kind: str, depth: int, scope: Scope) -> str:
        one, other = self.write(kind, depth, scope), self.write(kind, depth, scope)
        return f"({self.write('bool', depth, scope)} ? {one} : {other})"

    def calculation(self, depth: int, scope: Scope) -> str:
        return f"({self.write('int', depth, scope)} {self._pick('+', '-', '*')} {self.write('int', depth, scope)})"

    def division(self, depth: int, scope: Scope) -> str:
        by = self._pick("2", "3", "-4")
        return f"({self.write('int', depth, scope)} * {by} / {by})"

    def remainder(self, depth: int, scope: Scope) -> str:
        return f"({self.write('int', depth, scope)} % {self._pick('2', '3', '-4', '0')})"

    def size(self, depth: int, scope: Scope) -> str:
        sized = self.write(self._pick("text", *LISTS), depth, scope)
        return self._pick("size({})", "{}.size()").format(sized)

    def number_of_text(self, depth: int, scope: Scope) -> str:
        return f"int(string({self.write('int', depth, scope)}))"

    def element(self, depth: int, scope: Scope) -> str:
        found = self.write("ints", depth, scope)
        return f"(size({found}) > 1 ? {found}[1] : {self.write('int', depth, scope)})"

    def negation(self, depth: int, scope: Scope) -> str:
        return f"-({self.write('int', depth, scope)})"

    def joined_text(self, depth: int, scope: Scope) -> str:
        return f"({self.write('text', depth, scope)} + {self.write('text', depth, scope)})"

    def written(self, depth: int, scope: Scope) -> str:
        return f"string({self.write(self._pick(*SCALARS), depth, scope)})"

    def comparison(self, depth: int, scope: Scope) -> str:
        kind = self._pick(*SCALARS)
        sign = self._pick("<", "<=", ">", ">=", "==", "!=")
        return f"({self.write(kind, depth, scope)} {sign} {self.write(kind, depth, scope)})"

    def equality(self, depth: int, scope: Scope) -> str:
        """Compare values of any kinds, null among them."""
        one, other = (self.write(self._pick(*FIELDS), depth, scope) for _ in range(2))
        return f"({one} {self._pick('==', '!=')} {self._pick(other, 'nothing', 'o')})"

    def membership(self, depth: int, scope: Scope) -> str:
        lists = self.write(self._pick(*LISTS), depth, scope)
        return f"({self.write(self._pick(*SCALARS), depth, scope)} in {self._pick(lists, 'o', '[i, s, null, true]')})"

    def logic(self, depth: int, scope: Scope) -> str:
        return f"({self.write('bool', depth, scope)} {self._pick('&&', '||')} {self.write('bool', depth, scope)})"

    def opposite(self, depth: int, scope: Scope) -> str:
        return f"!({self.write('bool', depth, scope)})"

    def failure(self, depth: int, scope: Scope) -> str:
        return self._pick("(i / 0 == 1)", "(s > 1)", "(int('x') == 1)", "(o < o)", "numbers[-1] == 1")

    def of_text(self, depth: int, scope: Scope) -> str:
        function = self._pick("startsWith", "endsWith", "contains")
        return f"{self.write('text', depth, scope)}.{function}({self.write('text', depth, scope)})"

    def match(self, depth: int, scope: Scope) -> str:
        pattern = self._pick("'a|b'", "'^a'", "'[^ab]+$'", "'.'", r"r'\pL\.'", "''")
        return f"{self.write('text', depth, scope)}.matches({pattern})"

    def type_test(self, depth: int, scope: Scope) -> str:
        kind = self._pick(*FIELDS)
        return f"(type({self.write(kind, depth, scope)}) == {self._pick('int', 'string', 'bool', 'list', 'map')})"

    def presence(self, depth: int, scope: Scope) -> str:
        return self._pick("has(o.k)", "has(o.other)", "'k' in o", "'other' in o")

    def quantifier(self, depth: int, scope: Scope) -> str:
        return self._macro(self._pick("all", "exists", "exists_one"), self._pick(*LISTS), depth, scope)

    def _macro(self, macro: str, kind: str, depth: int, scope: Scope) -> str:
        variable = self._pick("x", "y")
        inner = (*((name, its) for name, its in scope if name != variable), (variable, LISTS[kind]))
        return f"{self.write(kind, depth, scope)}.{macro}({variable}, {self.write('bool', depth, inner)})"

    def filtered(self, kind: str, depth: int, scope: Scope) -> str:
        return self._macro("filter", kind, depth, scope)

    def mapped(self, kind: str, depth: int, scope: Scope) -> str:
        over = self._pick(*LISTS)
        inner = (*((name, its) for name, its in scope if name != "z"), ("z", LISTS[over]))
        chosen = f"{self.write('bool', depth, inner)}, " if self._draw(st.booleans()) else ""
        return f"{self.write(over, depth, scope)}.map(z, {chosen}{self.write(LISTS[kind], depth, inner)})"

    def concatenation(self, kind: str, depth: int, scope: Scope) -> str:
        return f"({self.write(kind, depth, scope)} + {self.write(kind, depth, scope)})"


OF_OBJECT = {"int": ("k",), "text": ("name",), "texts": ("tags",)}
"""The fields of an object, by their kind."""


Way = Callable[[Writer, int, Scope], str]


def _of(way: Callable[[Writer, str, int, Scope], str], kind: str) -> Way:
    return lambda writer, depth, scope: way(writer, kind, depth, scope)


WAYS: dict[str, list[Way]] = {
    "int": [
        *(Writer.calculation, Writer.division, Writer.remainder, Writer.size, Writer.number_of_text),
        *(Writer.element, Writer.negation, _of(Writer.choice, "int")),
    ],
    "text": [Writer.joined_text, Writer.written, _of(Writer.choice, "text")],
    "bool": [
        *(Writer.comparison, Writer.equality, Writer.membership, Writer.logic, Writer.logic, Writer.opposite),
        *(Writer.failure, Writer.of_text, Writer.match, Writer.type_test, Writer.presence),
        *(Writer.quantifier, Writer.quantifier, _of(Writer.choice, "bool")),
    ],
    "ints": [_of(Writer.filtered, "ints"), _of(Writer.mapped, "ints"), _of(Writer.concatenation, "ints")],
    "texts": [_of(Writer.filtered, "texts"), _of(Writer.mapped, "texts"), _of(Writer.concatenation, "texts")],
    "objects": [_of(Writer.filtered, "objects"), _of(Writer.concatenation, "objects")],
}
"""The ways to compose an expression of a kind from others."""


@st.composite
def expressions(draw: st.DrawFn) -> str:
    return Writer(draw).write(draw(st.sampled_from(sorted(WAYS))), 3)


@given(expressions(), records)
@examples(600)
def test_an_expression_has_the_value_that_it_has_in_the_runtime_of_cel(text: str, record: Record) -> None:
    own = ours(text, record)
    assert own is not MEETS_NULL
    if own is FAILS:
        assert theirs(text, record) is FAILS
    else:
        assert theirs(f"({text}) == expected", record | {"expected": own}) is True
