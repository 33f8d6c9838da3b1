"""The measured steps of the routing core, on records of the line metrobus, alone and in packs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks.micro import core_jobs as jobs
from benchmarks.micro.core_jobs import METROBUS, RECORDS, table_of
from benchmarks.micro.ratio import Case, Job
from metroline.routing.records.service_view import PartialDecode, WholeRecord
from metroline.routing.records.source_messages import read_plain

PACKS = (1, 49, 500)
VISITS = (1, 4, 16, 64)
"""Number of stops that a record has passed."""

MANY_MATCHES = "read and decide, 10,000 match"
MANY_CONDITIONS = "decide, 1,000 CEL, known values"
LONG_HISTORY = "handle at a stop, 64 against 16"

BOUNDS: dict[str, Sequence[float]] = {
    "read source messages": (6.8, 4.5, 5.2),
    "read fields": (2.4, 1.3, 1.5),
    "decide, 10 match": (1.3, 0.2, 0.2),
    "decide, match and CEL": (1.3, 0.17, 0.13),
    "decide, 10 CEL, known values": (1.5, 0.42, 0.26),
    "decide, 10 CEL, new values": (1.6, 1.6, 1.6),
    "hand to a service": (5.9, 5.8, 10),
    "hand to a service with reads": (4, 3, 3.5),
    "encode an envelope": (2.8, 0.12, 0.08),
    "decode an envelope": (11, 0.85, 0.75),
    "regroup a pack": (6.6, 0.95, 0.4),
    "decide, 10,000 match": (4.6, 12, 12.5),
    MANY_MATCHES: (3.8, 4.8, 4.2),
    MANY_CONDITIONS: (1.8, 0.7, 0.65),
    "handle at a stop, 1 behind": (46,),
    "handle at a stop, 4 behind": (36,),
    "handle at a stop, 16 behind": (27,),
    "handle at a stop, 64 behind": (21,),
    LONG_HISTORY: (7,),
}
"""The highest ratio allowed in packs of 1, 49 and 500 records.

Each bound is between three and four times the lowest ratio measured: a step of today's speed and one that is ten times
slower both lie a factor of about three away from it.
"""

STATEMENTS = 'message_type_code.startsWith("STM")'
"""The condition of the line metrobus that decides at the source."""


def cases() -> Iterator[Case]:
    """Yield each measured step with its baseline and its bound."""
    conditions = [f"message_type_code == 'T{number}' && balance > {number}.0" for number in range(1_000)]
    table = table_of(conditions)
    for size in PACKS:
        yield from _read(size)
        yield from _serve(size)
        yield from _decide(size)
        yield from _envelopes(size)
        yield from _match(size)
        one = jobs.evaluate(size, conditions[:1])
        yield _case(MANY_CONDITIONS, size, jobs.decide(size, table), "CEL, 1 condition", one)
    for visits in VISITS:
        header = jobs.header_alone(visits)
        yield _case(f"handle at a stop, {visits} behind", 1, jobs.pass_stop(visits), "orjson on the header", header)
    yield _case(LONG_HISTORY, 1, jobs.pass_stop(64), "16 behind", jobs.pass_stop(16))


def _read(size: int) -> Iterator[Case]:
    loads, reader = jobs.loads(size), METROBUS.reader
    messages = jobs.on_lines(size, partial(read_plain, reader=reader))
    yield _case("read source messages", size, messages, "orjson.loads", loads)
    yield _case("read fields", size, jobs.on_lines(size, reader.read_all), "orjson.loads", loads)


def _serve(size: int) -> Iterator[Case]:
    loads = jobs.loads(size)
    some_fields = PartialDecode(frozenset({"account_number"}), frozenset({"hold", "email"}))
    yield _case("hand to a service", size, jobs.serve(size, WholeRecord()), "orjson.loads", loads)
    yield _case("hand to a service with reads", size, jobs.serve(size, some_fields), "orjson.loads", loads)


def _decide(size: int) -> Iterator[Case]:
    ten = [f"account_number < {number}" for number in range(10)]
    one_condition, statements = jobs.evaluate(size, ten[:1]), jobs.evaluate(size, [STATEMENTS])
    yield _case("decide, 10 match", size, jobs.decide_one_of(size, 10), "orjson.loads", jobs.loads(size))
    yield _case("decide, match and CEL", size, jobs.decide(size, METROBUS), "CEL, 1 condition", statements)
    known = jobs.decide(size, table_of(ten))
    yield _case("decide, 10 CEL, known values", size, known, "CEL, 1 condition", one_condition)
    new = jobs.decide_with_new_table(size, ten)
    yield _case("decide, 10 CEL, new values", size, new, "CEL, 10 conditions", jobs.evaluate(size, ten))


def _envelopes(size: int) -> Iterator[Case]:
    loads = jobs.loads(size)
    yield _case("encode an envelope", size, jobs.encode(size), "orjson.loads", loads)
    yield _case("decode an envelope", size, jobs.decode(size), "orjson.loads", loads)
    yield _case("regroup a pack", size, jobs.regroup(size), "orjson.loads", loads)


def _match(size: int) -> Iterator[Case]:
    few, many = jobs.decide_one_of(size, 10), jobs.decide_one_of(size, 10_000)
    yield _case("decide, 10,000 match", size, many, "10 match", few)
    few, many = jobs.read_and_decide_one_of(size, 10), jobs.read_and_decide_one_of(size, 10_000)
    yield _case(MANY_MATCHES, size, many, "10 match", few)


def _case(step: str, size: int, work: Job, baseline_name: str, baseline: Job) -> Case:
    bound = BOUNDS[step][PACKS.index(size)]
    return Case(step, size, RECORDS // size * size, work, baseline_name, baseline, bound)
