"""The work that is measured of the routing core, and the same work of orjson and CEL alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import cel
import orjson

from benchmarks.micro.ratio import Job, Run, each
from metroline.agents.lines import metrobus
from metroline.agents.lines.metrobus.records import records
from metroline.routing.addresses import SOURCE
from metroline.routing.journeys.departures import Departures
from metroline.routing.messages.envelope import Envelope, pack
from metroline.routing.messages.itinerary import Hop, NextStep, Provenance
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment, Visit
from metroline.routing.records.service_view import ServiceView
from metroline.routing.rules.stop_rules import StopRules
from metroline.routing.rules.table import RulesTable

Item = TypeVar("Item")
Record = dict[str, Any]

RECORDS = 500
"""How many records one run handles, as nearly as whole packs allow."""

LINES = [orjson.dumps(record) for record in records(RECORDS, seed=7)]
METROBUS = RulesTable.parse((Path(metrobus.__file__).parent / "routes.toml").read_text(), version=1)
ORIGIN = Origin("source", 0)


def in_packs(items: Sequence[Item], size: int) -> list[list[Item]]:
    """Whole packs of this size, out of as many of the items as there are records."""
    return [list(items[first : first + size]) for first in range(0, RECORDS // size * size, size)]


def on_lines(size: int, step: Callable[[list[bytes]], object]) -> Job:
    """Takes the step with the JSON lines of one pack after the other."""
    return lambda: each(step, in_packs(LINES, size))


def loads(size: int) -> Job:
    """What reading the records costs with orjson alone."""

    def read(lines: list[bytes]) -> None:
        for line in lines:
            orjson.loads(line)

    return on_lines(size, read)


def dumps(size: int) -> Job:
    """What writing them costs with orjson alone."""

    def write(found: list[Record]) -> None:
        for record in found:
            orjson.dumps(record)

    return lambda: each(write, in_packs([orjson.loads(line) for line in LINES], size))


def handle(size: int, handling: ServiceView) -> Job:
    """What a stop does with records beside carrying them: a service adds a field to each."""

    def run(lines: list[bytes]) -> None:
        for line, (known, handed) in zip(lines, handling.open_all(lines), strict=True):
            handed["email"] = "customer@bank.example"
            handling.close(line, known, handed)

    return on_lines(size, run)


def evaluate(size: int, texts: Sequence[str]) -> Job:
    """CEL alone: each of the conditions on each record, handed the one field or two that it reads."""
    programs = [cel.compile(text) for text in texts]
    names = programs[0].variables()

    def run(found: list[Record]) -> None:
        for variables in found:
            for program in programs:
                program.execute(variables)

    fields = [{name: record[name] for name in names} for record in map(orjson.loads, LINES)]
    return lambda: each(run, in_packs(fields, size))


def decide(size: int, book: RulesTable) -> Job:
    """Decides at the source on what its rules read, as it was just read from the lines."""
    stop_rules = book.stop_rules(SOURCE)
    return lambda: each(stop_rules.decide, in_packs(stop_rules.reader.read_all(LINES), size))


def decide_anew(size: int, texts: Sequence[str]) -> Job:
    """The same by a table that remembers nothing yet; each record has an account of its own."""

    def prepare() -> Run:
        return decide(size, conditional(texts))()

    return prepare


def decide_one_of(size: int, count: int) -> Job:
    """Decides by so many `match` rules, each record by another of them."""
    stop_rules, lines = one_of(count)
    return lambda: each(stop_rules.decide, in_packs(stop_rules.reader.read_all(lines()), size))


def read_and_decide_one_of(size: int, count: int) -> Job:
    """The same from the lines of whole records on, as whoever decides does."""
    stop_rules, lines = one_of(count)

    def run(lines: list[bytes]) -> object:
        return stop_rules.decide(stop_rules.reader.read_all(lines))

    return lambda: each(run, in_packs(lines(), size))


@cache
def one_of(count: int) -> tuple[StopRules, Callable[[], list[bytes]]]:
    """So many `match` rules, and what makes records that go by one or another of them."""
    rules = (f'[[rules]]\nafter = "source"\nmatch = {{ code = "C{one}" }}\nto = "s{one % 9}"\n' for one in range(count))
    jitter = Random(count)

    def lines() -> list[bytes]:
        return [b'{"code":"C%d",%b' % (jitter.randrange(count), line[1:]) for line in LINES]

    return RulesTable.parse("\n".join(rules)).stop_rules(SOURCE), lines


def conditional(texts: Sequence[str]) -> RulesTable:
    """A table with a rule at the source for each of these conditions."""
    rules = (f'[[rules]]\nafter = "source"\nwhen = "{text}"\nto = "s{place % 9}"\n' for place, text in enumerate(texts))
    return RulesTable.parse("\n".join(rules))


def regroup(size: int) -> Job:
    """Splits packs by where their records go and packs those again that go the same way."""
    stop_rules = METROBUS.stop_rules(SOURCE)
    next_steps: list[NextStep] = [*stop_rules.decide([orjson.loads(line) for line in LINES])]
    segments = [segment_of(lines, 2) for lines in in_packs(LINES, size)]

    def run(one: tuple[Segment, list[NextStep]]) -> None:
        departures = Departures("signpost", ORIGIN, max_hops=64)
        departures.add_each(*one, "source")
        for segments in departures.by_address.values():
            list(pack("signpost", ORIGIN, segments, 900 * 1024, 1_000))

    return lambda: each(run, list(zip(segments, in_packs(next_steps, size), strict=True)))


def segment_of(lines: Sequence[bytes], stops: int) -> Segment:
    """These records with so many stops behind them."""
    history = [Visit(f"stop-{place}", 1.7e9 + place / 8, f"the rule {place}", "signpost", 1) for place in range(stops)]
    return Segment(tuple(range(len(lines))), tuple(lines), 1.7e9, tuple(history), Provenance("the rule", "signpost", 1))


def at_stop(stops: int) -> Job:
    """What a stop does with an envelope of one record, beside its service."""
    raw = Envelope("signpost", ORIGIN, (segment_of(LINES[:1], stops),)).encode()
    move = Hop("service.next", Provenance("the next rule", "signpost", 1))

    def handle(raw: bytes) -> bytes:
        envelope = Envelope.decode(raw)
        departures = Departures(envelope.strategy, envelope.origin, max_hops=stops + 2)
        departures.add(envelope.segments[0].visited("stop", 1.7e9), move)
        [[moved]] = departures.by_address.values()
        return Envelope(envelope.strategy, envelope.origin, (moved,)).encode()

    return lambda: each(handle, [raw] * RECORDS)


def header_alone(stops: int) -> Job:
    """What reading and writing such an envelope's header costs with orjson alone."""
    header = Envelope("signpost", ORIGIN, (segment_of(LINES[:1], stops),)).encode().partition(b"\n")[0]
    return lambda: each(lambda raw: orjson.dumps(orjson.loads(raw)), [header] * RECORDS)
