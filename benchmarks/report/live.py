"""The chapter on live traffic: systems while records arrive at a steady rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.live.measured import is_complete
from benchmarks.live.section import PACK, WAITING_RATES, YARDSTICK
from benchmarks.live.settings import MAIN_PARTITIONS, PARTITIONS, RATES
from benchmarks.report.charts import Bar, bar_chart, is_logarithmic
from benchmarks.report.live_rows import LiveRow, titled_rows
from benchmarks.report.markdown import table
from benchmarks.report.results import Entries, Results
from benchmarks.report.verdict import ratio
from metroline.app.compare.figures import NOT_MEASURED

LEGEND = """\
Records arrive at a steady rate, whether or not the system keeps up. Each cell has the CPU of the system's process as a
share of a core, and the latency (p50 / p99, in milliseconds) from the moment at which a record was due to be sent. A
share of records in bold was delivered by two seconds after the last record was due: the system fell behind, and its row
ends. The highest rate is the highest at which all records were delivered in time with a p99 of at most 500 ms.
"""


def live(results: Results, broker: str, title: str, charts: Path) -> Iterator[str]:
    """Yield the tables and charts of a broker; the charts are written into a folder."""
    entries = results.read("live", broker)
    if not entries:
        return
    yield f"## Live traffic, {title}\n"
    yield LEGEND
    for partitions in _partitions(entries, broker):
        yield f"### {partitions} partitions\n"
        yield from _rates(entries, partitions)
        yield from _costs(entries, partitions)
    yield from _chart(entries, broker, title, charts)
    yield from _further(entries)
    yield from _left_out(entries)


def _partitions(entries: Entries, broker: str) -> list[int]:
    """Return the partitions with which any system was measured, those that the targets are set for first."""
    ends = {name.rsplit("/", 1)[-1] for name in entries}
    found = {int(end) for end in ends if end.isdigit()} or set(PARTITIONS[broker])
    return sorted(found, key=lambda partitions: (partitions != MAIN_PARTITIONS[broker], partitions))


def _rates(entries: Entries, partitions: int) -> Iterator[str]:
    rows = [
        (title, *(_cell(row, rate) for rate in RATES), _highest(row))
        for title, _, row in titled_rows(entries, str(partitions))
    ]
    yield table(["", *(f"{rate:,.0f}/s" for rate in RATES), "highest rate"], rows)


def _cell(row: LiveRow, rate: float) -> str:
    found = row.at(rate)
    if found is None:
        return NOT_MEASURED
    latency = f"{found['p50']:,.0f} / {found['p99']:,.0f}" if "p50" in found else NOT_MEASURED
    share = "" if is_complete(found) else f"**{100 * found['share']:.0f} %**, "
    return f"{share}{100 * found['cpu']:.0f} %, {latency}"


def _highest(row: LiveRow) -> str:
    highest = row.of_all("highest")
    if highest is None:
        return NOT_MEASURED
    return f"{highest:,.0f}/s" if highest else f"below {min(row.rates):g}/s"


def _costs(entries: Entries, partitions: int) -> Iterator[str]:
    """Yield CPU as a multiple of the yardstick's at the same rate, and the messages that a record costs."""
    yardstick = LiveRow.of(entries, f"{YARDSTICK}/{partitions}")
    rows = []
    for title, _, row in titled_rows(entries, str(partitions)):
        times = [_decimals(ratio(row.figure(rate, "cpu"), yardstick.figure(rate, "cpu")), 2) for rate in RATES]
        rows.append((title, *times, *(_decimals(row.figure(rate, "messages_per_record"), 2) for rate in RATES)))
    yield "CPU as a multiple of that of raw confluent-kafka, and messages per record written by the system.\n"
    heads = [f"{what}, {rate:,.0f}/s" for what in ("CPU", "messages") for rate in RATES]
    yield table(["", *heads], rows)


def _decimals(value: float | None, decimals: int) -> str:
    return NOT_MEASURED if value is None else f"{value:,.{decimals}f}"


def _chart(entries: Entries, broker: str, title: str, folder: Path) -> Iterator[str]:
    bars = [
        Bar(name.replace("`", "").replace("every hop on the bus", "by hops"), highest, f"{highest:,.0f}", is_ours)
        for name, is_ours, row in titled_rows(entries, str(MAIN_PARTITIONS[broker]))
        if (highest := row.of_all("highest"))
    ]
    if not bars:
        return
    bars.sort(key=lambda bar: -bar.value)
    words = f"Highest rate held, records/s, {MAIN_PARTITIONS[broker]} partitions, {title}"
    scale = ", logarithmic" if is_logarithmic([bar.value for bar in bars]) else ""
    file = folder / f"live-highest-rate-{broker}.svg"
    file.write_text(bar_chart(f"{words}{scale}", bars), "utf-8")
    yield f"![{words}]({folder.name}/{file.name})\n"


def _further(entries: Entries) -> Iterator[str]:
    yield from _section(
        "Full backlog, 12 partitions.\n",
        ["CPU-s per 10,000", "records/s", f"CPU-s, {PACK} per source message"],
        [
            (title, _decimals(row.of_all("cpu_per_10k"), 3), _decimals(row.of_all("records_per_second"), 0), packed)
            for title, _, row in titled_rows(entries, "backlog")
            for packed in [_packed(entries, title)]
        ],
    )
    yield from _section(
        "An async service that waits for 0.5 s, `concurrency=64`, 12 partitions.\n",
        [f"{rate:g}/s" for rate in WAITING_RATES],
        [(title, *(_cell(row, rate) for rate in WAITING_RATES)) for title, _, row in titled_rows(entries, "waiting")],
    )
    idle = [
        (f"{title}, {partitions} partitions", f"{100 * (row.of_all('idle_cpu') or 0):.1f} %", _cell(row, RATES[0]))
        for end, partitions in (("idle", 12), ("many", 64))
        for title, _, row in titled_rows(entries, end)
    ]
    yield from _section("CPU without records, and at 100 records/s.\n", ["no records", "100/s"], idle)


def _packed(entries: Entries, title: str) -> str:
    found = {name: row for name, _, row in titled_rows(entries, "packed")}
    return _decimals(found[title].of_all("cpu_per_10k"), 3) if title in found else NOT_MEASURED


def _section(words: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        yield words
        yield table(["", *heads], rows)


def _left_out(entries: Entries) -> Iterator[str]:
    found = [f"- {name}: {entry['left_out']}" for name, entry in entries.items() if "left_out" in entry]
    found += [
        f"- {name}, after the rates shown: {row.figures['failed']}"
        for name in entries
        if "failed" in (row := LiveRow.of(entries, name)).figures
    ]
    if found:
        yield "Left out:\n"
        yield "\n".join(found) + "\n"
