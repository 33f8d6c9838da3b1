"""All systems side by side on the line metrobus: cost, latency, a kill, charts, and who was left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.report.charts import Bar, bar_chart, is_logarithmic
from benchmarks.report.markdown import spread, table
from benchmarks.report.results import Entries, Results, median
from benchmarks.report.targets import ALL, BROKERS
from benchmarks.report.verdict import ratio
from benchmarks.systems.strategy import Strategy
from benchmarks.systems.system import System
from benchmarks.systems.systems import SYSTEMS
from metroline.app.compare.figures import NOT_MEASURED

YARDSTICK = next(system for system in SYSTEMS if system.name == "raw_confluent")
"""The system that CPU times are compared with: a lean loop, whose time shows how fast the machine was."""
SECTIONS = ("throughput", "packed", "latency", "killed", "stops", "harder", "profile")
CHARTS = (
    ("throughput", "cpu_per_10k", "CPU-seconds per 10,000 records", 2),
    ("throughput", "records_per_second", "Records per second", 0),
    ("latency", "p99", "Latency at 100 records/s, p99 in ms", 0),
)
"""Section, figure, title and decimals of each chart."""


def side_by_side(results: Results, broker: str, charts: Path) -> Iterator[str]:
    """Yield the tables and the charts of a broker; the charts are written into a folder."""
    yield _costs(results.read("throughput", broker))
    yield from _latency_and_kill(results.read("latency", broker), results.read("killed", broker))
    for section, key, title, decimals in CHARTS:
        yield from _chart(results.read(section, broker), key, f"{title}, {BROKERS[broker]}", decimals, charts, broker)
    yield from _left_out(results, broker)


def _measured(entries: Entries) -> list[System]:
    return [system for system in SYSTEMS if entries.get(system.name, {}).get("rounds")]


def _costs(entries: Entries) -> str:
    yardstick = median(entries, YARDSTICK.name, "cpu_per_10k")
    rows = []
    for system in sorted(_measured(entries), key=lambda each: median(entries, each.name, "cpu_per_10k") or 0):
        name = system.name
        rows.append(
            (
                system.title,
                f"{median(entries, name, 'records') or 0:,.0f}",
                spread(entries, name, "cpu_per_10k", 2),
                _times(median(entries, name, "cpu_per_10k"), yardstick),
                spread(entries, name, "records_per_second", 0),
                spread(entries, name, "messages_per_record", 3),
                spread(entries, name, "bytes_per_record", 0),
                f"{max((each['peak_megabytes'] for each in entries[name]['rounds']), default=0):.0f}",
            )
        )
    heads = ["", "records", "CPU-s per 10,000", f"times {YARDSTICK.title}", "records/s"]
    return table([*heads, "bus messages per record", "bus bytes per record", "memory, MB"], rows)


def _times(value: float | None, yardstick: float | None) -> str:
    """Return a CPU time as a multiple of the yardstick's, which depends less on the machine and the hour."""
    times = ratio(value, yardstick)
    return NOT_MEASURED if times is None else f"{times:.2f}"


def _latency_and_kill(latencies: Entries, kills: Entries) -> Iterator[str]:
    columns = (
        (latencies, "p50", 1, "latency p50, ms"),
        (latencies, "p99", 1, "p99, ms"),
        (kills, "first_record_seconds", 1, "first record after, s"),
        (kills, "records", 0, "killed at half of"),
        (kills, "repeated", 0, "repeated"),
        (kills, "lost", 0, "lost"),
        (kills, "seconds_after_restart", 1, "all delivered after the restart, s"),
    )
    measured = [system for system in SYSTEMS if system in _measured(latencies) or system in _measured(kills)]
    if not measured:
        return
    yield table(
        ["", *(head for *_, head in columns)],
        (
            (system.title, *(spread(entries, system.name, key, decimals) for entries, key, decimals, _ in columns))
            for system in measured
        ),
    )
    duplicates = {name: median(kills, name, "duplicates") for name in ALL}
    counts = [f"{name} {count:.0f}" for name, count in duplicates.items() if count is not None]
    if counts:
        yield (
            "`repeated` counts every copy of a record after the first in the delivered topic. Metroline still counts "
            "the outcome of each record once. Outcomes that arrived for records already settled: "
            f"{', '.join(counts)}.\n"
        )


def _chart(entries: Entries, key: str, title: str, decimals: int, folder: Path, broker: str) -> Iterator[str]:
    bars = [
        Bar(system.title.replace("`", ""), value, f"{value:,.{decimals}f}", isinstance(system, Strategy))
        for system in _measured(entries)
        for value in [median(entries, system.name, key)]
        if value is not None
    ]
    if bars:
        bars.sort(key=lambda bar: bar.value, reverse=key == "records_per_second")
        scale = ", logarithmic" if is_logarithmic([bar.value for bar in bars]) else ""
        file = folder / f"{key.replace('_', '-')}-{broker}.svg"
        file.write_text(bar_chart(f"{title}{scale}", bars), "utf-8")
        yield f"![{title}]({folder.name}/{file.name})\n"


def _left_out(results: Results, broker: str) -> Iterator[str]:
    titles = {system.name: system.title for system in SYSTEMS}
    found = [
        f"- {titles.get(name, name)}, {section}: {entry['left_out']}"
        for section in SECTIONS
        for name, entry in results.read(section, broker).items()
        if "left_out" in entry
    ]
    if found:
        yield "Left out:\n"
        yield "\n".join(found) + "\n"
