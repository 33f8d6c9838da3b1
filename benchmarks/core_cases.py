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
from routing.rules import SOURCE, RuleBook
from routing.source import read_plain

Item = TypeVar("Item")
Record = dict[str, Any]
Step = Callable[[list[bytes]], object]
"""What is done with the JSON lines of a pack."""

PACKS = (1, 49, 500)
RECORDS = 500
"""How many records one run handles, as nearly as whole packs allow."""

STOPS = (1, 4, 16, 64)
"""How many stops are behind a record."""

MANY_MATCHES = "decide, 10,000 match rules"
MANY_CONDITIONS = "decide, 1,000 CEL rules, known values"
LONG_HISTORY = "handle at a stop, 64 behind it"

LINES = [orjson.dumps(record) for record in records(RECORDS, seed=7)]
METROBUS = RuleBook.parse((Path(metrobus.__file__).parent / "routes.toml").read_text(), version=1)
ORIGIN = Origin("source", 0)
TYPES = 'message_type_code.startsWith("STM")'
"""The condition of the line metrobus that decides at the source."""


def cases() -> Iterator[Case]:
    """All that is measured. Each bound is three to four times the ratio that was seen when it was set."""
    for size in PACKS:
        yield from _reading(size)
        yield from _deciding(size)
        yield from _carrying(size)
        yield from _many_rules(size)
    for stops in STOPS:
        what = f"handle at a stop, {stops} behind it"
        yield Case(what, 1, RECORDS, _at_stop(stops), "orjson on the header", _header_alone(stops), 20)
    yield Case(LONG_HISTORY, 1, RECORDS, _at_stop(64), "16 behind it", _at_stop(16), 12)


def _reading(size: int) -> Iterator[Case]:
    whole, reader = _on_lines(size, _read_whole), METROBUS.reader
    yield _case("read source messages", size, _on_lines(size, partial(read_plain, reader=reader)), "orjson.loads", whole, 4)
    plain = _on_lines(size, lambda lines: reader.read_all(b"\n".join(lines), len(lines)))
    yield _case("read fields", size, plain, "orjson.loads", whole, 1.5)


def _deciding(size: int) -> Iterator[Case]:
    ten = [f"account_number < {number}" for number in range(10)]
    yield _case("decide, 10 match rules", size, _decide_one_of(size, 10), "orjson.loads", _on_lines(size, _read_whole), 1)
    one = _evaluate(size, [TYPES])
    yield _case("decide, match and CEL rules", size, _decide(size, METROBUS), "1 CEL condition", one, 3)
    yield _case("decide, 10 CEL rules, known values", size, _decide(size, _conditional(ten)), "1 CEL condition", one, 3)
    anew = _decide_anew(size, ten)
    yield _case("decide, 10 CEL rules, new values", size, anew, "10 CEL conditions", _evaluate(size, ten), 5)


def _carrying(size: int) -> Iterator[Case]:
    envelopes = [Envelope("signpost", ORIGIN, (_segment(lines, 2),)) for lines in _packs(LINES, size)]
    encoded = [envelope.encode() for envelope in envelopes]
    dumps = _on_records(size, _write_whole)
    yield _case("encode an envelope", size, lambda: each(Envelope.encode, envelopes), "orjson.dumps", dumps, 6)
    decode, loads = (lambda: each(Envelope.decode, encoded)), _on_lines(size, _read_whole)
    yield _case("decode an envelope", size, decode, "orjson.loads", loads, 10)
    yield _case("regroup a pack", size, _regroup(size), "orjson.dumps", dumps, 20)


def _many_rules(size: int) -> Iterator[Case]:
    yield _case(MANY_MATCHES, size, _decide_one_of(size, 10_000), "10 match rules", _decide_one_of(size, 10), 4)
    texts = [f"message_type_code == 'T{number}' && balance > {number}.0" for number in range(1_000)]
    known, one = _decide(size, _conditional(texts)), _evaluate(size, texts[:1])
    yield _case(MANY_CONDITIONS, size, known, "1 CEL condition", one, 3)


def _case(what: str, size: int, work: Job, baseline_name: str, baseline: Job, bound: float) -> Case:
    return Case(what, size, RECORDS // size * size, work, baseline_name, baseline, bound)


def _packs(items: Sequence[Item], size: int) -> list[list[Item]]:
    return [list(items[first : first + size]) for first in range(0, RECORDS // size * size, size)]


def _read_whole(lines: list[bytes]) -> list[Record]:
    return [orjson.loads(line) for line in lines]


def _write_whole(found: list[Record]) -> list[bytes]:
    return [orjson.dumps(record) for record in found]


def _on_lines(size: int, step: Callable[[list[bytes]], object]) -> Job:
    return lambda: each(step, _packs(LINES, size))


def _on_records(size: int, step: Callable[[list[Record]], object]) -> Job:
    return lambda: each(step, _packs(_read_whole(LINES), size))


def _evaluate(size: int, texts: Sequence[str]) -> Job:
    """CEL alone: each of the conditions on each record, handed the one field or two that it reads."""
    programs = [cel.compile(text) for text in texts]
    names = programs[0].variables()

    def evaluate(found: list[Record]) -> None:
        for variables in found:
            for program in programs:
                program.execute(variables)

    fields = [{name: record[name] for name in names} for record in _read_whole(LINES)]
    return lambda: each(evaluate, _packs(fields, size))


def _decide(size: int, book: RuleBook) -> Job:
    """Decides at the source on what its rules read, as it was just read from the lines."""
    junction = book.junction(SOURCE)
    body = b"\n".join(LINES)
    return lambda: each(junction.decide, _packs(junction.reader.read_all(body, RECORDS), size))


def _decide_anew(size: int, texts: Sequence[str]) -> Job:
    """The same by a table that remembers nothing yet; each record has an account of its own."""
    return lambda: _decide(size, _conditional(texts))()


def _decide_one_of(size: int, count: int) -> Job:
    """Decides by so many `match` rules, each record by another of them."""
    rules = (f'[[rules]]\nafter = "source"\nmatch = {{ code = "C{one}" }}\nto = "s{one % 9}"\n' for one in range(count))
    junction = RuleBook.parse("\n".join(rules)).junction(SOURCE)
    chance = Random(count)

    def prepare() -> Run:
        body = b"\n".join(b'{"code":"C%d"}' % chance.randrange(count) for _ in range(RECORDS))
        return each(junction.decide, _packs(junction.reader.read_all(body, RECORDS), size))

    return prepare


def _conditional(texts: Sequence[str]) -> RuleBook:
    rules = (f'[[rules]]\nafter = "source"\nwhen = "{text}"\nto = "s{place % 9}"\n' for place, text in enumerate(texts))
    return RuleBook.parse("\n".join(rules))


def _regroup(size: int) -> Job:
    """Splits packs by where their records go and packs those again that go the same way."""
    junction = METROBUS.junction(SOURCE)
    courses = junction.decide(_read_whole(LINES))
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
