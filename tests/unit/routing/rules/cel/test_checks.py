"""A condition that can never work is refused, with its place."""

from __future__ import annotations

import pytest

from metroline.routing.rules.cel.checks import Impossible, check
from metroline.routing.rules.cel.syntax_tree import parse

DIFFERENCE = "a duration or a number or a time"

# The sign ^ in a condition stands before the place that the problem names.
IMPOSSIBLE = [
    ("^'text'", "this is text, and a condition must be true or false"),
    ("a ^+ 1", "this is a number, and a condition must be true or false"),
    ("^5", "this is a number, and a condition must be true or false"),
    ("^[a]", "this is a list"),
    ("^{'k': a}", "this is an object"),
    ("^null", "this is null"),
    ("^record", "this is an object"),
    ("a ^? 1 : 'x'", "this is a number or text"),
    ("a.map^(x, x)", "this is a list"),
    ("^now() > a", "there is no function now: write timestamp(meta.entered) for the present time; docs/rules.md lists"),
    ("^len(a) > 1", "there is no function len; did you mean 'size'?; docs/rules.md lists all functions"),
    ("a == ^True", 'write true for True; a field of that name is record["True"]'),
    ("a != ^None", 'write null for None; a field of that name is record["None"]'),
    ("a.^startWith('x')", "there is no function startWith; did you mean 'startsWith'?; docs/rules.md"),
    ("a.^upper() == 'A'", "there is no function upper"),
    ("math.^greatest(1, a) > 1", "there is no function greatest; docs/rules.md"),
    ("a.^exists(x)", "exists() takes the name of an element and a condition: write list.exists(x, …)"),
    ("^exists(a, x, x > 1)", "exists() takes the name of an element and a condition: write list.exists(x, …)"),
    ("a.^map(x, y, z, w) == []", "map() takes the name of an element and a value: write list.map(x, …)"),
    ("^has(a, b)", "has() takes one field: write has(record.NAME)"),
    ("^size(a, b) == 1", "size() takes 1 argument, not 2"),
    ("a.^size(b) == 1", "size() takes 0 arguments, not 1"),
    ("a.^getHours('UTC', 1) == 1", "getHours() takes 0 or 1 arguments, not 2"),
    ("^startsWith(a, 'x')", "startsWith() is called on a value: write x.startsWith(…)"),
    ("a.^int() == 1", "int() is called on no value: write int(x)"),
    ("^size(5) == a", "size() cannot take a number"),
    ("a.^contains(5)", "contains() cannot take a value and a number"),
    ("^timestamp(true) > a", "timestamp() cannot take true or false"),
    ("^int([a]) == 1", "int() cannot take a list"),
    ("^size(size(a)) == 1", "size() cannot take a number"),
    ("a == 1 && 'x' ^< 5", "`<` cannot take text and a number"),
    ("a + 1 > 2 && 1 ^+ 'x' == a", "`+` cannot take a number and text"),
    ("^-'x' == a", "`-` cannot take text"),
    ("a == 1 || ^!5", "`!` cannot take a number"),
    ("timestamp(a) ^< 5", "`<` cannot take a time and a number"),
    ("timestamp(a) ^+ timestamp(b) == c", "`+` cannot take a time and a time"),
    ("size(a) ^== 'x'", "a number never equals text"),
    ("size(a) ^== null", "a number never equals null"),
    ("1 < a ^< 5", "`<` cannot take true or false and a number: write a < x && x < b"),
    ("first-name ^== 'x'", f'{DIFFERENCE} never equals text; a field of the name first-name is record["first-name"]'),
    ("a.first-name ^== 'x'", f'{DIFFERENCE} never equals text; a field of the name first-name is x["first-name"]'),
    ("meta.entered ^> '2025'", "`>` cannot take a number and text"),
    ("meta.entered ^- timestamp(a) > duration('1h')", "`-` cannot take a number and a time"),
    ("meta.key ^== 1", "null or text never equals a number"),
    ("meta.timestamp ^== 'x'", "a number or null never equals text"),
    ("meta.headers ^== null", "an object never equals null"),
    ("meta.headers['n'] ^> 1", "`>` cannot take null or text and a number"),
    ("meta.headers^[1] == 'x'", "a header is named by text, not by a number"),
    ("meta.headers.n ^> 1", "`>` cannot take null or text and a number"),
    ("int(^'abc') == a", "'abc' is not an integer"),
    ("uint(^'-1') == a", "uint() takes no negative number"),
    ("double(^'abc') == a", "'abc' is not a number"),
    ("bool(^'maybe') == a", "'maybe' is neither true nor false"),
    ("a.startsWith('x') ^== 1", "true or false never equals a number"),
    ("'x' ^!= 5 && a", "text never equals a number"),
    ("type(a) ^== 'int'", "a type never equals text"),
    ("^5 && a", "`&&` needs true or false, not a number"),
    ("a || ^'x'", "`||` needs true or false, not text"),
    ("^'x' ? a : b", "`? :` needs true or false, not text"),
    ("a in ^5", "`in` needs a list or an object, not a number"),
    ("a in ^'text'", "`in` needs a list or an object, not text"),
    ("'x'^.y == a", "text has no field 'y'"),
    ("has^('x'.y) && a", "text has no field 'y'"),
    ("5^[0] == a", "a number has no elements"),
    ("a^[true] == 1", "an element is named by text or counted by a number, not true or false"),
    ("record.a == 1 && {^1: a} == b", "the name of a field must be text"),
    ("'x'.all^(y, y) || a", "all() goes over a list, not over text"),
    ("record.exists^(k, k == 'a')", "exists() goes over a list, not over an object"),
    ("a.all(x, ^5)", "all() needs true or false, not a number"),
    ("a.filter(x, ^'x') == []", "filter() needs true or false, not text"),
    ("a.exists(x, b.all(y, x > y && 'x' ^> 1))", "`>` cannot take text and a number"),
    ("a.matches(^'[')", "'[' is not a regular expression: "),
    ("matches(a, ^'(?<=x)y')", "'(?<=x)y' is not a regular expression: "),
    ("timestamp(^'yesterday') < a", "'yesterday' is not a time such as 2025-01-17T09:30:00Z"),
    ("timestamp(a) - timestamp(b) > duration(^'1 day')", "'1 day' is not a duration such as 1h30m or 90s"),
    ("timestamp(a).getHours(^'Berlin') > 8", "'Berlin' is not a time zone such as Europe/Berlin or +02:00"),
    ("a.exists(x, x.matches(^'*'))", "'*' is not a regular expression: "),
    ("a.matches(^'" + "x" * 1_001 + "')", "a regular expression has at most 1,000 characters, not 1,001"),
    ("a\n  .matches(\n  ^'[')", "'[' is not a regular expression: "),
    ("'🚇' == a && b.matches(^'[')", "'[' is not a regular expression: "),
]


@pytest.mark.parametrize(("text", "problem"), IMPOSSIBLE)
def test_what_can_never_work_is_refused_with_its_place(text: str, problem: str) -> None:
    marked = text.index("^")
    with pytest.raises(Impossible) as caught:
        check(parse(text.replace("^", "", 1)))
    assert caught.value.reason.startswith(problem)
    assert caught.value.offset == marked


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "!a",
        "a ? b : c",
        "a ? true : 5",
        "a == null && a != 'x' && a == b",
        "a + b > c && a + 'x' > b",
        "-a > 1",
        "a.b.c[0]['d'] == 1",
        "has(a.b) && 'k' in a && a in [1, 'x', null]",
        "size(a) > 1 && a.size() == 2 && matches(a, 'x') && a.matches(b)",
        "a.all(x, x) && a.exists(x, x > 1 || x == 'x')",
        "a.map(x, x.y)[0] == 1 && a.filter(x, x.y)[0].z == 1",
        "[a, 1][0] == 'x' && {'k': a}.k == 1 && {'k': a}['k'] == 1",
        "timestamp(a) > timestamp('2020-01-01') - duration('1h')",
        "timestamp(a).getHours(b) > 1 && duration(a).getHours() > 1 && a.getHours() > 1",
        "type(a) == int && type(a) in [list, map] && type(a) == type(b)",
        "int == 5 && string == 'x' && type == 'y' && int(int) == 5",
        "bytes(a) == b'x' && string(a) == 'x' && bool(a) && double(a) > 1.5 && dyn(a) == 1",
        "meta.key == 'x' && record['a b'] == 1 && record.a == 1",
        "l.exists(record, record > 1)",
        "1 / a > 0 || 5 % a == 1",
    ],
)
def test_what_can_work_for_some_record_is_accepted(text: str) -> None:
    check(parse(text))
