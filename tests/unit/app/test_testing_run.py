"""`run_line` takes records through a line as a worker would, under each strategy, and tells how."""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from hypothesis import given

from metroline import Drop
from metroline.agents.services.line import Line
from metroline.agents.services.service import Record, Service, service
from metroline.app.line_settings import InvalidSettings
from metroline.app.operations.rehearsal import Rehearsal
from metroline.app.testing.in_memory_line import InMemoryLine
from metroline.app.testing.messages import messages_of
from metroline.app.testing.run import seen_journeys
from metroline.routing.errors import InvalidRules, UnknownStrategy, UsageError
from metroline.routing.journeys.departures import Limits
from metroline.routing.journeys.ends import End
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.journeys.tombstones import Tombstones
from metroline.routing.rules.table import RulesTable
from metroline.routing.strategies import STRATEGIES
from metroline.testing import Journey, Message, StrategiesDiffer, UnfinishedJourney, run_line, run_line_async
from tests.support.worlds import ENDS, Handler, Sketch, as_json, examples, records, services, table, tables

SERVICES = """
from metroline import Drop, Retry, lookup, service

addresses = lookup("testing.addresses")

@service
def price(order):
    order["total"] = order["quantity"] * order["unit_price"]
    return order

@service(reads=["account"], concurrency=4)
async def address(record):
    record["address"] = addresses.get(record["account"])
    return record

@service(blocking=True, attempts=3)
def charge(order, id):
    if order["total"] > 900:
        raise ConnectionError("the bank is away")
    order["charged"] = id
    return order

@service
def ship(order):
    return order if order["address"] else Drop("no address")
"""
RULES = """
[[rules]]
after = "source"
to = "price"

[[rules]]
after = "price"
to = "address"

[[rules]]
name = "large orders are charged"
after = "address"
when = "total >= 100"
to = "charge"

[[rules]]
after = "address"
drop = "too small"

[[rules]]
after = "charge"
to = "ship"

[[rules]]
name = "all is done"
after = "ship"
to = "shipped"
"""
OPTIONS = """
[ends.shipped]
topic = "orders.shipped"
key = "account"
"""
LOOKUPS = {"testing.addresses": {7: "7 Main St"}}
AWAY = "service_error: ConnectionError: the bank is away (services.py:19 in charge)"
ORDER = {"account": 7, "quantity": 3, "unit_price": 50}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a line with four stops and an end of its own."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    return line_in(tmp_path / "shop", SERVICES, RULES, OPTIONS)


def line_in(folder: Path, services: str, rules: str, options: str = "") -> Path:
    folder.mkdir()
    (folder / "services.py").write_text(dedent(services))
    (folder / "routes.toml").write_text(rules)
    (folder / "line.toml").write_text(options)
    return folder


def one_stop(tmp_path: Path, code: str) -> Path:
    """Return the folder of a line with the stop `work`, whose service has this code."""
    return line_in(tmp_path / "line", code, '[[rules]]\nafter = "source"\nto = "work"\n')


@pytest.mark.parametrize("strategy", [*STRATEGIES, "all"])
def test_a_journey_has_stops_outcome_end_record_and_history(folder: Path, strategy: str) -> None:
    [journey] = run_line(folder, ORDER, strategy, lookups=LOOKUPS)

    assert journey.stops == ["price", "address", "charge", "ship"]
    assert (journey.outcome, journey.end, journey.reason, journey.cause) == ("delivered", "shipped", None, None)
    assert journey.record == ORDER | {"total": 150, "address": "7 Main St", "charged": "test-0-0"}
    assert journey.changes == {"total": 150, "address": "7 Main St", "charged": "test-0-0"}
    assert [visit.rule for visit in journey.history][2] == "large orders are charged"
    assert journey.history[0].record == ORDER | {"total": 150}
    assert journey.rule == "all is done"
    deciders = {
        "hard_wired": ["on-ramp", "price", "address", "charge"],
        "conductor": ["conductor"] * 4,
        "map_maker": ["map-maker", "switch", "switch", "switch"],  # the first stop sets what a rule reads
    }
    wanted = deciders.get(strategy, deciders["hard_wired"])
    assert [visit.by for visit in journey.history] == wanted


def test_five_records_take_four_stops_in_no_time(folder: Path) -> None:
    orders = [ORDER | {"quantity": number} for number in range(3, 8)]
    run_line(folder, [], lookups=LOOKUPS)

    began = time.process_time()
    journeys = run_line(folder, orders, lookups=LOOKUPS)

    assert time.process_time() - began < 0.2, "seconds of CPU: other tests may keep the machine busy"
    assert [len(journey.stops) for journey in journeys] == [4] * 5
    assert [journey.record["charged"] for journey in journeys] == [f"test-0-{number}" for number in range(5)]


def test_drops_of_rules_and_of_services_have_their_reasons(folder: Path) -> None:
    small, homeless = run_line(folder, [ORDER | {"quantity": 1}, ORDER | {"account": 8}], "all", lookups=LOOKUPS)
    assert (small.outcome, small.reason, small.rule) == ("dropped", "too small", "rule 4")
    assert small.stops == ["price", "address"]
    assert (homeless.outcome, homeless.reason, homeless.end) == ("dropped", "no address", None)


def test_a_dead_letter_has_its_cause_its_attempts_and_the_exception(folder: Path) -> None:
    [journey] = run_line(folder, ORDER | {"quantity": 30}, "all", lookups=LOOKUPS)

    assert (journey.outcome, journey.cause) == ("dead", "service_error")
    assert journey.reason == AWAY
    assert len(journey.history[-1].attempts) == 3
    assert isinstance(journey.error, ConnectionError)
    assert journey.waited == 0.5 + 1.0
    assert "charged" not in journey.record


def test_a_journey_reads_as_one(folder: Path) -> None:
    dead, small = run_line(folder, [ORDER | {"quantity": 30}, ORDER | {"quantity": 1}], lookups=LOOKUPS)

    assert (small.ending, dead.ending) == ("dropped: too small", f"dead: {AWAY}")
    assert repr(small) == "<Journey source → price → address → dropped: too small>"
    assert str(dead).splitlines() == [
        'record {"account":7,"quantity":30,"unit_price":50}, by signpost',
        "source  → price  (rule 1)",
        "          sets total=1500",
        "price   → address  (rule 2)",
        '          sets address="7 Main St"',
        "address → charge  (large orders are charged)",
        *(f"          attempt {number} of 3: {AWAY}" for number in (1, 2, 3)),
        f"charge  → dead: {AWAY}",
    ]


def test_text_of_others_cannot_forge_a_journey(tmp_path: Path) -> None:
    folder = one_stop(
        tmp_path,
        """
        from metroline import Drop, service

        @service
        def work(record):
            return Drop("no\\n\\x1b[2Jway")
        """,
    )
    [journey] = run_line(folder, {"a": "\x1b[2J"})
    assert journey.reason == "no\n\x1b[2Jway"
    assert "\x1b" not in str(journey) + repr(journey)
    assert str(journey).splitlines()[-1] == r"work   → dropped: no\n\x1b[2Jway"


def test_services_can_be_replaced_by_plain_and_async_functions_and_mocks(folder: Path) -> None:
    bank = Mock(side_effect=[ConnectionError("away"), {"total": 1, "address": "x", "account": 7}])

    async def nowhere(record: Record) -> Record:
        return record | {"address": "nowhere"}

    [journey] = run_line(folder, ORDER, services={"address": nowhere, "charge": bank}, lookups=LOOKUPS)
    assert journey.outcome == "delivered"
    assert len(journey.history[2].attempts) == 1
    assert bank.call_count == 2
    assert bank.call_args[0][0]["address"] == "nowhere"

    away = AsyncMock(return_value=Drop("gone"))
    assert run_line(folder, ORDER, services={"price": away})[0].reason == "gone"


def test_a_stand_in_may_take_the_id_and_may_be_a_service_itself(folder: Path) -> None:
    @service(attempts=1)
    def other(order: Record, id: str) -> Record:
        raise ValueError(id)

    [journey] = run_line(folder, ORDER, services={"charge": other}, lookups=LOOKUPS)
    assert journey.reason is not None
    assert journey.reason.startswith("service_error: ValueError: test-0-0")
    assert len(journey.history[-1].attempts) == 1


HOLDING = """
from dataclasses import dataclass
from metroline import Wait, resource, service

opened = []

@dataclass
class Order:
    total: int
    paid: bool = False

@resource
async def bank():
    opened.append("open")
    yield lambda order: order.total < 100
    opened.append("closed")

@service(batch=True)
async def pay(orders: list[Order], ids: list[str], bank) -> list[Order | Wait]:
    for order in orders:
        order.paid = bank(order)
    return [order if order.paid else Wait(seconds=60, then="next", record=order) for order in orders]
"""

HELD = '[[rules]]\nafter = "source"\nto = "pay"\n[[rules]]\nafter = "pay"\nto = "end"\n'


@pytest.mark.parametrize("strategy", [*STRATEGIES, "all"])
def test_resources_batches_types_and_waits_work_in_memory(tmp_path: Path, strategy: str) -> None:
    folder = tmp_path / "held"
    folder.mkdir()
    (folder / "services.py").write_text(HOLDING)
    (folder / "routes.toml").write_text(HELD)
    line = Line.load(str(folder))
    opened = sys.modules[line.services["pay"].handler.__module__].opened

    small, large, odd = run_line(line, [{"total": 5, "x": 1}, {"total": 500}, {"total": "5"}], strategy)
    assert small.record == {"total": 5, "x": 1, "paid": True}
    assert large.record == {"total": 500, "paid": False}
    assert (odd.outcome, odd.cause) == ("dead", "schema")
    assert opened == ["open", "closed"]

    [refused] = run_line(line, {"total": 5}, strategy, resources={"bank": lambda order: False})
    assert refused.record == {"total": 5, "paid": False}
    assert opened == ["open", "closed"]
    with pytest.raises(UsageError, match="has no resource 'bnk'; did you mean 'bank'"):
        run_line(line, {"total": 5}, resources={"bnk": None})

    [stood] = run_line(line, {"total": 5}, strategy, services={"pay": lambda orders: orders})
    assert stood.record == {"total": 5}


def test_a_stand_in_for_no_stop_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"no service serves the stop 'chargge' .*did you mean 'charge'\?"):
        run_line(folder, ORDER, services={"chargge": dict})


def test_a_missing_lookup_is_no_dead_letter_but_an_error(folder: Path) -> None:
    with pytest.raises(
        UnfinishedJourney, match="the stop 'address': the service could not be called: there is no look"
    ):
        run_line(folder, ORDER)


def test_waits_pass_at_once_and_count(tmp_path: Path) -> None:
    folder = one_stop(
        tmp_path,
        """
        from metroline import Retry, service

        @service(wait_max=3 * 24 * 3600)
        def work(record):
            return Retry("not paid", after=3600)
        """,
    )
    [journey] = run_line(folder, {})
    assert (journey.cause, journey.waited) == ("retries_exhausted", 3 * 24 * 3600)
    assert journey.reason == "retries_exhausted: not paid; it has waited for 259200 s, and may wait for 259200 s in all"
    [expired] = run_line(folder, {}, settings={"max_age": 7200})
    assert expired.cause == "expired"


def test_a_journey_shows_what_a_record_waits_for(tmp_path: Path) -> None:
    folder = one_stop(
        tmp_path,
        """
        from metroline import Wait, service

        @service
        def work(record):
            return Wait(seconds=3600, then="next", record=record | {"seen": True})
        """,
    )
    [journey] = run_line(folder, {}, now=datetime(2025, 1, 17, tzinfo=UTC))
    [wait] = journey.history[0].waits
    assert wait == "waits for 3,600 s, until 2025-01-17T01:00:00.000Z"
    sets, waits = str(journey).splitlines()[2:4]
    assert (sets.strip(), waits.strip()) == ("sets seen=true", wait)


@pytest.mark.parametrize("waits", [3, 7])
def test_a_journey_shows_few_of_many_waits(tmp_path: Path, waits: int) -> None:
    folder = one_stop(
        tmp_path,
        f"""
        from metroline import Wait, service

        answers = [Wait(seconds=60)] * {waits} + [{{}}]

        @service
        def work(record):
            return answers.pop(0)
        """,
    )
    [journey] = run_line(folder, {})
    shown = [line.strip() for line in str(journey).splitlines() if line.strip().startswith("waits")]
    assert [line.startswith("waits for 60 s, until") for line in shown[:3]] == [True] * 3
    assert shown[3:] == (["waits 4 more times"] if waits == 7 else [])


def test_an_error_has_no_calls_in_this_package_in_its_traceback(folder: Path) -> None:
    with pytest.raises(UnfinishedJourney) as raised:
        run_line(folder, ORDER)
    assert [entry.name for entry in raised.traceback] == [
        "test_an_error_has_no_calls_in_this_package_in_its_traceback",
        "run_line",
    ]
    assert raised.value.__suppress_context__


def test_a_service_that_waits_without_end_is_not_called_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metroline.app.operations.rehearsal.MAX_CALLS", 50)
    folder = one_stop(
        tmp_path,
        """
        from metroline import Retry, service

        @service
        def work(record):
            return Retry("not paid", after=1)
        """,
    )
    with pytest.raises(UnfinishedJourney, match="'work': the service was called 50 times for the record, and asks for"):
        run_line(folder, {})


def test_until_is_compared_with_the_time_of_the_test(tmp_path: Path) -> None:
    folder = one_stop(
        tmp_path,
        """
        from datetime import datetime, timedelta
        from metroline import Retry, service

        @service
        def work(order):
            ordered = datetime.fromisoformat(order["at"])
            return Retry("not paid", after=3600, until=ordered + timedelta(hours=3))
        """,
    )
    now = datetime(2020, 1, 1, tzinfo=UTC)
    [journey] = run_line(folder, {"at": now.isoformat()}, now=now)
    assert (journey.cause, journey.waited) == ("retries_exhausted", 3 * 3600)
    assert journey.history[0].at == (now + timedelta(hours=3)).timestamp()


def test_key_headers_and_timestamp_come_with_a_message(tmp_path: Path) -> None:
    folder = line_in(
        tmp_path / "line",
        """
        from metroline import service

        @service
        def work(record, meta):
            return {"key": meta.key.decode(), "at": meta.timestamp, "topic": meta.topic}
        """,
        '[[rules]]\nafter = "source"\nwhen = \'meta.headers["type"] == "order"\'\nto = "work"\n'
        '[[rules]]\nafter = "source"\ndrop = "other"\n',
    )
    at = datetime(2024, 1, 1, tzinfo=UTC)
    with_type, without = run_line(folder, [Message({}, "k", {"type": "order"}, at), Message({}, "k")], "all")
    assert with_type.record == {"key": "k", "at": at.timestamp(), "topic": "line.source"}
    assert (without.outcome, without.reason) == ("dropped", "other")


def test_messages_may_have_several_lines_or_no_records(folder: Path) -> None:
    lines = b'{"a": 1}\n[2]\n\n{"a": 3}'
    first, second, third = run_line(folder, [lines], services={"price": lambda record: Drop("seen")})
    assert (first.id, first.reason, first.given) == ("test-0-0.0", "seen", {"a": 1})
    assert (second.cause, second.given["raw"]["text"]) == ("malformed_record", "[2]")
    assert (third.id, third.reason) == ("test-0-0.2", "seen")
    [tombstone] = run_line(folder, [None], settings={"source_tombstones": "drop"})
    assert (tombstone.outcome, tombstone.reason, tombstone.record) == ("dropped", "tombstone", {})


def test_records_may_come_from_a_file(folder: Path) -> None:
    (folder / "orders.csv").write_text("account,quantity,unit_price\n7,3,50\n7,1,1\n")
    journeys = run_line(folder, folder / "orders.csv", lookups=LOOKUPS)
    assert [journey.outcome for journey in journeys] == ["delivered", "dropped"]


@pytest.mark.parametrize(
    ("record", "problem"),
    [([3], "record 1 is a int"), ([{"a": object()}], "record 1 cannot be written as JSON")],
)
def test_what_can_be_no_record_is_refused(folder: Path, record: Any, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        run_line(folder, record)


def test_another_table_and_other_settings_may_be_tried(folder: Path, tmp_path: Path) -> None:
    rules = tmp_path / "other.toml"
    rules.write_text('[[rules]]\nafter = "source"\nto = "price"\n[[rules]]\nafter = "price"\nto = "ship"\n')
    [journey] = run_line(folder, ORDER | {"address": "x"}, rules=rules, settings={"max_hops": 1})
    assert journey.cause == "too_many_hops"
    rules.write_text('[[rules]]\nafter = "source"\nto = "nowhere"\n')
    with pytest.raises(InvalidRules, match="no service serves the stop 'nowhere'"):
        run_line(folder, ORDER, rules=rules)


def test_arguments_that_cannot_be_used_are_refused(folder: Path) -> None:
    with pytest.raises(UnknownStrategy, match="there is no strategy 'signpst'"):
        run_line(folder, ORDER, "signpst")
    with pytest.raises(UsageError, match=r"there is no setting 'max_hop'; did you mean 'max_hops'\?"):
        run_line(folder, ORDER, settings={"max_hop": 3})
    with pytest.raises(InvalidSettings, match="MAX_HOPS"):
        run_line(folder, ORDER, settings={"max_hops": 0})
    with pytest.raises(UsageError, match="now has no time zone"):
        run_line(folder, ORDER, now=datetime(2024, 1, 1))  # noqa: DTZ001 - that is the mistake


async def test_async_tests_await_the_journeys_in_their_own_loop(folder: Path) -> None:
    loops = []

    async def charge(order: Record) -> Drop:
        loops.append(asyncio.get_running_loop())
        return Drop("enough")

    [journey] = await run_line_async(folder, ORDER, lookups=LOOKUPS, services={"charge": charge})
    assert journey.reason == "enough"
    assert loops == [asyncio.get_running_loop()]
    with pytest.raises(UsageError, match="await run_line_async"):
        run_line(folder, ORDER)


def test_a_service_that_is_not_deterministic_is_found_by_all_strategies(folder: Path) -> None:
    numbers = iter(range(10))
    with pytest.raises(StrategiesDiffer, match="is the usual reason") as raised:
        run_line(
            folder, ORDER, "all", services={"price": lambda _: {"total": next(numbers), "account": 7}}, lookups=LOOKUPS
        )
    assert "by signpost" in str(raised.value)
    assert "sets total=1" in str(raised.value)


def test_a_line_is_loaded_once_and_again_when_it_has_changed(folder: Path) -> None:
    def loaded() -> Any:
        [journey] = run_line(folder, ORDER, services={"price": lambda _: Drop("x")})
        return journey, sys.modules["_line_shop_services"]

    before = loaded()[1]
    assert loaded()[1] is before
    text = (folder / "services.py").read_text()
    (folder / "services.py").write_text(text + "\nNEW = 1\n")
    assert loaded()[1].NEW == 1


def test_what_a_test_replaces_in_an_imported_module_is_replaced_for_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    code = """
        from metroline import service

        RATE = 1

        @service
        def work(record):
            return {"rate": RATE}
        """
    folder = one_stop(tmp_path, code).rename(tmp_path / "imported")
    assert run_line(folder, {})[0].record == {"rate": 1}
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("imported.services")
    monkeypatch.setattr(module, "RATE", 2)
    assert run_line(folder, {})[0].record == {"rate": 2}


def test_a_line_may_be_named_by_its_package_or_be_loaded_already() -> None:
    line = Line.load("metroline.agents.lines.metrobus")
    record = {"message_type_code": "ALTABC", "account_number": 40_000_010}
    for where in (line, "metroline.agents.lines.metrobus"):
        [journey] = run_line(where, record, "all")
        assert (journey.stops, journey.reason) == (["contact_point"], "no contact point")


def test_journeys_are_noted_for_whoever_asks(folder: Path) -> None:
    token = seen_journeys.set([])
    try:
        run_line(folder, ORDER, lookups=LOOKUPS)
        assert [str(journey.outcome) for journey in seen_journeys.get() or ()] == ["delivered"]
    finally:
        seen_journeys.reset(token)


@given(tables().filter(bool), services, records)
@examples(60)
def test_every_strategy_takes_a_record_the_same_way(
    rules: tuple[Sketch, ...], handlers: dict[str, Handler], record: Record
) -> None:
    rehearsal = Rehearsal(
        RulesTable.parse(table(rules), ends=ENDS),
        {name: Service(name, handlers[name]) for name in handlers},
        Limits(max_hops=8),
        RetryPolicy(attempts=1),
        ends={end: End() for end in ENDS},
    )
    line = InMemoryLine(Line("world", {}, Path(), ""), rehearsal, Tombstones.DEAD)
    messages = list(messages_of(as_json(record)))

    async def journeys() -> list[list[Journey]]:
        return [await line.journeys(messages, name, 0.0, line.resources({})) for name in STRATEGIES]

    found = [journey for [journey] in asyncio.run(journeys())]
    ways = {(tuple(one.stops), one.outcome, one.reason, one.end, one.rule, str(one.record)) for one in found}
    assert len(ways) == 1
