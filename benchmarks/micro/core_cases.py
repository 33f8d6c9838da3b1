"""What is measured of the routing core: its steps for a record of the line metrobus, alone and in packs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks.micro import core_jobs as jobs
from benchmarks.micro.core_jobs import LINES, METROBUS, ORIGIN, RECORDS, conditional
from benchmarks.micro.ratio import Case, Job, each
from metroline.routing.messages.envelope import Envelope
from metroline.routing.records.service_view import PartialDecode, WholeRecord
from metroline.routing.records.source_messages import read_plain

PACKS = (1, 49, 500)
STOPS = (1, 4, 16, 64)
"""How many stops are behind a record."""

MANY_MATCHES = "read and decide, 10,000 match"
MANY_CONDITIONS = "decide, 1,000 CEL, known values"
LONG_HISTORY = "handle at a stop, 64 against 16"

BOUNDS: dict[str, Sequence[float]] = {
    "read source messages": (7, 4.5, 4.2),
    "read fields": (1.5, 1.2, 1.2),
    "decide, 10 match": (1.4, 0.19, 0.15),
    "decide, match and CEL": (2.2, 0.3, 0.24),
    "decide, 10 CEL, known values": (7.5, 1.8, 1.6),
    "decide, 10 CEL, new values": (12, 11, 11),
    "hand to a service": (6.5, 6.0, 6.0),
    "hand to a service with reads": (6.0, 4.0, 4.0),
    "encode an envelope": (7.5, 0.45, 0.3),
    "decode an envelope": (11, 1.1, 0.85),
    "regroup a pack": (30, 4.6, 1.4),
    "decide, 10,000 match": (5, 9, 10),
    MANY_MATCHES: (4, 4.5, 4.5),
    MANY_CONDITIONS: (2.2, 0.7, 0.65),
    "handle at a stop, 1 behind": (50,),
    "handle at a stop, 4 behind": (40,),
    "handle at a stop, 16 behind": (30,),
    "handle at a stop, 64 behind": (22,),
    LONG_HISTORY: (9,),
}
"""Which ratio is too much, in packs of 1, 49 and 500: about four times what was measured when it was set."""

STATEMENTS = 'message_type_code.startsWith("STM")'
"""The condition of the line metrobus that decides at the source."""


def cases() -> Iterator[Case]:
    """All that is measured, each case with its bound."""
    many = [f"message_type_code == 'T{number}' && balance > {number}.0" for number in range(1_000)]
    book = conditional(many)
    for size in PACKS:
        yield from _reading(size)
        yield from _handing(size)
        yield from _deciding(size)
        yield from _carrying(size)
        yield from _choosing(size)
        yield _case(MANY_CONDITIONS, size, jobs.decide(size, book), "CEL, 1 condition", jobs.evaluate(size, many[:1]))
    for stops in STOPS:
        yield _case(
            f"handle at a stop, {stops} behind",
            1,
            jobs.at_stop(stops),
            "orjson on the header",
            jobs.header_alone(stops),
        )
    yield _case(LONG_HISTORY, 1, jobs.at_stop(64), "16 behind", jobs.at_stop(16))


def _reading(size: int) -> Iterator[Case]:
    loads, reader = jobs.loads(size), METROBUS.reader
    plainly = partial(read_plain, reader=reader)
    yield _case("read source messages", size, jobs.on_lines(size, plainly), "orjson.loads", loads)
    fields = jobs.on_lines(size, reader.read_all)
    yield _case("read fields", size, fields, "orjson.loads", loads)


def _handing(size: int) -> Iterator[Case]:
    loads, some = jobs.loads(size), PartialDecode(frozenset({"account_number"}), frozenset({"hold", "email"}))
    yield _case("hand to a service", size, jobs.handle(size, WholeRecord()), "orjson.loads", loads)
    yield _case("hand to a service with reads", size, jobs.handle(size, some), "orjson.loads", loads)


def _deciding(size: int) -> Iterator[Case]:
    ten = [f"account_number < {number}" for number in range(10)]
    yield _case("decide, 10 match", size, jobs.decide_one_of(size, 10), "orjson.loads", jobs.loads(size))
    yield _case(
        "decide, match and CEL",
        size,
        jobs.decide(size, METROBUS),
        "CEL, 1 condition",
        jobs.evaluate(size, [STATEMENTS]),
    )
    known = jobs.decide(size, conditional(ten))
    yield _case("decide, 10 CEL, known values", size, known, "CEL, 1 condition", jobs.evaluate(size, ten[:1]))
    anew = jobs.decide_anew(size, ten)
    yield _case("decide, 10 CEL, new values", size, anew, "CEL, 10 conditions", jobs.evaluate(size, ten))


def _carrying(size: int) -> Iterator[Case]:
    envelopes = [Envelope("signpost", ORIGIN, (jobs.segment_of(lines, 2),)) for lines in jobs.in_packs(LINES, size)]
    encoded = [envelope.encode() for envelope in envelopes]
    loads, dumps = jobs.loads(size), jobs.dumps(size)
    yield _case("encode an envelope", size, lambda: each(Envelope.encode, envelopes), "orjson.dumps", dumps)
    yield _case("decode an envelope", size, lambda: each(Envelope.decode, encoded), "orjson.loads", loads)
    yield _case("regroup a pack", size, jobs.regroup(size), "orjson.dumps", dumps)


def _choosing(size: int) -> Iterator[Case]:
    few, many = jobs.decide_one_of(size, 10), jobs.decide_one_of(size, 10_000)
    yield _case("decide, 10,000 match", size, many, "10 match", few)
    few, many = jobs.read_and_decide_one_of(size, 10), jobs.read_and_decide_one_of(size, 10_000)
    yield _case(MANY_MATCHES, size, many, "10 match", few)


def _case(what: str, size: int, work: Job, baseline_name: str, baseline: Job) -> Case:
    bound = BOUNDS[what][PACKS.index(size)]
    return Case(what, size, RECORDS // size * size, work, baseline_name, baseline, bound)
