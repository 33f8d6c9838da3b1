"""`trials` reports for a record exactly the decision that the table makes."""

from __future__ import annotations

from hypothesis import given

from metroline.routing.addresses import SOURCE
from metroline.routing.rules.explain import changes, trials
from metroline.routing.rules.table import RulesTable
from tests.support.worlds import ENDS, Record, Sketch, examples, records, table, tables


@given(tables().filter(bool), records)
@examples(120)
def test_the_rule_that_is_said_to_hold_is_the_one_that_decides(rules: tuple[Sketch, ...], record: Record) -> None:
    rules_table = RulesTable.parse(table(rules), ends=ENDS)
    decision = rules_table.decide(SOURCE, record)
    looked_at = list(trials(rules_table.stop_rules(SOURCE), record))
    tried = [trial.rule for trial in looked_at]
    assert tried == [rule.name for rule in rules if rule.after == SOURCE][: len(tried)]
    held = [trial.rule for trial in looked_at if trial.holds]
    if decision.rule is not None and (decision.outcome is None or decision.outcome.ending != "dead"):
        assert held == tried[-1:] == [decision.rule]
    else:
        assert not held
        assert decision.rule in (None, tried[-1] if tried else None)


def test_nested_values_are_shown_by_their_paths() -> None:
    rules_table = RulesTable.parse(
        """
        [[rules]]
        after = "source"
        when = 'customer.plan == "gold" && lines.exists(l, l.price > 10) && record["US Gross"] > 1'
        to = "a"
        """
    )
    record = {"customer": {"plan": "free", "name": "x" * 100}, "lines": [{"price": 5}, {}], "US Gross": 7}
    [trial] = trials(rules_table.stop_rules(SOURCE), record)
    assert not trial.holds
    assert trial.read["customer.plan"] == '"free"'
    assert trial.read["lines[].price"] == "[5,null]"
    assert trial.read["US Gross"] == "7"


def test_metadata_is_shown_as_rules_read_it() -> None:
    rules_table = RulesTable.parse('[[rules]]\nafter = "source"\nwhen = "meta.key == \\"a\\""\nto = "a"\n')
    [trial] = trials(rules_table.stop_rules(SOURCE), {}, (b"b", None, 5_000, None))
    assert trial.read == {"meta.key": '"b"'}


def test_a_change_of_type_is_a_change() -> None:
    before = {"n": 1, "same": [1], "gone": None}
    after = {"n": 1.0, "same": [1, 2], "new": "x"}
    assert changes(before, after) == ({"n": "1.0", "same": "[1,2]", "new": '"x"'}, ("gone",))


def test_what_no_condition_can_read_is_shown_as_null() -> None:
    rule = '[[rules]]\nafter = "source"\nwhen = "items[-1] == 2"\nto = "end"\n'
    (trial,) = trials(RulesTable.parse(rule).stop_rules("source"), {"items": [1, 2]})
    assert trial.read == {"items[-1]": "null"}
    assert trial.verdict == "rule_error: a list has no element -1"
