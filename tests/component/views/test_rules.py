"""The page of the rules: the current version, earlier versions, and those that were refused."""

from __future__ import annotations

from msgspec import to_builtins

from metroline.app.views.tables import rules
from metroline.routing.strategies import strategy_named
from tests.support.bench import RULES, Bench, until

SIGNPOST, HARD_WIRED = strategy_named("signpost"), strategy_named("hard_wired")


def test_the_current_version_is_shown_in_full(bench: Bench) -> None:
    page = rules.read(bench.rule_tables, SIGNPOST)
    current = page.current
    assert current is not None
    assert (page.version, current.by, current.at) == (1, "a test", "1970-01-01T00:16:40.000Z")
    assert current.text == RULES
    assert to_builtins(current.rules[1]) == {
        "name": "big ones to b",
        "after": "a",
        "match": {},
        "when": "size > 10",
        "to": "b",
        "drop": None,
    }
    assert page.earlier == page.refused == []
    assert page.note is None
    assert "Current: version 1, published by a test" in rules.show(page)


def test_programs_read_the_documented_fields_in_order(bench: Bench) -> None:
    bench.publish(RULES + "# second\n", 1)
    page = to_builtins(rules.read(bench.rule_tables, SIGNPOST))
    assert list(page) == ["version", "current", "earlier", "refused", "note"]
    assert list(page["current"]) == ["version", "by", "at", "replaces", "text", "why", "rules"]
    assert list(page["earlier"][0]) == ["version", "by", "at", "replaces", "text", "why"]
    assert list(to_builtins(rules.entry(bench.rule_tables, "1"))) == [
        "version",
        "by",
        "at",
        "replaces",
        "text",
        "why",
        "reason",
    ]


def test_earlier_versions_keep_their_text_newest_first(bench: Bench) -> None:
    bench.publish(RULES + "# second\n", 1)
    bench.publish(RULES + "# third\n", 2)
    page = rules.read(bench.rule_tables, SIGNPOST)
    assert page.current is not None
    assert page.current.version == 3
    assert [(one.version, one.text) for one in page.earlier] == [(2, RULES + "# second\n"), (1, RULES)]


def test_a_version_that_was_refused_stands_with_its_reason(bench: Bench) -> None:
    assert bench.rule_tables.current is not None
    bench.publish(RULES.replace('to = "b"', 'to = "<nowhere>"'), 1)
    page = rules.read(bench.rule_tables, SIGNPOST)
    assert page.version == 1
    assert [one.version for one in page.refused] == [2]
    assert "<nowhere>" in str(page.refused[0].reason)
    assert page.earlier == []
    shown = rules.show(page)
    assert "&lt;nowhere&gt;" in shown
    assert "<nowhere>" not in shown


def test_before_the_first_version_the_page_says_so(bench: Bench) -> None:
    bench.rules.data.clear()
    page = rules.read(bench.rule_tables, SIGNPOST)
    assert page.current is None
    assert "No version yet" in rules.show(page)


def test_a_strategy_that_keeps_to_the_file_is_named_where_the_file_differs(bench: Bench) -> None:
    assert rules.read(bench.rule_tables, HARD_WIRED).note is None
    bench.publish(RULES + "# another\n", 1)
    page = rules.read(bench.rule_tables, HARD_WIRED)
    assert "hard_wired" in str(page.note)
    assert "hard_wired" in rules.show(page)
    assert rules.read(bench.rule_tables, SIGNPOST).note is None


def test_one_version_by_its_number(bench: Bench) -> None:
    found = rules.entry(bench.rule_tables, "1")
    assert found is not None
    assert (found.version, found.text, found.reason) == (1, RULES, None)
    for key in ("2", "01", "x", "", "1/2", "9" * 5_000):
        assert rules.entry(bench.rule_tables, key) is None


async def test_a_table_of_ten_thousand_rules_is_shown_in_part_and_answered_in_full(bench: Bench) -> None:
    rule = '[[rules]]\nafter = "source"\nmatch = {{ n = {n} }}\nto = "a"\n'
    text = "".join(rule.format(n=n) for n in range(10_000)) + RULES
    bench.publish(text, 1)
    await until(lambda: bench.rule_tables.version == 2, 60)

    page = rules.read(bench.rule_tables, SIGNPOST)
    assert page.current is not None
    assert len(page.current.rules) == 10_003
    shown = rules.show(page)
    assert shown.count("<tr>") == 1 + rules.ROWS
    assert "9,003 more" in shown
