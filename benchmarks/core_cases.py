"""What is measured of the routing core: its steps for a record of the line metrobus, alone and in packs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import cel
import orjson

from agents.bus import Departures
from agents.lines import metrobus
from agents.lines.metrobus.records import records
from benchmarks.ratio import Case, Job, Run, each
from routing.envelope import Envelope, Origin, Segment, Visit, pack
from routing.itinerary import Chosen, Move
from routing.rules import SOURCE, Junction, RuleBook
from routing.source import read_plain

Item = TypeVar("Item")
Record = dict[str, Any]

PACKS = (1, 49, 500)
RECORDS = 500
"""How many records one run handles, as nearly as whole packs allow."""

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

LINES = [orjson.dumps(record) for record in records(RECORDS, seed=7)]
METROBUS = RuleBook.parse((Path(metrobus.__file__).parent / "routes.toml").read_text(), version=1)
ORIGIN = Origin("source", 0)
STATEMENTS = 'message_type_code.startsWith("STM")'
"""The condition of the line metrobus that decides at the source."""


def cases() -> Iterator[Case]:
    """All that is measured, each case with its bound."""
    many = [f"message_type_code == 'T{number}' && balance > {number}.0" for number in range(1_000)]
    book = _conditional(many)
    for size in PACKS:
        yield from _reading(size)
        yield from _deciding(size)
        yield from _carrying(size)
        yield from _choosing(size)
        yield _case(MANY_CONDITIONS, size, _decide(size, book), "CEL, 1 condition", _evaluate(size, many[:1]))
    for stops in STOPS:
        yield _case(
            f"handle at a stop, {stops} behind", 1, _at_stop(stops), "orjson on the header", _header_alone(stops)
        )
    yield _case(LONG_HISTORY, 1, _at_stop(64), "16 behind", _at_stop(16))


def _reading(size: int) -> Iterator[Case]:
    loads, reader = _on_lines(size, _loads), METROBUS.reader
    plainly = partial(read_plain, reader=reader)
    yield _case("read source messages", size, _on_lines(size, plainly), "orjson.loads", loads)
    fields = _on_lines(size, lambda lines: reader.read_all(b"\n".join(lines), len(lines)))
    yield _case("read fields", size, fields, "orjson.loads", loads)


def _deciding(size: int) -> Iterator[Case]:
    one, ten = [STATEMENTS], [f"account_number < {number}" for number in range(10)]
    yield _case("decide, 10 match", size, _decide_one_of(size, 10), "orjson.loads", _on_lines(size, _loads))
    yield _case("decide, match and CEL", size, _decide(size, METROBUS), "CEL, 1 condition", _evaluate(size, one))
    known = _decide(size, _conditional(ten))
    yield _case("decide, 10 CEL, known values", size, known, "CEL, 1 condition", _evaluate(size, ten[:1]))
    anew = _decide_anew(size, ten)
    yield _case("decide, 10 CEL, new values", size, anew, "CEL, 10 conditions", _evaluate(size, ten))


def _carrying(size: int) -> Iterator[Case]:
    envelopes = [Envelope("signpost", ORIGIN, (_segment(lines, 2),)) for lines in _packs(LINES, size)]
    encoded = [envelope.encode() for envelope in envelopes]
    loads, dumps = _on_lines(size, _loads), _written(size)
    yield _case("encode an envelope", size, lambda: each(Envelope.encode, envelopes), "orjson.dumps", dumps)
    yield _case("decode an envelope", size, lambda: each(Envelope.decode, encoded), "orjson.loads", loads)
    yield _case("regroup a pack", size, _regroup(size), "orjson.dumps", dumps)


def _choosing(size: int) -> Iterator[Case]:
    few, many = _decide_one_of(size, 10), _decide_one_of(size, 10_000)
    yield _case("decide, 10,000 match", size, many, "10 match", few)
    few, many = _read_and_decide_one_of(size, 10), _read_and_decide_one_of(size, 10_000)
    yield _case(MANY_MATCHES, size, many, "10 match", few)


def _case(what: str, size: int, work: Job, baseline_name: str, baseline: Job) -> Case:
    bound = BOUNDS[what][PACKS.index(size)]
    return Case(what, size, RECORDS // size * size, work, baseline_name, baseline, bound)


def _packs(items: Sequence[Item], size: int) -> list[list[Item]]:
    return [list(items[first : first + size]) for first in range(0, RECORDS // size * size, size)]


def _loads(lines: list[bytes]) -> None:
    for line in lines:
        orjson.loads(line)


def _dumps(found: list[Record]) -> None:
    for record in found:
        orjson.dumps(record)


def _on_lines(size: int, step: Callable[[list[bytes]], object]) -> Job:
    return lambda: each(step, _packs(LINES, size))


def _written(size: int) -> Job:
    return lambda: each(_dumps, _packs(list(map(orjson.loads, LINES)), size))


def _evaluate(size: int, texts: Sequence[str]) -> Job:
    """CEL alone: each of the conditions on each record, handed the one field or two that it reads."""
    programs = [cel.compile(text) for text in texts]
    names = programs[0].variables()

    def evaluate(found: list[Record]) -> None:
        for variables in found:
            for program in programs:
                program.execute(variables)

    fields = [{name: record[name] for name in names} for record in map(orjson.loads, LINES)]
    return lambda: each(evaluate, _packs(fields, size))


def _decide(size: int, book: RuleBook) -> Job:
    """Decides at the source on what its rules read, as it was just read from the lines."""
    junction = book.junction(SOURCE)
    body = b"\n".join(LINES)
    return lambda: each(junction.decide, _packs(junction.reader.read_all(body, RECORDS), size))


def _decide_anew(size: int, texts: Sequence[str]) -> Job:
    """The same by a table that remembers nothing yet; each record has an account of its own."""

    def prepare() -> Run:
        return _decide(size, _conditional(texts))()

    return prepare


def _decide_one_of(size: int, count: int) -> Job:
    """Decides by so many `match` rules, each record by another of them."""
    junction, lines = _one_of(count)
    return lambda: each(junction.decide, _packs(junction.reader.read_all(b"\n".join(lines()), RECORDS), size))


def _read_and_decide_one_of(size: int, count: int) -> Job:
    """The same from the lines of whole records on, as whoever decides does."""
    junction, lines = _one_of(count)

    def decide(lines: list[bytes]) -> object:
        return junction.decide(junction.reader.read_all(b"\n".join(lines), len(lines)))

    return lambda: each(decide, _packs(lines(), size))


@cache
def _one_of(count: int) -> tuple[Junction, Callable[[], list[bytes]]]:
    """So many `match` rules, and what makes records that go by one or another of them."""
    rules = (f'[[rules]]\nafter = "source"\nmatch = {{ code = "C{one}" }}\nto = "s{one % 9}"\n' for one in range(count))
    chance = Random(count)

    def lines() -> list[bytes]:
        return [b'{"code":"C%d",%b' % (chance.randrange(count), line[1:]) for line in LINES]

    return RuleBook.parse("\n".join(rules)).junction(SOURCE), lines


def _conditional(texts: Sequence[str]) -> RuleBook:
    rules = (f'[[rules]]\nafter = "source"\nwhen = "{text}"\nto = "s{place % 9}"\n' for place, text in enumerate(texts))
    return RuleBook.parse("\n".join(rules))


def _regroup(size: int) -> Job:
    """Splits packs by where their records go and packs those again that go the same way."""
    junction = METROBUS.junction(SOURCE)
    courses = junction.decide(list(map(orjson.loads, LINES)))
    packs = [(_segment(lines, 2), ways) for lines, ways in zip(_packs(LINES, size), _packs(courses, size), strict=True)]

    def regroup(one: tuple[Segment, list[Any]]) -> None:
        departures = Departures("signpost", ORIGIN, max_hops=64)
        departures.add_courses(*one, "source")
        for segments in departures.by_address.values():
            list(pack("signpost", ORIGIN, segments, 900 * 1024, 1_000))

    return lambda: each(regroup, packs)


def _segment(lines: Sequence[bytes], stops: int) -> Segment:
    """These records with so many stops behind them."""
    history = [Visit(f"stop-{place}", 1.7e9 + place / 8, f"the rule {place}", "signpost", 1) for place in range(stops)]
    return Segment(tuple(range(len(lines))), tuple(lines), 1.7e9, tuple(history), Chosen("the rule", "signpost", 1))


def _at_stop(stops: int) -> Job:
    """What a stop does with an envelope of one record, beside its service."""
    raw = Envelope("signpost", ORIGIN, (_segment(LINES[:1], stops),)).encode()
    move = Move("service.next", Chosen("the next rule", "signpost", 1))

    def handle(raw: bytes) -> bytes:
        envelope = Envelope.decode(raw)
        _, moved = envelope.segments[0].visited("stop", 1.7e9).moved(move, max_hops=stops + 2)
        return Envelope(envelope.strategy, envelope.origin, (moved,)).encode()

    return lambda: each(handle, [raw] * RECORDS)


def _header_alone(stops: int) -> Job:
    header = Envelope("signpost", ORIGIN, (_segment(LINES[:1], stops),)).encode().partition(b"\n")[0]
    return lambda: each(lambda raw: orjson.dumps(orjson.loads(raw)), [header] * RECORDS)
