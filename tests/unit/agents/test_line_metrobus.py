"""The line `metrobus`: its records have exactly the shares that it promises, and each reaches its outcome."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import orjson
import pytest

from metroline.agents.lines.metrobus.records import records
from metroline.agents.lines.metrobus.services import allow_list, contact_point, log
from metroline.agents.services.line import Line
from metroline.agents.services.service import Record
from metroline.app.inputs.lookup_builds import prepare_lookups
from metroline.routing.outcome import Ending, Outcome

LINE = Line.load("metroline.agents.lines.metrobus")
TABLE = LINE.rules_table()
WITHOUT_ADDRESS, REFUSED, ALLOWED = 40_000_010, 40_000_001, 40_000_006


@pytest.fixture(autouse=True)
def lookups() -> None:
    """Build the lookups of the services, as a worker does when it starts."""
    prepare_lookups(LINE)


def has_address(account: int) -> bool:
    return account % 5 != 0


def is_allowed(account: int) -> bool:
    return has_address(account) and account // 5 % 10 != 0


def walk(record: Record) -> tuple[list[str], Outcome]:
    """Return the stops of a record and its outcome, by the line's own table and services."""
    stops: list[str] = []
    decision = TABLE.decide("source", record)
    while decision.stop is not None:
        stops.append(decision.stop)
        record = LINE.services[decision.stop].handler(record)
        decision = TABLE.decide(stops[-1], record)
    assert decision.outcome is not None
    return stops, decision.outcome


@pytest.mark.parametrize("seed", [1, 7])
def test_four_accounts_in_five_have_an_address_and_nine_in_ten_of_those_are_allowed(seed: int) -> None:
    accounts = [record["account_number"] for record in records(10_000, seed)]
    assert sum(map(has_address, accounts)) == 8_000
    assert sum(map(is_allowed, accounts)) == 7_200


def test_the_same_seed_gives_the_same_records_and_another_seed_others() -> None:
    assert list(records(200, 1)) == list(records(200, 1))
    assert not any(one == other for one, other in zip(records(200, 1), records(200, 2), strict=True))


def test_fewer_records_are_the_first_of_more() -> None:
    assert list(records(100, 3)) == list(records(1_000, 3))[:100]


def test_a_record_is_about_1200_bytes_and_no_two_are_alike() -> None:
    encoded = [orjson.dumps(record) for record in records(2_000, 1)]
    assert all(1_100 <= len(line) <= 1_300 for line in encoded)
    assert len({line.split(b'"account_number"')[1] for line in encoded}) == 2_000


def test_the_source_sends_four_types_of_message_evenly() -> None:
    codes = Counter(record["message_type_code"] for record in records(4_000, 1))
    assert codes.keys() == {"ALTABC", "ALTBAL", "ALTCRD", "STMNEW"}
    assert all(850 < number < 1_150 for number in codes.values())


def test_contact_point_adds_the_address_or_a_hold() -> None:
    for account in (WITHOUT_ADDRESS, 1):
        assert contact_point({"account_number": account}) == {"account_number": account, "hold": "no contact point"}
    assert contact_point({"account_number": ALLOWED}) == {
        "account_number": ALLOWED,
        "email": "customer40000006@bank.example",
    }


def test_allow_list_changes_only_the_records_that_it_refuses() -> None:
    assert allow_list({"account_number": ALLOWED}) == {"account_number": ALLOWED}
    assert allow_list({"account_number": REFUSED}) == {"account_number": REFUSED, "hold": "not on the allow list"}


def test_log_says_what_was_sent_to_whom() -> None:
    logged = log({"message_type_code": "ALTABC", "account_number": ALLOWED, "email": "a@bank.example"})["logged"]
    assert logged == "ALTABC of account 40000006 to a@bank.example"


def test_every_record_comes_to_the_outcome_that_its_account_deserves() -> None:
    for record in records(2_000, 1):
        account = record["account_number"]
        stops, outcome = walk(record)
        if not has_address(account):
            assert stops == ["contact_point"]
            assert (outcome.ending, outcome.reason) == (Ending.DROPPED, "no contact point")
        elif not is_allowed(account):
            assert stops == ["contact_point", "allow_list"]
            assert (outcome.ending, outcome.reason) == (Ending.DROPPED, "not on the allow list")
        else:
            assert (stops, outcome) == (["contact_point", "allow_list", "log"], Outcome(Ending.DELIVERED))


def test_a_map_made_at_the_source_forecasts_the_log_and_reads_the_hold() -> None:
    for record in records(50, 1):
        way = [TABLE.decide(stop, record) for stop in ("source", "contact_point", "allow_list", "log")]
        assert [decision.stop for decision in way] == ["contact_point", "allow_list", "log", None]
        assert [decision.reads for decision in way[1:]] == [{"hold"}, {"hold"}, frozenset()]


def test_the_table_uses_match_and_when_and_drop() -> None:
    rules = TABLE.rules
    assert any(rule.match for rule in rules)
    assert any(rule.when for rule in rules)
    assert any(rule.drop for rule in rules)


def test_records_follow_each_other_in_time() -> None:
    times = [record["sent_at"] for record in records(100, 1)]
    assert all(earlier < later for earlier, later in pairwise(times))
