"""The cases of a line are read with every mistake in its line, compared exactly, and updated without loss."""

from __future__ import annotations

import asyncio
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metroline.app.testing.case_results import CaseResult, results_of
from metroline.app.testing.case_updates import NotUpdatable, updated
from metroline.app.testing.cases import Cases, NoCases
from metroline.app.testing.in_memory_line import in_memory_line
from metroline.app.testing.junit import junit_xml
from metroline.app.testing.toml_statements import statements_of, tables_of
from metroline.app.testing.toml_values import toml_key, toml_value
from metroline.routing.errors import InvalidCases, UsageError
from metroline.routing.strategies import STRATEGIES
from tests.support.worlds import examples

SERVICES = """
from metroline import Drop, lookup, service

names = lookup("testing.names")

@service(no_retry=(KeyError,))
def price(order):
    order["total"] = order["quantity"] * 2
    order.pop("draft", None)
    return order

@service
def ship(order, meta):
    if order.get("address") is None:
        return Drop("no address")
    order["to"] = names.get(order["address"])
    order["key"] = None if meta.key is None else meta.key.decode()
    return order
"""
RULES = """
[[rules]]
after = "source"
to = "price"

[[rules]]
after = "price"
when = "total > 2"
to = "ship"

[[rules]]
after = "price"
to = "end"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a line."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "services.py").write_text(SERVICES)
    (tmp_path / "routes.toml").write_text(RULES)
    return tmp_path


def results(folder: Path, text: str) -> tuple[Cases, list[CaseResult]]:
    cases = Cases.parse(text, folder / "cases.toml")
    return cases, asyncio.run(results_of(in_memory_line(folder), cases, cases.cases, list(STRATEGIES)))


def differences(folder: Path, text: str) -> list[str]:
    """Return how the only case of a text differs, by every strategy."""
    found = {result.differences for result in results(folder, text)[1]}
    assert len(found) == 1
    return list(found.pop())


def update(folder: Path, text: str) -> str:
    return updated(*results(folder, text))


ALL_KEYS = """
[lookups."testing.names"]
home = "1 Main St"

[[cases]]
name = "an order is shipped"
record = { quantity = 2, address = "home", draft = true }
key = "k"
headers = { type = "order" }
timestamp = 2024-01-01T00:00:00Z
now = 2024-01-02T00:00:00Z
stops = ["price", "ship"]
outcome = "delivered"
end = "end"
changes = { total = 4, to = "1 Main St", key = "k" }
removes = ["draft"]
"""


def test_a_case_that_is_as_expected_passes_under_every_strategy(folder: Path) -> None:
    cases, found = results(folder, ALL_KEYS)
    assert [result.strategy for result in found] == list(STRATEGIES)
    assert all(result.has_passed for result in found)
    assert (cases.cases[0].line, cases.cases[0].now) == (5, 1704153600.0)


@pytest.mark.parametrize(
    ("before", "behind", "difference"),
    [
        ('stops = ["price", "ship"]', 'stops = ["price"]', "stops: expected price, was price → ship"),
        ('"delivered"', '"dropped"', "outcome: expected dropped, was delivered"),
        ('end = "end"', 'end = "b"', "end: expected b, was end"),
        ('end = "end"', 'reason = "no"', "reason: expected no, was none"),
        ("total = 4", "total = 4.0", "changes: total: expected 4.0, was 4"),
        ("total = 4, ", "", "changes: total: expected no change, was 4"),
        ('key = "k" }', 'key = "k", more = [1] }', "changes: more: expected [1], was not changed"),
        ('removes = ["draft"]', "removes = []", "removes: expected none, was draft"),
        ('"1 Main St"\n', '"2 Main St"\n', 'changes: to: expected "1 Main St", was "2 Main St"'),
    ],
)
def test_each_difference_is_told(folder: Path, before: str, behind: str, difference: str) -> None:
    assert before in ALL_KEYS
    assert differences(folder, ALL_KEYS.replace(before, behind, 1)) == [difference]


def test_only_what_a_case_names_is_compared(folder: Path) -> None:
    assert differences(folder, '[[cases]]\nrecord = { quantity = 1 }\noutcome = "delivered"\n') == []
    nothing = differences(folder, "[[cases]]\nrecord = { quantity = 1 }\n")
    assert nothing == ["it expects nothing: write an outcome, or run the command with --update"]
    ignoring = '[[cases]]\nrecord = { quantity = 1 }\nignore = ["total"]\nchanges = {}\n'
    assert differences(folder, ignoring) == []


def test_nulls_are_written_as_json(folder: Path) -> None:
    text = """[[cases]]\nrecord = '{"quantity": 2, "address": null}'\noutcome = "dropped"\nreason = "no address"\n"""
    assert differences(folder, text) == []


@pytest.mark.parametrize(
    ("reason", "is_enough"),
    [
        ("service_error", True),
        ("service_error: KeyError", True),
        ("service_error: KeyError: 'quantity' (services.py:8 in price)", True),
        ("service", False),
        ("service_error: Key", False),
    ],
)
def test_the_first_words_of_a_dead_letters_reason_are_enough(folder: Path, reason: str, is_enough: bool) -> None:
    found = differences(folder, f'[[cases]]\nrecord = {{}}\noutcome = "dead"\nreason = "{reason}"\n')
    assert (found == []) is is_enough


def test_services_are_replaced_for_all_cases_and_for_one(folder: Path) -> None:
    text = """
[services.price]
sets = { total = 1 }

[[cases]]
record = {}
outcome = "delivered"
changes = { total = 1 }

[[cases]]
record = {}
outcome = "dropped"
reason = "closed"
[cases.services.price]
drop = "closed"
"""
    assert all(result.has_passed for result in results(folder, text)[1])


def test_a_service_that_needs_a_missing_lookup_fails_its_case(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKUP_DIR", str(folder / "none"))
    [difference] = differences(folder, '[[cases]]\nrecord = { quantity = 2, address = "x" }\noutcome = "delivered"\n')
    assert difference.startswith("the stop 'ship': the service could not be called: there is no lookup 'testing.names'")


SETTINGS = """
from pydantic_settings import BaseSettings

from metroline import service


class Settings(BaseSettings, env_prefix="SHOP_"):
    url: str
    tax: float = 0.1
    limit: int = 9


@service
def price(order, settings):
    return order | {"tax": settings.tax, "url": settings.url, "limit": settings.limit}
"""
PRICED = """
[[cases]]
record = {}
changes = { tax = 0.2, url = "none", limit = 7 }

[settings]
tax = 0.2
url = "none"
"""


@pytest.fixture
def priced(tmp_path: Path) -> Path:
    folder = tmp_path / "priced"
    folder.mkdir()
    (folder / "services.py").write_text(SETTINGS)
    (folder / "routes.toml").write_text('[[rules]]\nafter = "source"\nto = "price"\n')
    return folder


def test_settings_in_the_file_are_those_of_its_cases_and_others_are_of_the_environment(
    priced: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TAX", "0.3")
    monkeypatch.setenv("SHOP_LIMIT", "7")
    assert differences(priced, PRICED) == []


def test_settings_that_the_line_does_not_have_or_that_do_not_fit_are_wrong_use(priced: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match=r"the line has no setting 'taxx'; did you mean 'tax'\?"):
        results(priced, PRICED.replace("tax = 0.2\n", "taxx = 0.2\n"))
    with pytest.raises(UsageError, match=r"no setting 'colour'; there are limit, tax, url"):
        results(priced, PRICED + "colour = 1")
    with pytest.raises(UsageError, match="SHOP_TAX: Input should be a valid number"):
        results(priced, PRICED.replace("tax = 0.2\n", "tax = 'much'\n"))
    with pytest.raises(UsageError, match="the line has no class Settings"):
        results(folder, PRICED)


def test_settings_of_the_line_are_not_taken_for_those_of_metroline(priced: Path) -> None:
    with pytest.raises(
        UsageError, match="'url' is a setting of the line, not of Metroline: give them all as a resource"
    ):
        in_memory_line(priced, settings={"url": "none"})


def test_a_stand_in_for_no_stop_is_wrong_use(folder: Path) -> None:
    with pytest.raises(UsageError, match="no service serves the stop 'prize'"):
        results(folder, '[services.prize]\ndrop = "x"\n[[cases]]\nrecord = {}\noutcome = "dead"\n')


WRONG = """[services.price]
sets = 3
[[cases]]
name = "a"
recrd = {}
[[cases]]
name = "a"
record = '[1]'
outcome = "lost"
[[cases]]
record = {}
stops = "price"
headers = { a = 1 }
[cases.services.ship]
dropp = "x"
"""


def test_every_mistake_is_listed_with_its_line() -> None:
    with pytest.raises(InvalidCases) as raised:
        Cases.parse(WRONG, Path("cases.toml"))
    problems = raised.value.problems
    assert [problem.partition(": ")[0] for problem in problems] == [
        f"cases.toml:{line}" for line in (2, 2, 3, 5, 9, 12, 13, 15)
    ]
    text = "\n".join(problems)
    assert "cases.toml:3: cases 1.record: is missing" in text
    assert "cases 1.recrd: unknown key; there are name, record" in text
    assert "did you mean 'record'?" in text
    assert "cases 3.services.ship.dropp: unknown key; there are sets, drop; did you mean 'drop'?" in text
    assert "cases 2.outcome: must be 'delivered', 'dropped' or 'dead'" in text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "cases.toml:1: there are no cases: write [[cases]] and a record"),
        ("[[cases]]\nrecord = {\n", "cases.toml:2:11: not valid TOML"),
        (
            "[[cases]]\nrecord = { at = 2024-01-01 }\n",
            "cases.toml:2: cases 1.record.at: JSON has no dates and times: write it as text, in quotes",
        ),
        ("[[cases]]\nrecord = { a = [{ b = inf }] }\n", "cases.toml:2: cases 1.record.a 1.b: JSON has no inf"),
        ("[[cases]]\nrecord = '[1]'\n", "cases.toml:2: cases 1.record: not a JSON object but a list"),
        (
            "[[cases]]\nrecord = { a = 18446744073709551616 }\n",
            "cases.toml:2: cases 1.record.a: the integer 18446744073709551616 does not fit into 64 bits",
        ),
        (
            "[[cases]]\nrecord = {}\nnow = 2024-01-01T00:00:00\n",
            "cases.toml:3: cases 1.now: has no time zone: write Z behind it for UTC",
        ),
        (
            '[[cases]]\nname = "a"\nrecord = {}\n[[cases]]\nname = "a"\nrecord = {}\n',
            "cases.toml:5: cases 2.name: there is another case named 'a'",
        ),
    ],
)
def test_values_that_no_record_can_have_are_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidCases) as raised:
        Cases.parse(text, Path("cases.toml"))
    assert raised.value.problems[0].startswith(problem)


def test_a_line_without_cases_says_what_to_create(tmp_path: Path) -> None:
    with pytest.raises(NoCases, match=r"cases.toml is missing: create it with a \[\[cases\]\]"):
        Cases.read(tmp_path / "cases.toml")


OLD = """# All orders.
[[cases]]  # the first
name = "new" # stays
# a comment
record = { quantity = 2 }

[[cases]]
stops = [
    "price",  # lost
]
outcome = "delivered"   # the outcome
record.quantity = 2
[cases.changes]
total = 3  # the total
gone = 1
# behind

[[cases]]
name = "passes"
record = { quantity = 1 }
changes = {   total = 2   }
"""
NEW = """# All orders.
[[cases]]  # the first
name = "new" # stays
# a comment
record = { quantity = 2 }
stops = ["price", "ship"]
outcome = "dropped"
reason = "no address"
changes = { total = 4 }

[[cases]]
stops = ["price", "ship"]
outcome = "dropped"   # the outcome
record.quantity = 2
reason = "no address"
[cases.changes]
total = 4  # the total
# behind

[[cases]]
name = "passes"
record = { quantity = 1 }
changes = {   total = 2   }
"""


def test_an_update_writes_what_is_and_keeps_the_rest(folder: Path) -> None:
    text = update(folder, OLD)
    assert text == NEW
    assert all(result.has_passed for result in results(folder, text)[1])
    assert update(folder, text) == text


def test_an_update_keeps_the_line_breaks_of_windows(folder: Path) -> None:
    assert update(folder, OLD.replace("\n", "\r\n")) == NEW.replace("\n", "\r\n")


def test_what_was_right_is_not_written_anew(folder: Path) -> None:
    right = """changes = '{ "total" : 2 }'  # as it is\n"""
    text = f'[[cases]]\nrecord = {{ quantity = 1 }}\n{right}outcome = "dead"\nreason = "unroutable"\n'
    assert update(folder, text) == f'[[cases]]\nrecord = {{ quantity = 1 }}\n{right}outcome = "delivered"\n'


def test_changes_in_tables_within_tables_become_one_or_are_refused(folder: Path) -> None:
    start = "[[cases]]\nrecord = { quantity = 1 }\n[cases.changes]\n"
    assert update(folder, start + "[cases.changes.a]\nb = 1\n") == start + "total = 2\n"
    for behind in ("[cases.changes.a]\nb = 1\n", '[cases.changes]\n"total\\"" = 1\n"total\\u0022 " = 1\n'):
        with pytest.raises(NotUpdatable, match="and its changes in one table"):
            update(folder, start.replace("[cases.changes]\n", behind))


def test_new_keys_come_before_the_tables_within_a_case(folder: Path) -> None:
    text = "[[cases]]\n\n# what comes in\n[cases.record]\nquantity = 1 # one\n\n[cases.headers]\na = 'b'\n"
    changed = update(folder, text)
    assert changed == text.replace(
        "[[cases]]\n", '[[cases]]\nstops = ["price"]\noutcome = "delivered"\nend = "end"\nchanges = { total = 2 }\n'
    )


def test_an_update_pins_a_record_that_visits_no_stop_and_the_default_end(folder: Path) -> None:
    case = "[[cases]]\nrecord = { quantity = 1 }\n"
    delivered = update(folder, case)
    (folder / "line.toml").write_text('[ends.other]\ntopic = "t"\n')
    (folder / "routes.toml").write_text(RULES.replace('to = "end"', 'to = "other"'))
    assert [list(one.differences) for one in results(folder, delivered)[1]] == [["end: expected end, was other"]] * 4
    dropped = RULES.replace('to = "price"', 'drop = "no"', 1)
    (folder / "routes.toml").write_text(dropped[: dropped.index("[[rules]]", 5)])
    without_stops = update(folder, case)
    assert without_stops == case + 'stops = []\noutcome = "dropped"\nreason = "no"\n'
    (folder / "routes.toml").write_text(RULES.replace('to = "end"', 'drop = "no"'))
    assert [one.differences[0] for one in results(folder, without_stops)[1]] == ["stops: expected none, was price"] * 4


def test_an_update_writes_the_cause_of_a_dead_letter_without_the_line_of_the_code(folder: Path) -> None:
    text = update(folder, "[[cases]]\nrecord = {}")
    assert text == ('[[cases]]\nrecord = {}\nstops = ["price"]\noutcome = "dead"\nreason = "service_error: KeyError"\n')
    assert all(result.has_passed for result in results(folder, text)[1])


def test_an_update_writes_changes_with_null_as_json(folder: Path) -> None:
    text = '[[cases]]\nrecord = { quantity = 2, address = "x" }\n[lookups."testing.names"]\n'
    changed = update(folder, text)
    assert """changes = '{"total":4,"to":null,"key":null}'""" in changed
    assert all(result.has_passed for result in results(folder, changed)[1])


UNSTEADY = """
from itertools import count
from metroline import service

numbers = count()

@service
def price(order):
    order["number"] = next(numbers)
    return order

@service
def ship(order):
    return order
"""


def test_what_differs_between_strategies_is_not_written_but_told(folder: Path) -> None:
    (folder / "services.py").write_text(UNSTEADY)
    (folder / "routes.toml").write_text(RULES.replace("total > 2", "number % 2 == 1"))
    text = "[[cases]]\nrecord = {}\n"
    cases, found = results(folder, text)
    assert updated(cases, found) == text
    assert [len(result.differences) for result in found] == [1, 2, 1, 2]
    assert found[1].differences[1].startswith("it goes another way than by hard_wired: its services are not determin")


def test_fields_that_vary_are_ignored(folder: Path) -> None:
    (folder / "services.py").write_text(UNSTEADY)
    (folder / "routes.toml").write_text(RULES.replace("total > 2", "number >= 0"))
    text = '[[cases]]\nrecord = {}\nignore = ["number"]\n'
    assert update(folder, text) == text + 'stops = ["price", "ship"]\noutcome = "delivered"\nend = "end"\n'
    assert update(folder, "[[cases]]\nrecord = {}\n") == "[[cases]]\nrecord = {}\n"


def test_cases_in_one_list_are_not_updated_but_refused(folder: Path) -> None:
    with pytest.raises(NotUpdatable, match=r"write each case below a \[\[cases\]\] of its own"):
        update(folder, "cases = [{ record = {} }]\n")


def test_junit_has_a_test_case_for_each_case_and_strategy(folder: Path) -> None:
    cases, found = results(
        folder,
        '[[cases]]\nname = "<a> & \\u001b"\nrecord = { quantity = 1 }\noutcome = "dead"\n'
        '[[cases]]\nrecord = { quantity = 1 }\noutcome = "delivered"\n',
    )
    root = ElementTree.fromstring(junit_xml("shop", cases.file, found))
    assert root.attrib["tests"] == "8"
    assert root.attrib["failures"] == "4"
    tests = list(root.iter("testcase"))
    assert tests[0].attrib["name"] == "<a> & \ufffd"
    assert tests[0].attrib["classname"] == "shop.hard_wired"
    failures = [test.find("failure") for test in tests]
    assert [failure is not None for failure in failures] == [True] * 4 + [False] * 4
    assert failures[0] is not None
    assert failures[0].attrib["message"] == "outcome: expected dead, was delivered"
    assert "source → price  (rule 1)" in str(failures[0].text)


JSON = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
@examples(200)
def test_values_are_read_as_they_were_written(values: dict[str, object]) -> None:
    text = "".join(f"{toml_key(name)} = {toml_value(value)}\n" for name, value in values.items())
    assert tomllib.loads(text) == values
    assert "".join(statement.text for statement in statements_of(text)) == text


WINDOWS = 'a = """\n[x]\n"""\r\n[b]\r\nc = [\r\n[1]\r\n]'


@pytest.mark.parametrize("text", [OLD, NEW, WRONG, ALL_KEYS, WINDOWS, "", "a = 1"])
def test_the_statements_of_a_text_are_the_text(text: str) -> None:
    assert "".join(statement.text for statement in statements_of(text)) == text
    assert "".join(table.text for table in tables_of(text)) == text
