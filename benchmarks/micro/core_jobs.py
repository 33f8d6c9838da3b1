"""The steps of the routing core that are measured, and the same work done by orjson or CEL alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import orjson
from cel_expr_python import cel

from benchmarks.micro.ratio import Job, Run, in_parts
from metroline.agents.lines import metrobus
from metroline.agents.lines.metrobus.records import records
from metroline.routing.addresses import SOURCE
from metroline.routing.journeys.departures import Departures
from metroline.routing.messages.envelope import Envelope, pack
from metroline.routing.messages.itinerary import Hop, NextStep, Provenance
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment, Visit
from metroline.routing.records.service_view import ServiceView
from metroline.routing.rules.condition import Condition
from metroline.routing.rules.stop_rules import StopRules
from metroline.routing.rules.table import RulesTable

Item = TypeVar("Item")
Input = TypeVar("Input")
Record = dict[str, Any]

RECORDS = 500
"""Number of records that one run handles, or slightly fewer where packs do not divide it."""

RECORDS_PER_PART = 50
"""Number of records that are timed together, unless a single pack has more."""

LINES = [orjson.dumps(record) for record in records(RECORDS, seed=7)]
METROBUS = RulesTable.parse((Path(metrobus.__file__).parent / "routes.toml").read_text(), version=1)
ORIGIN = Origin("source", 0)


def in_packs(items: Sequence[Item], size: int) -> list[list[Item]]:
    """Return `RECORDS` items in packs of this size; an incomplete last pack is left out."""
    return [list(items[first : first + size]) for first in range(0, RECORDS // size * size, size)]


def on_packs(size: int, step: Callable[[Input], object], packs: Callable[[], Iterable[Input]]) -> Job:
    """Return a job that takes the step with each pack; `packs` is called for each run."""
    return lambda: in_parts(step, packs(), max(1, RECORDS_PER_PART // size))


def on_lines(size: int, step: Callable[[list[bytes]], object]) -> Job:
    """Return a job that takes the step with the JSON lines of each pack."""
    return on_packs(size, step, lambda: in_packs(LINES, size))


def loads(size: int) -> Job:
    """Return a job that reads the records with orjson alone.

    Other processes, which share the caches, hardly change its time. That of writing the records varies fourfold.
    """

    def read(lines: list[bytes]) -> None:
        for line in lines:
            orjson.loads(line)

    return on_lines(min(size, RECORDS_PER_PART), read)


def serve(size: int, view: ServiceView) -> Job:
    """Return a job that hands records to a service, which adds a field, and takes them back."""

    def run(lines: list[bytes]) -> None:
        for line, (known, record) in zip(lines, view.open_all(lines), strict=True):
            record["email"] = "customer@bank.example"
            view.close(line, known, record)

    return on_lines(size, run)


def evaluate(size: int, conditions: Sequence[str]) -> Job:
    """Return a job that evaluates each condition on each record with CEL's runtime, given only the fields it reads."""
    environment = cel.NewEnv()
    programs = [environment.compile(condition, disable_check=True) for condition in conditions]
    names = Condition.compile(conditions[0]).reads or ()
    fields = [{name: record[name] for name in names} for record in map(orjson.loads, LINES)]

    def run(found: list[Record]) -> None:
        for variables in found:
            for program in programs:
                program.eval(data=variables)

    small = min(size, RECORDS_PER_PART)
    return on_packs(small, run, lambda: in_packs(fields, small))


def decide(size: int, table: RulesTable) -> Job:
    """Return a job that decides at the source, given the fields that its rules read."""
    return _decide(size, table.stop_rules(SOURCE), lambda: LINES)


def decide_with_new_table(size: int, conditions: Sequence[str]) -> Job:
    """Return a job that decides with a table that has decided nothing before; each record has its own account."""

    def parts() -> Iterator[Run]:
        return decide(size, table_of(conditions))()

    return parts


def decide_one_of(size: int, count: int) -> Job:
    """Return a job that decides with `count` rules of type `match`, a random one of which holds for each record."""
    return _decide(size, *match_rules(count))


def read_and_decide_one_of(size: int, count: int) -> Job:
    """Return a job that reads the fields of whole records and decides with `count` rules of type `match`."""
    stop_rules, lines = match_rules(count)

    def run(pack: list[bytes]) -> object:
        return stop_rules.decide(stop_rules.reader.read_all(pack))

    return on_packs(size, run, lambda: in_packs(lines(), size))


def _decide(size: int, stop_rules: StopRules, lines: Callable[[], list[bytes]]) -> Job:
    return on_packs(size, stop_rules.decide, lambda: map(stop_rules.reader.read_all, in_packs(lines(), size)))


@cache
def match_rules(count: int) -> tuple[StopRules, Callable[[], list[bytes]]]:
    """Return `count` rules of type `match`, and a function that makes records for random ones of them."""
    rules = (f'[[rules]]\nafter = "source"\nmatch = {{ code = "C{one}" }}\nto = "s{one % 9}"\n' for one in range(count))
    random = Random(count)

    def lines() -> list[bytes]:
        return [b'{"code":"C%d",%b' % (random.randrange(count), line[1:]) for line in LINES]

    return RulesTable.parse("\n".join(rules)).stop_rules(SOURCE), lines


def table_of(conditions: Sequence[str]) -> RulesTable:
    """Return a table with a rule at the source for each condition."""
    rules = (
        f'[[rules]]\nafter = "source"\nwhen = "{condition}"\nto = "s{number % 9}"\n'
        for number, condition in enumerate(conditions)
    )
    return RulesTable.parse("\n".join(rules))


def regroup(size: int) -> Job:
    """Return a job that splits packs by destination and packs the records of each destination again."""
    stop_rules = METROBUS.stop_rules(SOURCE)
    next_steps: list[NextStep] = [*stop_rules.decide([orjson.loads(line) for line in LINES])]
    segments = [segment_of(lines, 2) for lines in in_packs(LINES, size)]

    def run(one: tuple[Segment, list[NextStep]]) -> None:
        departures = Departures("signpost", ORIGIN, max_hops=64)
        departures.add_each(*one, "source")
        for segments in departures.by_address.values():
            list(pack("signpost", ORIGIN, segments, 900 * 1024, 1_000))

    return on_packs(size, run, lambda: zip(segments, in_packs(next_steps, size), strict=True))


def encode(size: int) -> Job:
    """Return a job that encodes an envelope for each pack."""
    envelopes = _envelopes(size)
    return on_packs(size, Envelope.encode, lambda: envelopes)


def decode(size: int) -> Job:
    """Return a job that decodes an envelope for each pack."""
    encoded = [envelope.encode() for envelope in _envelopes(size)]
    return on_packs(size, Envelope.decode, lambda: encoded)


def _envelopes(size: int) -> list[Envelope]:
    return [Envelope("signpost", ORIGIN, (segment_of(lines, 2),)) for lines in in_packs(LINES, size)]


def segment_of(lines: Sequence[bytes], visits: int) -> Segment:
    """Return a segment of these records after `visits` stops."""
    history = [Visit(f"stop-{place}", 1.7e9 + place / 8, f"the rule {place}", "signpost", 1) for place in range(visits)]
    return Segment(tuple(range(len(lines))), tuple(lines), 1.7e9, tuple(history), Provenance("the rule", "signpost", 1))


def pass_stop(visits: int) -> Job:
    """Return a job that takes an envelope of one record through a stop without its service."""
    raw = Envelope("signpost", ORIGIN, (segment_of(LINES[:1], visits),)).encode()
    hop = Hop("service.next", Provenance("the next rule", "signpost", 1))

    def run(raw: bytes) -> bytes:
        envelope = Envelope.decode(raw)
        departures = Departures(envelope.strategy, envelope.origin, max_hops=visits + 2)
        departures.add(envelope.segments[0].visited("stop", 1.7e9), hop)
        [[moved]] = departures.by_address.values()
        return Envelope(envelope.strategy, envelope.origin, (moved,)).encode()

    return on_packs(1, run, lambda: [raw] * RECORDS)


def header_alone(visits: int) -> Job:
    """Return a job that reads and writes the header of such an envelope with orjson alone."""
    header = Envelope("signpost", ORIGIN, (segment_of(LINES[:1], visits),)).encode().partition(b"\n")[0]
    return on_packs(1, lambda raw: orjson.dumps(orjson.loads(raw)), lambda: [header] * RECORDS)
