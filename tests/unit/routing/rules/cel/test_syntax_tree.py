"""The syntax tree of a condition: its nodes, its macros, and where they stand in the text."""

from __future__ import annotations

import struct

import pytest

from metroline.routing.errors import ConditionError
from metroline.routing.rules.cel import wire
from metroline.routing.rules.cel.syntax_tree import (
    Call,
    Comprehension,
    Constant,
    Field,
    ListOf,
    Macro,
    Name,
    Node,
    ObjectOf,
    children,
    parse,
    walk,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("true", True),
        ("false", False),
        ("0", 0),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("-1", -1),
        ("18446744073709551615u", 2**64 - 1),
        ("0x1F", 31),
        ("0.0", 0.0),
        ("-2.5e-3", -0.0025),
        ("''", ""),
        ("'Zoë 🚇'", "Zoë 🚇"),
        ("b''", b""),
        (r"b'\xff'", b"\xff"),
    ],
)
def test_a_constant_has_its_value_and_its_type(text: str, value: object) -> None:
    node = parse(text)
    assert isinstance(node, Constant)
    assert node.value == value
    assert type(node.value) is type(value)


def test_names_fields_and_calls_are_told_apart() -> None:
    assert parse("a") == Name(0, "a")
    assert parse(".a") == Name(1, "a")
    assert parse("a.b") == Field(1, Name(0, "a"), "b", is_test=False)
    assert parse("has(a.b)") == Field(3, Name(4, "a"), "b", is_test=True)
    assert parse("f(a)") == Call(1, "f", (Name(2, "a"),), is_method=False)
    assert parse("a.f(b)") == Call(3, "f", (Name(0, "a"), Name(4, "b")), is_method=True)
    assert parse("a[0]") == Call(1, "_[_]", (Name(0, "a"), Constant(2, 0)), is_method=False)
    assert parse("a in b") == Call(2, "@in", (Name(0, "a"), Name(5, "b")), is_method=False)
    assert parse("a ? b : c") == Call(2, "_?_:_", (Name(0, "a"), Name(4, "b"), Name(8, "c")), is_method=False)
    assert parse("[a, 1]") == ListOf(0, (Name(1, "a"), Constant(4, 1)))
    assert parse("{'k': a}") == ObjectOf(0, (Constant(1, "k"), Name(6, "a")))
    assert parse("[]") == ListOf(0, ())
    assert parse("{}") == ObjectOf(0, ())


def without_places(node: Node) -> tuple[object, ...]:
    """Return the parts of a comprehension as text."""
    assert isinstance(node, Comprehension)
    parts = (node.range, node.predicate, node.transform)
    return (node.macro, node.variable, *(None if part is None else rough(part) for part in parts))


def rough(node: Node) -> str:
    if isinstance(node, Name):
        return node.name
    if isinstance(node, Constant):
        return repr(node.value)
    if isinstance(node, ListOf):
        return f"[{', '.join(map(rough, node.elements))}]"
    assert isinstance(node, Call)
    return f"{node.function}({', '.join(map(rough, node.arguments))})"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a.all(x, x > b)", (Macro.ALL, "x", "a", "_>_(x, b)", None)),
        ("a.exists(x, x > b)", (Macro.EXISTS, "x", "a", "_>_(x, b)", None)),
        ("a.exists(x, true)", (Macro.EXISTS, "x", "a", "True", None)),
        ("a.exists_one(x, x > b)", (Macro.EXISTS_ONE, "x", "a", "_>_(x, b)", None)),
        ("a.filter(x, x > b)", (Macro.FILTER, "x", "a", "_>_(x, b)", None)),
        ("a.map(x, x + b)", (Macro.MAP, "x", "a", None, "_+_(x, b)")),
        ("a.map(x, x)", (Macro.MAP, "x", "a", None, "x")),
        ("a.map(x, [x])", (Macro.MAP, "x", "a", None, "[x]")),
        ("a.map(x, [])", (Macro.MAP, "x", "a", None, "[]")),
        ("a.map(x, x ? x : b)", (Macro.MAP, "x", "a", None, "_?_:_(x, x, b)")),
        ("a.map(x, x > b, x + 1)", (Macro.MAP, "x", "a", "_>_(x, b)", "_+_(x, 1)")),
        ("a.map(x, x > b, [x])", (Macro.MAP, "x", "a", "_>_(x, b)", "[x]")),
        ("a.map(x, x > b, b)", (Macro.MAP, "x", "a", "_>_(x, b)", "b")),
        ("a.map(x, x > b, x)", (Macro.FILTER, "x", "a", "_>_(x, b)", None)),
        ("[1, 2].all(x, x)", (Macro.ALL, "x", "[1, 2]", "x", None)),
    ],
)
def test_every_macro_is_recognized_with_its_parts(text: str, parts: tuple[object, ...]) -> None:
    assert without_places(parse(text)) == parts


def test_comprehensions_nest_and_the_parts_of_a_tree_are_in_the_order_of_the_text() -> None:
    root = parse("a.all(x, x.b.exists(y, y == c)) || has(d.e)")
    inner = [node.macro for node in walk(root) if isinstance(node, Comprehension)]
    assert inner == [Macro.ALL, Macro.EXISTS]
    assert [node.name for node in walk(root) if isinstance(node, Name)] == ["a", "x", "y", "c", "d"]
    assert children(Constant(0, 1)) == ()


@pytest.mark.parametrize(
    ("text", "part", "offset"),
    [
        ("a == b", "b", 5),
        ("a ==\n  b", "b", 7),
        ("'ü😀' + b", "b", 7),
        ("// 😀\nb", "b", 5),
        ("a\r\n+ b", "b", 5),
        ("l.exists(x, x > b)", "b", 16),
    ],
)
def test_places_count_characters_and_not_bytes(text: str, part: str, offset: int) -> None:
    (node,) = (node for node in walk(parse(text)) if isinstance(node, Name) and node.name == part)
    assert node.offset == offset == text.rindex(part)


def test_what_is_no_expression_of_json_is_refused() -> None:
    with pytest.raises(ConditionError, match=r"^there is no type Money whose objects could be written$"):
        parse("Money{units: 1}")
    with pytest.raises(ValueError, match="recursion"):
        parse(" + ".join(["a"] * 100))
    with pytest.raises(ValueError, match="Syntax error"):
        parse("a b")


def test_a_thousand_alternatives_are_no_deep_tree() -> None:
    root = parse(" || ".join(f"a == {number}" for number in range(1_000)))
    assert sum(isinstance(node, Constant) for node in walk(root)) == 1_000


def test_fields_of_a_message_are_read_by_their_number() -> None:
    message = b"\x08\x96\x01" + b"\x12\x03abc" + b"\x19" + struct.pack("<d", 2.5) + b"\x12\x01d" + b"\x20\x00"
    fields = wire.read_fields(message)
    assert fields == {1: [150], 2: [b"abc", b"d"], 3: [struct.pack("<d", 2.5)], 4: [0]}
    assert wire.number(fields, 1) == 150
    assert wire.text(fields, 2) == "d"
    assert wire.double(fields, 3) == 2.5


def test_a_field_that_is_absent_has_the_default_of_its_type() -> None:
    fields = wire.read_fields(b"")
    assert (wire.number(fields, 1), wire.signed(fields, 1), wire.double(fields, 1)) == (0, 0, 0.0)
    assert (wire.text(fields, 1), wire.data(fields, 1), wire.messages(fields, 1)) == ("", b"", [])


def test_a_signed_integer_is_a_twos_complement_and_field_numbers_have_any_size() -> None:
    minus_one = b"\xff" * 9 + b"\x01"
    assert wire.signed(wire.read_fields(b"\x08" + minus_one), 1) == -1
    assert wire.number(wire.read_fields(b"\x08" + minus_one), 1) == 2**64 - 1
    assert wire.number(wire.read_fields(b"\x80\x01\x07"), 16) == 7
    assert wire.messages(wire.read_fields(b"\x0a\x02\x08\x05\x0a\x00"), 1) == [{1: [5]}, {}]
