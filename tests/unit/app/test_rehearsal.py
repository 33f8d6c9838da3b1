"""A rehearsal takes a record where the line takes it, and says where it cannot know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any, TypedDict

import orjson
import pytest
from hypothesis import given

from metroline.agents.lookups.errors import LookupMissing
from metroline.agents.services.declared_types import with_types
from metroline.agents.services.resource import resource
from metroline.agents.services.service import Service, service
from metroline.agents.stops.open_resources import OpenResources
from metroline.app.operations.rehearsal import Rehearsal
from metroline.routing.journeys.departures import Limits
from metroline.routing.journeys.ends import End
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.messages.metadata import Metadata
from metroline.routing.meta import Meta
from metroline.routing.outcome import Drop, Retry, Wait
from metroline.routing.rules.explain import Explained
from metroline.routing.rules.table import RulesTable
from tests.support.worlds import ENDS, Handler, Record, Sketch, examples, judge, records, services, table, tables

TABLE = '[[rules]]\nafter = "source"\nto = "price"\n'


def explained(rehearsal: Rehearsal, record: Record | bytes, metadata: Metadata | None = None) -> list[Explained]:
    line = record if isinstance(record, bytes) else orjson.dumps(record)

    async def run() -> list[Explained]:
        return [step async for step in rehearsal.explain(line, metadata=metadata)]

    return asyncio.run(run())


def rehearsal_of(*handlers: Callable[..., Any], text: str = TABLE, **more: Any) -> Rehearsal:
    made: list[Service] = [handler.__metroline__ for handler in map(service_of, handlers)]
    return Rehearsal(RulesTable.parse(text, ends=ENDS), {one.name: one for one in made}, **more)


def service_of(handler: Callable[..., Any]) -> Any:
    return handler if hasattr(handler, "__metroline__") else service(handler)


def end_at(handler: Callable[..., Any], record: Record | None = None, **more: Any) -> Explained:
    """Return the last step of a record that has this service at its only stop."""
    return explained(rehearsal_of(handler, **more), {"amount": 3} if record is None else record)[-1]


@given(tables().filter(bool), services, records)
@examples(80)
def test_a_record_takes_the_way_that_the_rules_and_services_lead_it(
    rules: tuple[Sketch, ...], handlers: dict[str, Handler], record: Record
) -> None:
    def called(name: str) -> Service:
        return Service(name, handlers[name])

    rehearsal = Rehearsal(
        RulesTable.parse(table(rules), ends=ENDS),
        {name: called(name) for name in handlers},
        Limits(max_hops=8),
        RetryPolicy(attempts=1),
        ends={end: End() for end in ENDS},
    )
    steps = explained(rehearsal, record)
    first = judge(rules, "source", record)
    assert steps[0].after == "source"
    assert steps[0].verdict.partition(":")[0].partition(" at ")[0] == (first.stop or first.ending)
    for before, behind in pairwise(steps):
        assert before.verdict == behind.after
    assert steps[-1].verdict.partition(":")[0].partition(" at ")[0] in ("delivered", "dropped", "dead")
    assert len(steps) <= 9


def test_the_limit_of_stops_is_that_of_the_line() -> None:
    text = TABLE + '[[rules]]\nafter = "price"\nwhen = "n < 5"\nto = "price"\n'

    def price(record: Record) -> Record:
        return record | {"n": record["n"] + 1}

    def last(hops: int) -> str:
        end = '[[rules]]\nafter = "price"\ndrop = "done"\n'
        return explained(rehearsal_of(price, text=text + end, limits=Limits(max_hops=hops)), {"n": 0})[-1].verdict

    assert last(5) == "dropped: done"
    assert last(4) == "dead: too_many_hops: 4 stops visited, the maximum is 4"


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        (b"{", "dead: malformed_record: not valid JSON: "),
        (b"[1]", "dead: malformed_record: not a JSON object but a list"),
        (b'{"n": 123456789012345678901}', "dead: malformed_record: the integer 123456789012345678901 does not fit"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, "dead: malformed_record: the record is nested too deeply"),
        (b'{"a":' * 2000 + b"1" + b"}" * 2000, "dead: malformed_record: not valid JSON"),
    ],
)
def test_what_is_no_record_ends_as_on_the_line(line: bytes, verdict: str) -> None:
    [step] = explained(rehearsal_of(), line)
    assert step.verdict.startswith(verdict)
    assert step.trials == ()


def test_a_deep_record_that_the_line_takes_is_explained() -> None:
    text = TABLE + '[[rules]]\nafter = "price"\nwhen = "size(string(a)) > 0 || true"\nto = "price"\n'
    steps = explained(rehearsal_of(lambda_price, text=text), b'{"a":' * 250 + b"1" + b"}" * 250)
    assert steps[0].verdict == "price"
    assert steps[-1].verdict.startswith("dead: ")


@service(name="price")
def lambda_price(record: Record) -> Record:
    return record | {"b": record["a"]}


def test_each_failed_attempt_is_told_and_the_next_one_is_made() -> None:
    calls = []

    @service(attempts=3)
    def price(record: Record) -> Record:
        calls.append(record["amount"])
        record["amount"] = 0  # each attempt starts with the record as it came
        if len(calls) < 3:
            raise ValueError(f"call {len(calls)}")
        return {"total": 1}

    step = end_at(price)
    assert calls == [3, 3, 3]
    assert [attempt.partition(" (")[0] for attempt in step.attempts] == [
        "attempt 1 of 3: service_error: ValueError: call 1",
        "attempt 2 of 3: service_error: ValueError: call 2",
    ]
    assert (step.verdict, step.sets, step.removes) == ("delivered", {"total": "1"}, ("amount",))


def test_the_last_attempt_ends_the_journey() -> None:
    def price(record: Record) -> Retry:
        return Retry("not yet")

    step = end_at(price, retries=RetryPolicy(attempts=2))
    assert step.attempts == (
        "attempt 1 of 2: retries_exhausted: not yet",
        "attempt 2 of 2: retries_exhausted: not yet",
    )
    assert step.verdict == "dead: retries_exhausted: not yet"


def test_a_wait_that_a_service_asks_for_is_not_waited_for() -> None:
    def price(record: Record) -> Retry:
        return Retry("not yet", after=30)

    assert end_at(price).verdict == (
        "unknown: the service asks to wait for 30 s, and this command does not wait: not yet"
    )


def test_a_record_that_waits_goes_on_in_a_rehearsal_and_its_wait_is_told() -> None:
    def price(record: Record) -> Wait:
        record["amount"] = 9
        return Wait(seconds=3_600, then="next")

    step = end_at(price)
    assert (step.verdict, step.sets) == ("delivered", {"amount": "9"})
    [wait] = step.waits
    assert wait.startswith("waits for 3,600 s, until 20")
    assert step.as_json()["waits"] == [wait]


def test_a_record_that_comes_back_after_a_wait_is_not_waited_for() -> None:
    def price(record: Record) -> Wait:
        return Wait(seconds=60)

    verdict = end_at(price).verdict
    assert verdict.startswith("unknown: waits for 60 s, until 20")
    assert verdict.endswith("Z, and comes back to the stop then; this command does not wait")


def test_async_and_blocking_services_end_at_their_timeout() -> None:
    @service(name="price", timeout=0.02, attempts=2)
    async def never(record: Record) -> Record:
        await asyncio.sleep(60)
        return record

    @service(name="price", timeout=0.02, attempts=2, blocking=True)
    def blocked(record: Record) -> Record:
        time.sleep(0.2)
        return record

    for slow in (never, blocked):
        step = end_at(slow)
        assert step.verdict == "dead: timeout: no answer within 0.02 s"
        assert len(step.attempts) == 2


def test_a_service_receives_its_fields_its_id_and_its_metadata() -> None:
    told: list[Any] = []

    @service(reads=["amount"])
    def price(record: Record, id: str, meta: Meta) -> Record:
        told.extend([record, id, meta.key, meta.headers, meta.timestamp])
        return {"total": 6}

    rehearsal = rehearsal_of(price)
    [_, step] = explained(rehearsal, {"amount": 3, "kept": 1}, Metadata.of([b"k"], [[("type", b"order")]], [5_000]))
    assert told == [{"amount": 3}, "explained-0-0", b"k", {"type": b"order"}, 5.0]
    assert (step.sets, step.removes) == ({"total": "6"}, ("amount",))


def test_rules_about_metadata_are_decided_by_that_of_the_message() -> None:
    text = '[[rules]]\nafter = "source"\nwhen = \'meta.headers["type"] == "order"\'\ndrop = "an order"\n'
    known = explained(rehearsal_of(text=text), {}, Metadata.of([None], [[("type", b"order")]], [1]))
    assert known[0].verdict == "dropped: an order"
    assert explained(rehearsal_of(text=text), {})[0].verdict.startswith("dead: unroutable")


def test_a_service_may_return_or_raise_anything() -> None:
    def ended(answer: Any) -> str:
        def price(record: Record) -> Any:
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return end_at(price, retries=RetryPolicy(attempts=1)).verdict

    assert ended(Drop("gone")) == "dropped: gone"
    assert ended(None) == "dead: bad_return: NoneType, not a dict, Drop, Retry or Wait"
    assert ended({1: 2}).startswith("dead: not_encodable")
    assert ended(SystemExit(3)).startswith("dead: service_error: SystemExit: 3")
    assert ended(asyncio.CancelledError("odd")).startswith("dead: service_error: CancelledError: odd")


def test_a_record_that_fits_into_no_message_is_too_large() -> None:
    def price(record: Record) -> Record:
        return record | {"text": "x" * 3_000_000}

    assert end_at(price).verdict.startswith("dead: too_large: the record has 3000")


def test_an_end_without_its_key_takes_no_record() -> None:
    text = '[[rules]]\nafter = "source"\nto = "end"\n'
    rehearsal = rehearsal_of(text=text, ends={"end": End("id")})
    assert explained(rehearsal, {})[-1].verdict.startswith("dead: unroutable: the end 'end' takes its keys from")
    unchecked = rehearsal_of(text=text, formats={"end": "avro"})
    assert explained(unchecked, {})[-1].verdict == (
        "delivered (if it fits the format avro of its end, which was not checked)"
    )


def test_an_old_journey_expires() -> None:
    def price(record: Record) -> Record:
        return record

    assert end_at(price, max_age=1e-9).verdict.startswith("dead: expired: ")


def test_what_cannot_be_known_is_said() -> None:
    def price(record: Record) -> Record:
        raise LookupMissing("there is no lookup 'names'")

    assert end_at(price).verdict == "unknown: the service could not be called: there is no lookup 'names'"
    assert explained(rehearsal_of(), {})[-1].verdict == "unknown: the line has no service for this stop"


def test_a_batch_service_is_called_with_the_record_alone() -> None:
    calls: list[int] = []

    @service(batch=True, max_wait=60, attempts=2)
    def price(records: list[Record]) -> list[Any]:
        calls.append(len(records))
        return [ValueError("first")] if len(calls) == 1 else [{"total": 6}]

    step = end_at(price)
    assert calls == [1, 1]
    assert step.attempts == ("attempt 1 of 2: service_error: ValueError: first",)
    assert (step.verdict, step.sets) == ("delivered", {"total": "6"})


def test_resources_are_opened_for_the_first_service_that_takes_them() -> None:
    events: list[str] = []

    @resource
    async def pool() -> AsyncIterator[int]:
        events.append("open")
        yield 6
        events.append("close")

    @service
    def price(record: Record, pool: int) -> Record:
        return {"total": pool}

    async def run() -> list[Explained]:
        resources = OpenResources({"pool": pool.__resource__})  # type: ignore[attr-defined]
        async with resources:
            steps = rehearsal_of(price, resources=resources).explain(b"{}")
            assert events == []
            return [step async for step in steps]

    assert asyncio.run(run())[-1].sets == {"total": "6"}
    assert events == ["open", "close"]


def test_a_resource_that_cannot_be_opened_ends_the_explanation() -> None:
    @resource
    async def pool() -> AsyncIterator[int]:
        raise ConnectionError("no database")
        yield

    @service
    def price(record: Record, pool: int) -> Record:
        return record

    resources = OpenResources({"pool": pool.__resource__})  # type: ignore[attr-defined]
    assert end_at(price, resources=resources).verdict.startswith(
        "unknown: the service could not be called: the resource 'pool' of the line cannot be opened: "
        "ConnectionError: no database (test_rehearsal.py:"
    )


class Order(TypedDict):
    amount: int


def test_a_record_that_does_not_fit_its_type_is_dead_and_others_keep_their_other_fields() -> None:
    def price(order: Order) -> Order:
        return {"amount": order["amount"] + 1}

    typed = with_types(service(price).__metroline__)  # type: ignore[attr-defined]
    rehearsal = Rehearsal(RulesTable.parse(TABLE), {"price": typed})
    step = explained(rehearsal, {"amount": 3, "kept": True})[-1]
    assert (step.verdict, step.sets, step.removes) == ("delivered", {"amount": "4"}, ())
    assert explained(rehearsal, {"amount": "3"})[-1].verdict == ("dead: schema: Order: amount: expected int, got str")
