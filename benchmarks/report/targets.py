"""The targets that Metroline set itself, and the verdict of the results on each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.report.live_targets import live_verdicts
from benchmarks.report.results import Entries, ReadSection, median
from benchmarks.report.verdict import Verdict, at_most, ratio

BROKERS = {"embedded": "embedded broker", "kafka": "Apache Kafka"}
LEAN = ("map_maker", "signpost", "hard_wired")
LIGHT = ("signpost", "map_maker")
ALL = ("hard_wired", "conductor", "map_maker", "signpost")

CPU_SINGLE_SECONDS = 0.25
CPU_PACKED_SECONDS = 0.10
CONDUCTOR_TIMES_MAP_MAKER = 1.6
KAFKA_P50_MS, KAFKA_P99_MS, EMBEDDED_P99_MS = 10.0, 25.0, 50.0
PACKING_MS = 1.0
PER_STOP_PERCENT = 15.0
FIRST_RECORD_SECONDS = 5.0
BACKLOG_MEGABYTES = 200.0
GROWTH_PERCENT = 10.0


def verdicts(read: ReadSection, memory: Mapping[str, Any]) -> Iterator[Verdict]:
    """Yield the verdict on each target, broker by broker, then those on live traffic and on memory."""
    for broker in BROKERS:
        yield from _costs(read, broker)
        yield from _latencies(read("latency", broker), broker)
        yield from _per_stop(read("stops", broker), broker)
        for name in ALL:
            first = median(read("killed", broker), name, "first_record_seconds")
            yield at_most(f"`{name}`: first record after the start", FIRST_RECORD_SECONDS, "s", broker, first)
    yield from live_verdicts(read)
    yield from _memory(memory)


def _costs(read: ReadSection, broker: str) -> Iterator[Verdict]:
    single, packed = read("throughput", broker), read("packed", broker)
    for name in LEAN:
        what = f"`{name}`: CPU-seconds per 10,000, one record per source message"
        yield at_most(what, CPU_SINGLE_SECONDS, "", broker, median(single, name, "cpu_per_10k"), 3)
    for name in LEAN:
        what = f"`{name}`: CPU-seconds per 10,000, 49 records per source message"
        yield at_most(what, CPU_PACKED_SECONDS, "", broker, median(packed, name, "cpu_per_10k"), 3)
    conductor = median(single, "conductor", "cpu_per_10k")
    times = ratio(conductor, median(single, "map_maker", "cpu_per_10k"))
    yield at_most("`conductor`: CPU-seconds as a multiple of `map_maker`", CONDUCTOR_TIMES_MAP_MAKER, "", broker, times)


def _latencies(entries: Entries, broker: str) -> Iterator[Verdict]:
    for name in LIGHT:
        p50, p99 = median(entries, name, "p50"), median(entries, name, "p99")
        if broker == "kafka":
            yield at_most(f"`{name}`: latency at 100 records/s, p50", KAFKA_P50_MS, "ms", broker, p50, 1)
        limit = KAFKA_P99_MS if broker == "kafka" else EMBEDDED_P99_MS
        yield at_most(f"`{name}`: latency at 100 records/s, p99", limit, "ms", broker, p99, 1)
        unpacked = median(entries, f"{name}/unpacked", "p50")
        added = None if p50 is None or unpacked is None else p50 - unpacked
        yield at_most(f"`{name}`: latency that packing adds at 100 records/s, p50", PACKING_MS, "ms", broker, added, 1)


def _per_stop(entries: Entries, broker: str) -> Iterator[Verdict]:
    for name in ALL:
        few, many = (median(entries, f"{name}/{stops}", "cpu_per_10k") for stops in (3, 12))
        growth = ratio(None if many is None else many / 12, None if few is None else few / 3)
        percent = None if growth is None else 100 * (growth - 1)
        what = f"`{name}`: growth of CPU per record and stop from 3 to 12 stops"
        yield at_most(what, PER_STOP_PERCENT, "%", broker, percent, 0)


def _memory(memory: Mapping[str, Any]) -> Iterator[Verdict]:
    backlog = memory.get("backlog", {})
    records = f"{backlog.get('records', 2_000_000):,}"
    what = f"memory of a worker that finds {records} records waiting"
    yield at_most(what, BACKLOG_MEGABYTES, "MB", "kafka", backlog.get("peak_megabytes"), 0)
    long = memory.get("long", {})
    sizes = long.get("megabytes", {})
    marks = sorted(sizes, key=int)
    change = None if len(marks) < 2 else 100 * (sizes[marks[-1]] / sizes[marks[0]] - 1)
    first, last = (f"{int(mark):,}" for mark in (marks[0], marks[-1])) if marks else ("1,000,000", "10,000,000")
    yield Verdict(
        f"memory after {last} records, compared with {first}",
        f"± {GROWTH_PERCENT:g} %",
        "kafka",
        None if change is None else f"{change:+.1f} %",
        None if change is None else abs(change) <= GROWTH_PERCENT,
    )
