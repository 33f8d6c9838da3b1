"""A condition that is not CEL is refused with its place and, in plain words, with what is wrong or missing there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metroline.routing.errors import ConditionError, ConditionSyntaxError, InvalidRules
from metroline.routing.rules.cel.complaints import syntax_error
from metroline.routing.rules.condition import Condition
from metroline.routing.rules.excerpt import excerpt
from metroline.routing.rules.table import RulesTable
from tests.support.worlds import examples

RULE = '[[rules]]\nafter = "source"\nto = "log"\n'

REASONS = [
    ("total > ", 9, "a value is missing at the end"),
    ("total = 5", 7, "write == to compare"),
    ("a === b", 5, "write == to compare"),
    ("a is null", 3, "write == to compare"),
    ("a and b", 3, "write && for 'and'"),
    ("a AND b", 3, "write && for 'and'"),
    ("a & b", 3, "write && for 'and'"),
    ("a or b", 3, "write || for 'or'"),
    ("not a", 5, "write ! for 'not'"),
    ("a not in b", 3, "write !(a in b) for 'not in'"),
    ("a <> b", 4, "write != for 'not equal'"),
    ("a => 3", 3, "write >= for 'at least'"),
    ("a =< 3", 3, "write <= for 'at most'"),
    ("a # why", 3, "a comment begins with //"),
    ("a && && b", 6, "a value is missing before &&"),
    ("(a > 1", 7, ") is missing at the end"),
    ("[1, 2", 6, "] is missing at the end"),
    ("a > 1)", 6, "there is no ( for this )"),
    ("([a)", 4, "] has to come first"),
    ("a b", 3, "an operator is missing before b"),
    ("a !b", 3, "an operator is missing before !"),
    ("a, b", 2, ", has no place after a"),
    ("total > 1,000", 10, "a number has no commas"),
    ('a in ("x", "y")', 10, "a list is written as [a, b]"),
    ("a ? b", 6, "the condition is not complete: a ? b needs : and a third part"),
    ("a..b", 3, "a name is missing before ."),
    ("x.", 3, "a name is missing at the end"),
    ("@", 1, "CEL has no sign @"),
    ('name == "x', 9, 'the text that begins here is not closed: " is missing'),
    ('name == "x\ny"', 9, "the text that begins here has a line break: close it, or write it in three quotes"),
    (r'code.matches("\d+")', 14, r"the text has an unknown escape \d: write \\d, or r before the text"),
    (r'code.matches("(a)\1")', 14, r"the text has an unknown escape \1: write \\1, or r before the text"),
    (r'a == "b" "\\d"', 10, r'an operator is missing before "\\d"'),
    (r'a == "b" r"\d"', 10, r'an operator is missing before r"\d"'),
    (":1", 1, "a value is missing before :"),
    ("a !in b", 3, "write !(a in b) for 'not in'"),
    ("a like 'b%'", 3, "write x.contains(y) or x.matches(y) for 'like'"),
    ("a between 1 and 2", 3, "write a <= x && x <= b for 'between'"),
    ("has(note)", 5, "has needs a dot: write has(record.NAME)"),
    ("has(a[0])", 6, "has needs a dot: write has(record.NAME)"),
    ("a.exists(1, x)", 10, "exists begins with a name for the element: write list.exists(x, …)"),
    ("a.map(b.c, x)", 8, "map begins with a name for the element: write list.map(x, …)"),
    (r"a == r'\'", 6, r"a text after r cannot end with a backslash: write \\ without r"),
    (r"a == b'\u00ff'", 6, "the text has an escape that stands for no character"),
    (r"a == '\ud800'", 6, "the text has an escape that stands for no character"),
    ("a.?b", 1, "? has no place here: a field that is absent is null without it"),
    ("a == 0xFFFFFFFFFFFFFFFFFF", 6, "the integer does not fit into 64 bits"),
    ("a == -9223372036854775809", 6, "the integer does not fit into 64 bits"),
    ("if a", 1, 'if is a reserved word: a field of that name is record["if"]'),
    (
        "a > 9223372036854775808",
        5,
        "the integer does not fit into 64 bits: as an unsigned one it does, 9223372036854775808u",
    ),
    (
        "a == 0xFFFFFFFFFFFFFFFF",
        6,
        "the integer does not fit into 64 bits: as an unsigned one it does, 0xFFFFFFFFFFFFFFFFu",
    ),
    ("a == 18446744073709551616", 6, "the integer does not fit into 64 bits"),
    ('"ü😀" = a', 6, "write == to compare"),
]


def refusal(condition: str) -> ConditionError | None:
    """Return the error with which a condition is refused; None if it compiles."""
    try:
        Condition.compile(condition)
    except ConditionError as error:
        return error
    return None


@pytest.mark.parametrize(("condition", "column", "reason"), REASONS)
def test_the_place_and_the_reason_are_said_in_plain_words(condition: str, column: int, reason: str) -> None:
    with pytest.raises(ConditionSyntaxError) as caught:
        Condition.compile(condition)
    assert str(caught.value) == f"the condition does not compile: line 1, column {column}: {reason}"


@given(
    st.lists(st.sampled_from([*"()[]{}'\"=<>&|!?:.,\\\n @", "a", "1", "in", "not", "x == "]), max_size=12).map("".join)
)
@examples(300)
def test_every_condition_compiles_or_is_refused_with_a_place_in_it(condition: str) -> None:
    error = refusal(condition)
    if isinstance(error, ConditionSyntaxError):
        assert excerpt(condition, error.line, error.column).endswith("^")
        assert "<input>" not in str(error)
        assert "expecting" not in str(error)
    else:
        assert "does not compile" not in str(error)


def test_a_complaint_without_a_place_is_passed_on() -> None:
    assert str(syntax_error("a", "too deep. See above")) == "the condition does not compile: too deep"


def test_a_caret_stands_under_the_place_also_in_a_long_condition() -> None:
    assert excerpt("a = 1", 1, 3) == "a = 1\n  ^"
    assert excerpt("a &&\n\tb = 1", 2, 4) == " b = 1\n   ^"
    shown, caret = excerpt("a && " * 100 + "= 1", 1, 501).split("\n")
    assert shown[caret.index("^")] == "="
    assert len(shown) <= 100


@pytest.mark.parametrize(
    ("when", "place", "shown"),
    [
        ("when = 'total = 5'\n", "4:15", "total = 5\n          ^"),
        ("  when   =  'when = 5'\n", "4:19", "when = 5\n         ^"),
        ("when = '''\na > 1 &&\n  total = 5\n'''\n", "6:9", "  total = 5\n            ^"),
        ('when = """a > 1 &&\ntotal = 5"""\n', "5:7", "total = 5\n          ^"),
        ('when = "name == \\"a\\" = 5"\n', "4", 'name == "a" = 5\n                ^'),
    ],
)
def test_a_table_says_the_place_in_the_file_and_shows_the_condition(when: str, place: str, shown: str) -> None:
    with pytest.raises(InvalidRules) as caught:
        RulesTable.parse(RULE + when)
    (problem,) = caught.value.problems
    message, _, below = problem.partition("\n")
    assert message.startswith(f"routes.toml:{place}: rule 1: when: the condition does not compile: line ")
    assert below == f"    {shown}"
    assert str(caught.value) == message


@pytest.mark.parametrize("word", ["as", "package", "for", "while"])
def test_a_condition_that_is_only_a_reserved_word_is_told_as_that(word: str) -> None:
    with pytest.raises(ConditionError, match=rf'{word} is a reserved word: .* record\["{word}"\]$'):
        Condition.compile(word)


def test_a_text_in_a_condition_is_not_taken_for_words_of_the_parser() -> None:
    with pytest.raises(ConditionError, match=r"a value is missing at the end$"):
        Condition.compile("'recursion limit' ==")
    with pytest.raises(ConditionError) as error:
        Condition.compile("exists( ! - \x00 b'\\u1234'")
    assert "literal" not in str(error.value)
