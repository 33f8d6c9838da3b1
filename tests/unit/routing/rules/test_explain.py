"""`explain` reports for a record exactly the decisions that the table makes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given

from metroline.routing.addresses import SOURCE
from metroline.routing.rules.explain import explain
from metroline.routing.rules.table import RulesTable
from tests.support.worlds import ENDS, Handler, Record, Sketch, examples, records, services, table, tables


@given(tables().filter(bool), records)
@examples(120)
def test_the_rule_that_explain_says_holds_is_the_one_that_decides(rules: tuple[Sketch, ...], record: Record) -> None:
    rules_table = RulesTable.parse(table(rules), ends=ENDS)
    decision = rules_table.decide(SOURCE, record)
    first = next(iter(explain(rules_table, record, {}, 64)))
    tried = [trial.rule for trial in first.trials]
    assert tried == [rule.name for rule in rules if rule.after == SOURCE][: len(tried)]
    held = [trial.rule for trial in first.trials if trial.holds]
    if decision.rule is not None and (decision.outcome is None or decision.outcome.ending != "dead"):
        assert held == tried[-1:] == [decision.rule]
    else:
        assert not held
        assert decision.rule in (None, tried[-1] if tried else None)
    if decision.reads is not None:
        looked_at = {name for trial in first.trials for name in trial.read}
        assert looked_at <= decision.reads


@given(tables().filter(bool), services, records)
@examples(60)
def test_explain_follows_a_record_from_stop_to_stop_to_its_end(
    rules: tuple[Sketch, ...], handlers: dict[str, Handler], record: Record
) -> None:
    rules_table = RulesTable.parse(table(rules), ends=ENDS)
    told = list(explain(rules_table, record, handlers, 64))
    assert told[0].after == SOURCE
    for before, behind in pairwise(told):
        assert before.verdict == behind.after
    assert told[-1].verdict.partition(":")[0] in ("delivered", "dropped", "dead")


def test_explain_tells_what_each_service_did_to_the_record() -> None:
    rules_table = RulesTable.parse('[[rules]]\nafter = "source"\nto = "a"\n[[rules]]\nafter = "a"\nto = "b"\n')
    before = {"n": 1, "same": [1], "gone": None}

    def change(record: Record) -> Record:
        del record["gone"]
        record["same"].append(2)
        return record | {"n": 1.0, "new": "x"}

    told = list(explain(rules_table, before, {"a": change, "b": lambda record: record}, 64))
    assert [(step.after, step.sets, step.removes) for step in told] == [
        ("source", {}, ()),
        ("a", {"n": "1.0", "same": "[1,2]", "new": '"x"'}, ("gone",)),
        ("b", {}, ()),
    ]
    assert before == {"n": 1, "same": [1], "gone": None}
