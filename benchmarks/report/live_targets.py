"""The targets for live traffic, in comparison with raw confluent-kafka in the same run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from benchmarks.live.section import PEERS, YARDSTICK
from benchmarks.report.live_rows import WAYS, LiveRow
from benchmarks.report.results import Entries, ReadSection
from benchmarks.report.verdict import Verdict, at_least, at_most, ratio

BROKER, PARTITIONS = "kafka", 12
FLOOR = "one_loop"
"""The least that this work can cost in Python. It has no hops, so it is not one of the peers."""
LOW, MIDDLE = 100.0, 1_000.0
WAITING_P99_MS = 1_000.0
IDLE_PERCENT = 2.0
LEAST_HIGHEST = 12_000.0
TIMES_BEST_PEER, TIMES_FLOOR = 1.5, 0.8
PACKED_TIMES = 0.4


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of `signpost` with chaining or without; ratios are to raw confluent-kafka."""

    cpu_low: float
    p50_low_ms: float
    p99_low_ms: float
    p99_middle_ms: float
    cpu_middle: float | None
    backlog: float
    conductor: float
    """CPU of `conductor` as a multiple of that of `signpost`."""
    embedded_p99_ms: float
    many: float
    """CPU with 64 partitions as a multiple of that with 12."""


LIMITS = {
    "chained": Limits(1.5, 10, 30, 100, 1.5, 0.6, 1.2, 150, 1.3),
    "hops": Limits(3, 20, 60, 250, None, 1.0, 2, 400, 2),
}


def live_verdicts(read: ReadSection) -> Iterator[Verdict]:
    """Yield the verdicts on live traffic, with chaining first."""
    kafka, embedded = read("live", BROKER), read("live", "embedded")
    for way, limits in LIMITS.items():
        name, words = f"signpost/{way}", f"`signpost`, {WAYS[way]}"
        yield from _rates(kafka, name, words, limits)
        yield from _highest(kafka, name, words, is_chained=way == "chained")
        yield from _further(kafka, name, words, limits)
        yield from _conductor(kafka, way, limits)
        row = LiveRow.of(embedded, f"{name}/4")
        yield from _kept_up(row, f"{words}: 1,000 records/s", MIDDLE, limits.embedded_p99_ms, "embedded")


def _rates(entries: Entries, name: str, words: str, limits: Limits) -> Iterator[Verdict]:
    row, yardstick = (LiveRow.of(entries, f"{each}/{PARTITIONS}") for each in (name, YARDSTICK))
    cpu = ratio(row.figure(LOW, "cpu"), yardstick.figure(LOW, "cpu"))
    what = f"{words}: CPU at 100 records/s, times raw confluent-kafka"
    yield _unless_behind(row, LOW, at_most(what, limits.cpu_low, "", BROKER, cpu))
    p50 = at_most(f"{words}: p50 at 100 records/s", limits.p50_low_ms, "ms", BROKER, row.figure(LOW, "p50"), 1)
    yield _unless_behind(row, LOW, p50)
    yield from _kept_up(row, f"{words}: 100 records/s", LOW, limits.p99_low_ms)
    yield from _kept_up(row, f"{words}: 1,000 records/s", MIDDLE, limits.p99_middle_ms)
    if limits.cpu_middle is not None:
        cpu = ratio(row.figure(MIDDLE, "cpu"), yardstick.figure(MIDDLE, "cpu"))
        what = f"{words}: CPU at 1,000 records/s, times raw confluent-kafka"
        yield _unless_behind(row, MIDDLE, at_most(what, limits.cpu_middle, "", BROKER, cpu))


def _kept_up(row: LiveRow, words: str, rate: float, p99_ms: float, broker: str = BROKER) -> Iterator[Verdict]:
    """Yield whether all records were delivered in time, and the p99."""
    held = row.held_up(rate)
    found = row.at(rate)
    shown = None if held is None else f"{100 * found['share']:.1f} %" if found else "fell behind before"
    yield Verdict(f"{words}, delivered in time", "all", broker, shown, held)
    p99 = at_most(f"{words}, p99", p99_ms, "ms", broker, row.figure(rate, "p99"), 1)
    yield _unless_behind(row, rate, p99)


def _unless_behind(row: LiveRow, rate: float, verdict: Verdict) -> Verdict:
    """Return the verdict, or that the target is missed because the row fell behind at this rate or a lower one."""
    is_behind = verdict.is_met is None and row.held_up(rate) is False
    return replace(verdict, figure="fell behind", is_met=False) if is_behind else verdict


def _highest(entries: Entries, name: str, words: str, *, is_chained: bool) -> Iterator[Verdict]:
    def highest(system: str) -> float | None:
        return LiveRow.of(entries, f"{system}/{PARTITIONS}").of_all("highest")

    ours, what = highest(name), f"{words}: highest rate"
    if not is_chained:
        yield at_least(f"{what}, times raw confluent-kafka", 1, "", BROKER, ratio(ours, highest(YARDSTICK)))
        return
    best_peer = max((highest(peer) or 0 for peer in PEERS if peer != FLOOR), default=0)
    yield at_least(what, LEAST_HIGHEST, "records/s", BROKER, ours, 0)
    yield at_least(f"{what}, times the best peer", TIMES_BEST_PEER, "", BROKER, ratio(ours, best_peer))
    yield at_least(f"{what}, times one loop without hops", TIMES_FLOOR, "", BROKER, ratio(ours, highest(FLOOR)))


def _further(entries: Entries, name: str, words: str, limits: Limits) -> Iterator[Verdict]:
    backlog, packed, yardstick = (
        LiveRow.of(entries, each).of_all("cpu_per_10k")
        for each in (f"{name}/backlog", f"{name}/packed", f"{YARDSTICK}/backlog")
    )
    cpu = "full backlog, CPU-seconds, times raw confluent-kafka"
    yield at_most(f"{words}: {cpu}", limits.backlog, "", BROKER, ratio(backlog, yardstick))
    if name.endswith("chained"):
        what = f"{words}: {cpu} one by one, 49 records per source message"
        yield at_most(what, PACKED_TIMES, "", BROKER, ratio(packed, yardstick))
    waiting = LiveRow.of(entries, f"{name}/waiting")
    yield from _kept_up(waiting, f"{words}: 100 records/s through a service of 0.5 s", LOW, WAITING_P99_MS)
    few, many = (LiveRow.of(entries, f"{name}/{row}") for row in ("idle", "many"))
    times = ratio(many.figure(LOW, "cpu"), few.figure(LOW, "cpu"))
    yield at_most(f"{words}: CPU at 100 records/s, 64 partitions, times 12", limits.many, "", BROKER, times)
    if name.endswith("chained"):
        idle = many.of_all("idle_cpu")
        percent = None if idle is None else 100 * idle
        yield at_most(f"{words}: CPU without records, 64 partitions", IDLE_PERCENT, "%", BROKER, percent, 1)


def _conductor(entries: Entries, way: str, limits: Limits) -> Iterator[Verdict]:
    def rows(end: str) -> tuple[LiveRow, LiveRow]:
        ours, other = (LiveRow.of(entries, f"{name}/{way}/{end}") for name in ("conductor", "signpost"))
        return ours, other

    words = f"`conductor`, {WAYS[way]}: {{}}, times `signpost`"
    one, other = rows(str(PARTITIONS))
    for rate in (LOW, MIDDLE):
        what = words.format(f"CPU at {rate:,.0f} records/s")
        yield at_most(what, limits.conductor, "", BROKER, ratio(one.figure(rate, "cpu"), other.figure(rate, "cpu")))
    one, other = rows("backlog")
    times = ratio(one.of_all("cpu_per_10k"), other.of_all("cpu_per_10k"))
    yield at_most(words.format("full backlog, CPU-seconds"), limits.conductor, "", BROKER, times)
