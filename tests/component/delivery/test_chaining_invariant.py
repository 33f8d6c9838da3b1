"""The invariant on the agents: with and without hops in memory, records take the same stops to the same outcomes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, TypedDict

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metroline import Drop
from metroline.agents.delivery.unit_of_work import UnitOfWork
from metroline.agents.routers import RouterAgent
from metroline.agents.services.batching import Batching
from metroline.agents.services.service import Record
from metroline.routing.journeys.deciders import ROUTERS
from metroline.routing.messages.envelope import Envelope, join
from metroline.routing.records.record_types import DeclaredTypes, record_type
from metroline.routing.strategies import STRATEGIES
from tests.support.bench import RULES, Bench, confirmed, envelope

MORE = """
[[rules]]
after = "b"
when = "size < 30"
to = "a"

[[rules]]
after = "c"
when = "size == 3"
drop = "three"
"""
PARTITIONS = (0, 1, 2)
FIRST = {"conductor": "conductor", "map_maker": "map-maker"}
Handle = Callable[[Envelope, UnitOfWork], Any]


def grow(record: Record) -> Record:
    record["size"] += record["grows"]
    return record


async def judge(record: Record) -> Any:
    await asyncio.sleep(0)
    if record["size"] % 5 == 0:
        raise ValueError("no fives")
    record["size"] += 1
    return record


async def judge_all(records: list[Record]) -> list[Any]:
    """Judge several records at once; those that fail are answered with their exceptions."""
    return list(await asyncio.gather(*map(judge, records), return_exceptions=True))


def end(record: Record) -> Any:
    return Drop("seven") if record["size"] == 7 else record


class Grown(TypedDict):
    size: int
    grows: int


TYPES = DeclaredTypes(record_type(Grown, "Grown"), record_type(Grown, "Grown"))


def line(bench: Bench, is_chaining: bool, batching: Batching | None, types: DeclaredTypes | None) -> dict[str, Handle]:
    """Return the handlers of a line's stops and routers by their topics."""
    handlers: dict[str, Handle] = {}
    trains = bench.bus.trains
    judging = judge if batching is None else judge_all
    for name, service, more in (
        ("a", grow, {"types": types, "reads": None if types is None else types.reads}),
        ("b", judging, {"concurrency": 2, "batching": batching}),
        ("c", end, {"is_blocking": True}),
    ):
        stop = bench.stop(service, name=name, **more)
        handlers[f"test.service.{name}"] = stop.handle
        if is_chaining:
            trains.call_at(f"service.{name}", stop.handle_at_once, stop.accepts)
    for address, router in ROUTERS.items():
        handle = RouterAgent(bench.agent_loop, bench.rule_tables, router).handle
        handlers[f"test.{address}"] = handle
        if is_chaining:
            trains.call_at(address, handle)
    places = dict.fromkeys([(topic.removeprefix("test."), number) for topic in handlers for number in PARTITIONS], 0)
    trains.detours.assign(places)
    trains.detours.found(places)
    return handlers


async def outcomes(
    records: list[Record],
    strategy: str,
    is_chaining: bool,
    batching: Batching | None = None,
    types: DeclaredTypes | None = None,
) -> dict[Any, Any]:
    """Run records of several partitions through the line; return the outcome, the history and the content of each."""
    bench = Bench.make(strategy=strategy, rules=RULES + MORE)
    handlers = line(bench, is_chaining, batching, types)
    own = {number: records[number :: len(PARTITIONS)] for number in PARTITIONS}
    parts = [envelope(*of_it, strategy=strategy, partition=number) for number, of_it in own.items() if of_it]
    address = FIRST.get(strategy, "service.a")
    if is_chaining:  # together, as the on-ramp sends them
        await confirmed([await bench.begin(handlers[f"test.{address}"], join(parts))])
    else:
        for part in parts:
            await bench.bus.send(address, part, UnitOfWork(bench.bus.work_time))
    done, found, offsets = 0, {}, Counter[tuple[str, int]]()
    while done < len(bench.producer.sent):
        sent = bench.producer.sent[done]
        done += 1
        handle = handlers.get(sent.topic)
        if handle is not None:
            await confirmed([await bench.begin(handle, sent.envelope)])
            place = (sent.topic.removeprefix("test."), sent.partition)
            offsets[place] += 1
            bench.bus.trains.detours.handled(place, offsets[place], [sent.envelope])
            continue
        for segment in sent.envelope.segments:
            for record, content in zip(segment.ids, segment.lines, strict=True):
                assert (sent.partition, record) not in found
                assert segment.outcome is not None
                visits = [(visit.stop, visit.rule, visit.by, visit.version) for visit in segment.history]
                outcome = segment.outcome
                found[sent.partition, record] = (
                    visits,
                    outcome.ending,
                    outcome.reason,
                    outcome.rule,
                    orjson.loads(content),
                )
    assert bool(bench.bus.metrics.chained) == is_chaining
    return found


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(
    st.lists(st.fixed_dictionaries({"size": st.integers(0, 25), "grows": st.integers(0, 9)}), min_size=1, max_size=8),
    st.integers(1, 4),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_with_and_without_hops_in_memory_batches_and_types_records_have_the_same_stops_and_outcomes(
    strategy: str, records: list[Record], size: int
) -> None:
    in_memory = asyncio.run(outcomes(records, strategy, True))
    assert in_memory == asyncio.run(outcomes(records, strategy, False))
    assert len(in_memory) == len(records)
    assert in_memory == asyncio.run(outcomes(records, strategy, True, None, TYPES))
    assert in_memory == asyncio.run(outcomes(records, strategy, False, None, TYPES))
    batching = Batching(size)
    assert in_memory == asyncio.run(outcomes(records, strategy, True, batching))
    assert in_memory == asyncio.run(outcomes(records, strategy, False, batching))
