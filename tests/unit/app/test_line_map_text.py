"""The map of a line in plain text: each stop with its rules, in order and aligned."""

from __future__ import annotations

from metroline.app.line_map.text import text_map
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable


def drawn(text: str) -> list[str]:
    return text_map(Network.of(RulesTable.parse(text))).split("\n")


def test_a_table_as_it_is_printed() -> None:
    assert drawn("""
[[rules]]
after = "source"
match = { message_type_code = "ALTABC", amount = 5, urgent = true }
to = "contact_point"
[[rules]]
after = "source"
when = 'message_type_code.startsWith("STM")'
to = "log"
[[rules]]
after = "source"
drop = "not for us"
[[rules]]
after = "contact_point"
to = "log"
""") == [
        'source        ┬ match message_type_code="ALTABC", amount=5, urgent=true → contact_point',
        '              ├ when message_type_code.startsWith("STM")                → log',
        "              └ otherwise                                               ✕ not for us",
        "contact_point ─ always                                                  → log",
        "log           ■ end",
    ]


def test_a_rule_with_both_conditions_shows_both() -> None:
    (line, *_) = drawn('[[rules]]\nafter = "source"\nmatch = { a = 1 }\nwhen = "b > 2"\nto = "log"\n')
    assert "match a=1 when b > 2" in line


def test_where_no_rule_may_hold_it_says_what_becomes_of_the_record() -> None:
    lines = drawn('[[rules]]\nafter = "source"\nwhen = "n > 1"\nto = "log"\n')
    assert lines[1].split() == ["└", "otherwise", "?", "unroutable"]


def test_a_rule_that_delivers_names_its_end() -> None:
    (line, *_, last) = drawn(
        '[[rules]]\nafter = "source"\nmatch = { a = 1 }\nto = "end"\n[[rules]]\nafter = "source"\nto = "log"\n'
    )
    assert line.endswith("■ end")
    assert last.split() == ["log", "■", "end"]


def test_stops_come_in_the_order_of_the_way_and_a_loop_is_marked() -> None:
    lines = drawn("""
[[rules]]
after = "last"
when = "again == true"
to = "first"
[[rules]]
after = "last"
drop = "done"
[[rules]]
after = "source"
to = "first"
[[rules]]
after = "first"
to = "last"
""")
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == ["source", "first", "last"]
    assert "↺ first" in lines[2]
    assert "→ last" in lines[1]


def test_the_columns_stay_aligned_with_wide_letters() -> None:
    lines = drawn(
        '[[rules]]\nafter = "source"\nmatch = { city = "東京" }\nto = "a"\n[[rules]]\nafter = "source"\nto = "b"\n'
    )
    wide = sum(letter in "東京" for letter in lines[0])
    assert lines[0].index("→") + wide == lines[1].index("→")


def test_a_condition_of_many_lines_is_one_and_what_is_too_long_ends_in_an_ellipsis() -> None:
    lines = drawn(
        f'[[rules]]\nafter = "source"\nwhen = """n > 1\n  && m > 2"""\nto = "a"\n'
        f'[[rules]]\nafter = "source"\nwhen = "{" || ".join(["n == 1"] * 40)}"\nto = "b"\n'
    )
    assert "when n > 1 && m > 2" in lines[0]
    assert "… → b" in lines[1]
    assert max(map(len, lines)) < 110


def test_nothing_in_a_table_reaches_the_terminal_as_a_command() -> None:
    (line, *_) = drawn('[[rules]]\nafter = "source"\ndrop = "red \\u001b[31m alert \\u0007"\n')
    assert "\x1b" not in line
    assert "\x07" not in line
    assert "[31m alert" in line
