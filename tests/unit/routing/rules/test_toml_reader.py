"""Reading a rules table: it is accepted, or refused with all of its problems at once, each with its line."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metroline.routing.errors import InvalidRules
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable
from tests.support.worlds import examples

GOOD = """\
# The route of a line that is in order.

[[rules]]
name = "large ones"             # after = "nowhere"
after = "source"
match = { code = "A", "odd name" = 5, share = 0.5, open = true }
when = '''
amount > 5 &&
currency == "[[rules]]"
'''
to = "check"

[[rules]]
after = "source"
to = "log"

[[rules]]
name = "checked"
after = "check"
drop = "seen"
"""
SERVED = {"check", "log"}


def problems(text: str, served: set[str] | None = None) -> list[str]:
    """Return the problems of a table as 'line: problem'; an empty list if it is valid."""
    found: tuple[str, ...] = ()
    try:
        if served is None:
            RulesTable.parse(text)
        else:
            Network.read(text, served)
    except InvalidRules as error:
        found = error.problems
    assert all(problem.startswith("routes.toml:") for problem in found)
    return [problem.removeprefix("routes.toml:") for problem in found]


def test_a_table_in_order_has_no_problems_and_its_rules_in_their_order() -> None:
    assert problems(GOOD, SERVED) == []
    rules_table = RulesTable.parse(GOOD, version=4)
    assert [rule.name for rule in rules_table.rules] == ["large ones", "rule 2", "checked"]
    assert rules_table.version == 4
    assert rules_table.text == GOOD


RULE = '[[rules]]\nafter = "source"\nto = "log"\n'
BEGIN = '[[rules]]\nafter = "source"\n'
IN_MATCH = "must be text, a number, true or false, or a list of them"
UNKNOWN = "unknown key; there are name, after, match, when, to, drop"

ONE_PROBLEM = [
    ("", "1: there are no rules: add a [[rules]]"),
    ("# nothing\n", "1: there are no rules"),
    ("rules = []", "1: there are no rules"),
    ("\n" + RULE + 'wen = "a > 1"\n', f"5: rule 1: wen: {UNKNOWN}; did you mean 'when'?"),
    (RULE + "mach = { a = 1 }\n", f"4: rule 1: mach: {UNKNOWN}; did you mean 'match'?"),
    ('[[rule]]\nto = "a"\n', "1: unknown key 'rule': a rules table has only [[rules]]; did you mean 'rules'?"),
    ("\nversion = 2\n" + RULE, "2: unknown key 'version': a rules table has only [[rules]]"),
    (RULE + "\n[server]\nport = 1\n", "5: unknown key 'server'"),
    ('name = "x"\n' + RULE.replace("to", 'name = "y"\nto'), "1: unknown key 'name'"),
    (RULE.replace("to", 'name = "y"\nto') + '[name]\nx = "y"\n', "5: unknown key 'name'"),
    ("[rules]\n" + 'after = "source"\n', "1: start each rule with [[rules]], in double brackets"),
    ("\nrules = 5\n", "2: start each rule with [[rules]], in double brackets"),
    ("rules = [5]\n", "1: rule 1 must be a table"),
    (BEGIN, "1: rule 1 has neither `to` nor `drop`"),
    (RULE + 'drop = "x"\n', "1: rule 1 has both `to` and `drop`"),
    ('[[rules]]\nto = "log"\n', "1: rule 1: after: is missing"),
    ('\n[[rules]]\nafter = 5\nto = "log"\n', "3: rule 1: after: "),
    (BEGIN + "\nto = true\n", "4: rule 1: to: "),
    (BEGIN + 'to = ""\n', "3: rule 1: to: "),
    (BEGIN + 'drop = ["x"]\n', "3: rule 1: drop: "),
    (RULE + "name = 5\n", "4: rule 1: name: "),
    (RULE + 'name = "n"\nwhen = 5\n', "5: rule 'n': when: "),
    (RULE + "match = 5\n", "4: rule 1: match: must be a table of fields"),
    (RULE + 'match = { a = [1, true, "x"] }\n', ""),
    (RULE + "match = { a = [] }\n", f"4: rule 1: match.a: {IN_MATCH}"),
    (RULE + "match = { a = [[1]] }\n", f"4: rule 1: match.a: {IN_MATCH}"),
    (RULE + "match = { a = 2020-01-01 }\n", f"4: rule 1: match.a: {IN_MATCH}"),
    (RULE + "match = { a = {} }\n", f"4: rule 1: match.a: {IN_MATCH}"),
    (
        RULE + "match = { a = { b = 1 } }\n",
        "4: rule 1: match.a: for a field inside another one write when = 'a.b == …'",
    ),
    (RULE + "match.a.b = 1\n", "4: rule 1: match.a: for a field inside another one write when = 'a.b == …'"),
    (
        RULE + 'match = { "a.b" = 1 }\n',
        "4: rule 1: match.a.b: a field with a dot is when = 'record[\"a.b\"] == …'; for a",
    ),
    (RULE + f"match = {{ a = {[*range(101)]}, b = {[*range(100)]} }}\n", "4: rule 1: match: its lists have 10100 comb"),
    (RULE + "\n  [rules.match]\n  when = [1.5, nan]\n", "5: rule 1: match.when: no field can equal nan"),
    (
        RULE + f"match = {{ {'.'.join(['a'] * 40)} = 1 }}\n",
        "4: not valid TOML: there are more than 31 dots between names",
    ),
    (RULE + "\n[rules.wen]\nwhen = 1\n", "5: rule 1: wen: unknown key"),
    (RULE + "match = { a = nan }\n", "4: rule 1: match.a: no field can equal nan"),
    (RULE + "match.a = inf\n", "4: rule 1: match.a: no field can equal inf"),
    (RULE + "match = { a = 18446744073709551616 }\n", "4: rule 1: match.a: the integer does not fit into 64 bits"),
    (RULE + f"match = {{ a = 0x{'f' * 5_000} }}\n", "4: rule 1: match.a: the integer does not fit into 64 bits"),
    (RULE + "match = { a = -9223372036854775809 }\n", "4: rule 1: match.a: the integer does not fit into 64 bits"),
    (BEGIN + 'to = "source"\n', "3: rule 1: no rule may lead to 'source'"),
    (RULE + 'when = "a >"\n', "4:12: rule 1: when: the condition does not compile"),
    (RULE + 'when = ""\n', "4: rule 1: when: "),
    (
        RULE + 'when = "now() > a"\n',
        "4:9: rule 1: when: the condition can never work: line 1, column 1: there is no function now",
    ),
    (RULE + 'when = "a.all(x, b.all(y, x < y))"\n', ""),
    (RULE + f'\nwhen = "a == {"1" * 5}{" " * 99_990}"\n', ""),
    (RULE + f'\nwhen = "a == {"1" * 5}{" " * 99_991}"\n', "5: rule 1: when: the condition is 100001 characters long"),
    (RULE + "\n" + RULE, "5: rule 2 can never be reached: rule 1 takes every record after 'source'"),
    (RULE + 'match = {}\nname = "all"\n' + RULE, "6: rule 2 can never be reached: rule 'all' takes every"),
    (BEGIN + 'drop = "x"\n\n' + RULE + 'when = "a"\n', "5: rule 2 can never be reached: rule 1 takes"),
    (
        RULE + 'match = { a = 1 }\nname = "n"\n' + RULE + "# the second\nname = 'n'\n",
        "10: the name 'n' is already used by the rule in line 1",
    ),
    (
        RULE + 'match = { a = 1 }\nname = "rule 2"\n' + RULE,
        "6: the name 'rule 2' is already used by the rule in line 1",
    ),
    (RULE + 'to = "log"\n', '4:11: not valid TOML: the key is set twice\n    to = "log"\n              ^'),
    (
        "[[rules]]\nafter = source\n",
        "2:9: not valid TOML: no value can begin so; text is written in quotes\n    after =",
    ),
    ('[[rules]]\nafter = "source\n', "2:16: not valid TOML: the text in quotes is not closed in its line\n"),
    (RULE + "\nmatch = { a = 1\n", "5:16: not valid TOML: "),
    (RULE + 'when = "a', "4: not valid TOML: "),
    (RULE + '\nwhen = """a\n\n', "5: not valid TOML: "),
    ("[[rules]\n", "1:8: not valid TOML: "),
    (RULE + 'match = { "\ud800" = 1 }\n', "4: not valid TOML: a character cannot be encoded as UTF-8"),
    (RULE + 'match = { "\\ud800" = 1 }\n', "4:18: not valid TOML: "),
    ("a = " + "1" * 5_000, "1: not valid TOML: a number has too many digits"),
    ("a = " + "[" * 5_000, "1: not valid TOML: it is nested too deeply"),
]


@pytest.mark.parametrize(("text", "problem"), ONE_PROBLEM)
def test_a_problem_is_told_with_its_line(text: str, problem: str) -> None:
    found = problems(text)
    assert len(found) == (1 if problem else 0)
    assert "".join(found).startswith(problem)


def test_windows_line_ends_do_not_move_the_lines() -> None:
    assert problems(RULE.replace("\n", "\r\n") + "x = 1\r\n") == [f"4: rule 1: x: {UNKNOWN}"]


@pytest.mark.parametrize(
    "before",
    [
        "# [[rules]]\n",
        '# """\n',
        "# '''\n",
        "# it's\n",
        "# \u2028 \x85 \t\n",
        RULE + 'match = { a = 1 }\nname = """\n\\"\\"\\"\n[[rules]]\n"""\n',
        RULE + "match = { a = 1 }\nwhen = '''\na in\n[[rules]]\n'''\n",
        RULE + "match = { a = \"'''\" }\n",
        RULE + 'match = { a = \'"""\' }\n',
        RULE + 'match = { a = "#" }\n',
        RULE + 'match = { a = 1 }\nname = """it\'s\n[[rules]]\nx = 1 \\"""\n\'"""\n',
        '[["rules"]]\nafter = "source"\nto = "log"\nwhen = "a"\n',
        '  [[ rules ]]  # one\n  after = "source"\n  to = "log"\n  when = "a"\n',
        RULE + 'name = """"[[rules]]""""\nwhen = "a"\n',
    ],
)
def test_comments_and_texts_that_look_like_rules_do_not_move_the_lines(before: str) -> None:
    line = before.count("\n") + 3
    number = 1 + ("after" in before)
    found = problems(before + '[[rules]]\nafter = "check"\nx = 1\nto = "log"\n')
    assert found == [f"{line}: rule {number}: x: {UNKNOWN}"]


def test_every_problem_is_told_at_once_in_the_order_of_the_lines() -> None:
    text = (
        "version = 1\n"
        "[[rules]]\n"
        "foo = 1\n"
        'after = "source"\n'
        'when = "a =="\n'
        "[[rules]]\n"
        'name = "twice"\n'
        'after = "source"\n'
        'to = "log"\n'
        'drop = "x"\n'
        "[[rules]]\n"
        'name = "twice"\n'
        'after = "source"\n'
        'to = "log"\n'
        'when = "now()"\n'
        "[[rules]]\n"
        "match = { a = [] }\n"
        'to = "log"\n'
        "bar = 1\n"
        'name = "twice"\n'
    )
    assert [problem.partition(";")[0][:40] for problem in problems(text)] == [
        "1: unknown key 'version': a rules table ",
        "2: rule 1 has neither `to` nor `drop`",
        "3: rule 1: foo: unknown key",
        "5:13: rule 1: when: the condition does n",
        "6: rule 'twice' has both `to` and `drop`",
        "11: rule 'twice' can never be reached: r",
        "12: the name 'twice' is already used by ",
        "15:9: rule 'twice': when: the condition ",
        "16: rule 'twice': after: is missing",
        "17: rule 'twice': match.a: must be text,",
        "19: rule 'twice': bar: unknown key",
        "20: the name 'twice' is already used by ",
    ]


def test_stops_that_nobody_serves_are_told_beside_what_else_is_wrong() -> None:
    text = (
        '[[rules]]\nafter = "source"\nto = "lgo"\nwhen = "a =="\n'
        '[[rules]]\nafter = 5\nto = ""\n'
        '[[rules]]\nafter = "chek"\nwen = 1\nto = "source"\n'
    )
    assert [problem.partition(";")[0][:44] for problem in problems(text, SERVED)] == [
        "3: rule 1: no service serves the stop 'lgo' ",
        "4:13: rule 1: when: the condition does not c",
        "6: rule 2: after: must be text",
        "7: rule 2: to: is empty",
        "9: rule 3: no service serves the stop 'chek'",
        "10: rule 3: wen: unknown key",
    ]
    assert not [problem for problem in problems(text) if "no service" in problem]


def test_the_error_names_the_file_that_was_asked_for() -> None:
    with pytest.raises(InvalidRules) as caught:
        RulesTable.parse("x = 1", file="lines/mine.toml")
    assert caught.value.problems == ("lines/mine.toml:1: unknown key 'x': a rules table has only [[rules]]",)
    assert str(caught.value) == caught.value.problems[0]


PIECES = [
    *("[[rules]]\n", "[rules]\n", "rules", "\n", " = ", '"', "'", '"""', "'''", "{", "}", "[", "]", "#", ".", ","),
    *("after", "to", "drop", "when", "match", "name", '"source"', '"s"', "1", "nan", "2020-01-01", "true", "\\"),
    *("\x00", "\U0001f600", "9" * 20, "a > 1", "a.exists(x, ", "=", "-", "\r", "\ud800"),
]


@given(st.data())
@examples(400)
def test_any_change_of_a_table_gives_a_table_or_problems(data: st.DataObject) -> None:
    text = GOOD
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(st.sampled_from(PIECES)) + text[at + data.draw(st.integers(0, 12)) :]
    problems(text, SERVED)


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=20).map("".join)))
@examples(400)
def test_any_text_is_a_table_or_has_problems(text: str) -> None:
    problems(text, SERVED)


def test_a_megabyte_that_is_no_table_is_refused_in_a_moment() -> None:
    started = time.process_time()
    assert problems('a = "' + '\\"""' * 249_000)[0].startswith("1:9: not valid TOML")
    assert time.process_time() - started < 10


def test_a_table_of_ten_thousand_problems_is_refused_in_seconds() -> None:
    text = "".join(f'[[rules]]\nafter = "source"\nmatch = {{ a = {n} }}\nto = "x"\n' for n in range(10_000))
    started = time.process_time()
    assert len(problems(text, SERVED)) == 10_000
    assert time.process_time() - started < 20


def test_thousands_of_unknown_keys_are_told_with_their_lines_in_seconds() -> None:
    rule = '[[rules]]\nafter = "source"\nto = "end"\n'
    keys = "".join(f"k{number} = 1\n" for number in range(5_000))
    for text, first in ((rule + keys, 4), (keys + rule, 1)):
        began = time.process_time()
        told = problems(text)
        assert time.process_time() - began < 5
        assert [problem.split(":")[0] for problem in told] == [str(first + number) for number in range(5_000)]


def test_the_indexes_of_all_matches_are_bounded_together() -> None:
    rule = '[[rules]]\nafter = "source"\nmatch = {{ {} }}\nto = "end"\n'
    lists = ", ".join(f"{name} = [1, 2]" for name in "abcdefghijklm")
    (told,) = problems(rule.format(lists) * 100)
    assert told.startswith("51: rule 13: ")
    assert told.endswith("have more than 100,000 combinations")
    (told,) = problems("".join(rule.format(f"f{number} = 1") for number in range(1_500)))
    assert told.startswith("4003: rule 1001: ")
    assert told.endswith("ask for more than 1,000 different fields")


def test_a_condition_of_quotes_that_are_not_closed_is_refused_in_a_moment() -> None:
    began = time.process_time()
    (told,) = problems(
        f"[[rules]]\nafter = 'source'\nwhen = 'a {chr(92)}{chr(34)}{(chr(92) + chr(34)) * 10_000}'\nto = 'end'"
    )
    assert time.process_time() - began < 2
    assert "CEL has no sign" in told
