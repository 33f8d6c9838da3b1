"""`python -m benchmarks.report`: renders the raw results as benchmarks/RESULTS.md and its charts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report.charts import Bar, bar_chart, is_logarithmic
from benchmarks.report.results import Results
from benchmarks.report.targets import ALL, BROKERS, Entries, median, ratio, verdicts
from benchmarks.systems.made_lines import HARDER
from benchmarks.systems.systems import ROOT, SYSTEMS, Strategy, System
from metroline.app.compare.figures import NOT_MEASURED

FOLDER = ROOT / "benchmarks"
TOP = 15
YARDSTICK = next(system for system in SYSTEMS if system.name == "raw_confluent")
"""What CPU times are compared with: a loop as lean as Python allows, whose time tells how fast the machine was then."""

INTRODUCTION = """\
# Results

Rendered from the raw results in `benchmarks/results/` by `python -m benchmarks.report`; `make bench` runs all of it.
[How it is measured](README.md) is described beside this file.
"""


def render(results: Results, folder: Path = FOLDER) -> Path:
    """Writes RESULTS.md and the charts into a folder; gives the file."""
    charts = folder / "charts"
    charts.mkdir(exist_ok=True)
    file = folder / "RESULTS.md"
    file.write_text("\n".join(_document(results, charts)).rstrip() + "\n", "utf-8")
    return file


def _document(results: Results, charts: Path) -> Iterator[str]:
    yield INTRODUCTION
    yield from _machine(results.machine())
    yield from _targets(results)
    for broker, title in BROKERS.items():
        if results.read("throughput", broker) or results.read("latency", broker):
            yield f"## The line metrobus, {title}\n"
            yield from _systems(results, broker)
            yield from _waits_and_kills(results, broker)
            yield from _charts(results, broker, charts)
            yield from _left_out(results, broker)
    yield from _guarantees(results)
    yield from _packed(results)
    yield from _stops(results)
    yield from _harder(results)
    yield from _memory(results)
    yield from _profiles(results)
    yield from _commands(results)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown: the first column to the left, numbers to the right."""
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def spread(entries: Entries, system: str, key: str, decimals: int) -> str:
    """`median (min to max)` over the rounds."""
    found = [round_[key] for round_ in entries.get(system, {}).get("rounds", []) if round_.get(key) is not None]
    if not found:
        return NOT_MEASURED
    middle = median(entries, system, key)
    told = f"{middle:,.{decimals}f}"
    return told if len(found) == 1 else f"{told} ({min(found):,.{decimals}f} to {max(found):,.{decimals}f})"


def _machine(machine: Mapping[str, Any]) -> Iterator[str]:
    if not machine:
        return
    yield (
        f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gigabytes']} GiB, "
        f"{machine['system']}. The broker and the harness, which reads what is delivered, run on the same cores.\n"
    )
    yield (
        f"Versions: Python {machine['python']}, Apache Kafka {machine['kafka']} on {machine['java'] or 'no Java'}, "
        f"{_versions(machine['packages'])}. Peers: {_versions(machine['peers']) or 'not installed'}; raw "
        "confluent-kafka and raw aiokafka run on Metroline's own packages.\n"
    )


def _versions(packages: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in packages.items())


def _targets(results: Results) -> Iterator[str]:
    memory = {name: _last(entry) for name, entry in results.read("memory", "kafka").items()}
    found = list(verdicts(results.read, memory))
    counts = [sum(verdict.is_met is kind for verdict in found) for kind in (True, False, None)]
    yield "## Targets\n"
    yield f"{counts[0]} are met, {counts[1]} are not met, {counts[2]} were not measured.\n"
    words = {True: "met", False: "**not met**", None: "not measured"}
    yield table(
        ["target", "limit", "broker", "figure", ""],
        (
            (each.target, each.limit, BROKERS[each.broker], each.figure or NOT_MEASURED, words[each.is_met])
            for each in found
        ),
    )


def _last(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    rounds = entry.get("rounds") or [{}]
    return dict(rounds[-1])


def _measured(entries: Entries) -> list[System]:
    return [system for system in SYSTEMS if entries.get(system.name, {}).get("rounds")]


def _systems(results: Results, broker: str) -> Iterator[str]:
    costs = results.read("throughput", broker)
    yardstick = median(costs, YARDSTICK.name, "cpu_per_10k")
    rows = []
    for system in sorted(_measured(costs), key=lambda each: median(costs, each.name, "cpu_per_10k") or 0):
        name = system.name
        rows.append(
            (
                system.title,
                f"{median(costs, name, 'records') or 0:,.0f}",
                spread(costs, name, "cpu_per_10k", 2),
                _times(median(costs, name, "cpu_per_10k"), yardstick),
                spread(costs, name, "records_per_second", 0),
                spread(costs, name, "messages_per_record", 3),
                spread(costs, name, "bytes_per_record", 0),
                f"{max((each['peak_megabytes'] for each in costs[name]['rounds']), default=0):.0f}",
            )
        )
    yield table(
        [
            "",
            "records",
            "CPU-s per 10,000",
            f"times {YARDSTICK.title}",
            "records/s",
            "bus messages per record",
            "bus bytes per record",
            "memory, MB",
        ],
        rows,
    )


def _times(value: float | None, yardstick: float | None) -> str:
    """How many times the yardstick's CPU time: that holds on a machine, and in an hour, that is slower or faster."""
    times = ratio(value, yardstick)
    return NOT_MEASURED if times is None else f"{times:.2f}"


def _waits_and_kills(results: Results, broker: str) -> Iterator[str]:
    waits, kills = results.read("latency", broker), results.read("killed", broker)
    figures = (
        (waits, "p50", 1, "latency p50, ms"),
        (waits, "p99", 1, "p99, ms"),
        (kills, "first_record_seconds", 1, "first record after, s"),
        (kills, "records", 0, "killed at half of"),
        (kills, "repeated", 0, "repeated"),
        (kills, "lost", 0, "lost"),
        (kills, "seconds_after_restart", 1, "all delivered after the restart, s"),
    )
    measured = [system for system in SYSTEMS if system in _measured(waits) or system in _measured(kills)]
    if not measured:
        return
    yield table(
        ["", *(head for *_, head in figures)],
        (
            (system.title, *(spread(entries, system.name, key, decimals) for entries, key, decimals, _ in figures))
            for system in measured
        ),
    )
    duplicates = [median(kills, name, "duplicates") for name in ALL]
    if any(found is not None for found in duplicates):
        told = ", ".join(
            f"{name} {found:.0f}" for name, found in zip(ALL, duplicates, strict=True) if found is not None
        )
        yield (
            "`repeated` counts every copy of a record after its first in the delivered topic. Metroline counts each "
            f"record's outcome once all the same; outcomes that came for a settled record: {told}.\n"
        )


def _charts(results: Results, broker: str, folder: Path) -> Iterator[str]:
    for section, key, title, decimals in (
        ("throughput", "cpu_per_10k", "CPU-seconds per 10,000 records", 2),
        ("throughput", "records_per_second", "Records per second", 0),
        ("latency", "p99", "Latency at 100 records/s, p99 in ms", 0),
    ):
        entries = results.read(section, broker)
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
            file.write_text(bar_chart(f"{title}, {BROKERS[broker]}{scale}", bars), "utf-8")
            yield f"![{title}, {BROKERS[broker]}]({folder.name}/{file.name})\n"


def _left_out(results: Results, broker: str) -> Iterator[str]:
    titles = {system.name: system.title for system in SYSTEMS}
    found = [
        f"- {titles.get(name, name)}, {section}: {entry['left_out']}"
        for section in ("throughput", "packed", "latency", "killed", "stops", "harder", "profile")
        for name, entry in results.read(section, broker).items()
        if "left_out" in entry
    ]
    if found:
        yield "Left out:\n"
        yield "\n".join(found) + "\n"


def _guarantees(results: Results) -> Iterator[str]:
    yield "## What each guarantees\n"
    yield "Where a process is killed, as it is used here.\n"
    yield table(["", "guarantee"], ((system.title, system.guarantee) for system in SYSTEMS)).replace("---:|", "---|")


def _packed(results: Results) -> Iterator[str]:
    rows = [
        (
            f"`{name}`",
            *(spread(results.read("packed", broker), name, "cpu_per_10k", 3) for broker in BROKERS),
            *(spread(results.read("packed", broker), name, "records_per_second", 0) for broker in BROKERS),
        )
        for name in ALL
    ]
    yield "## 49 records a source message\n"
    yield table(["", *_for_each("CPU-s per 10,000"), *_for_each("records/s")], rows)


def _for_each(what: str) -> list[str]:
    return [f"{what}, {title}" for title in BROKERS.values()]


def _stops(results: Results) -> Iterator[str]:
    yield "## 3 and 12 stops\n"
    yield "CPU-milliseconds per 10,000 records and stop, on made lines whose stops pass records on.\n"
    rows = []
    for name in ALL:
        row = [f"`{name}`"]
        for broker in BROKERS:
            for stops in (3, 12):
                cpu = median(results.read("stops", broker), f"{name}/{stops}", "cpu_per_10k")
                row.append(NOT_MEASURED if cpu is None else f"{1000 * cpu / stops:.0f}")
        rows.append(row)
    yield table(["", *(f"{stops} stops, {title}" for title in BROKERS.values() for stops in (3, 12))], rows)


def _harder(results: Results) -> Iterator[str]:
    yield "## Harder work\n"
    yield "CPU-seconds per 10,000 records, and records per second.\n"
    rows = []
    for line in (make() for make in HARDER):
        for name in ALL:
            row = [f"{line.title}, `{name}`"]
            for broker in BROKERS:
                entries = results.read("harder", broker)
                row.append(spread(entries, f"{name}/{line.name}", "cpu_per_10k", 2))
                row.append(spread(entries, f"{name}/{line.name}", "records_per_second", 0))
            rows.append(row)
    heads = [f"{what}, {title}" for title in BROKERS.values() for what in ("CPU-s", "records/s")]
    yield table(["", *heads], rows)


def _memory(results: Results) -> Iterator[str]:
    entries = results.read("memory", "kafka")
    yield "## Memory\n"
    if not entries:
        yield "Not measured yet: `make bench-memory`.\n"
    if backlog := _last(entries.get("backlog", {})):
        yield (
            f"With {backlog['records']:,} records of {backlog['bytes_per_record']:.0f} bytes waiting before it was "
            f"started, a worker (`{backlog['strategy']}`) held at most {backlog['peak_megabytes']:.0f} MB until all "
            "had their outcome.\n"
        )
    if long := _last(entries.get("long", {})):
        yield f"One worker (`{long['strategy']}`) over {long['records']:,} records, MB resident by records settled:\n"
        yield table(["records", "MB"], ((f"{int(mark):,}", f"{size:.1f}") for mark, size in long["megabytes"].items()))


def _profiles(results: Results) -> Iterator[str]:
    yield "## Where the time goes\n"
    notes = FOLDER / "PROFILE.md"
    for broker, title in BROKERS.items():
        for name, entry in results.read("profile", broker).items():
            if profile := _last(entry):
                yield from _profile(name, title, profile)
    yield "### What was done about it\n"
    yield notes.read_text("utf-8") if notes.is_file() else "Nothing yet.\n"


def _profile(name: str, broker: str, profile: Mapping[str, Any]) -> Iterator[str]:
    yield f"### `{name}` under load, {broker}\n"
    yield (
        f"{profile['samples']:,} samples of the worker's Python by py-spy while it took {profile['records']:,} records "
        "through the line. `own` is the share of samples in which the function itself ran, what it calls in C "
        "included; `within` also counts what it calls in Python. A function that runs an event loop owns uvloop's "
        "time.\n"
    )
    if profile["threads"]:
        told = ", ".join(f"{thread} {share} %" for thread, share in profile["threads"].items() if share >= 1)
        yield f"CPU time by thread, by the kernel's clocks (`rdk` is librdkafka): {told}.\n"
    files = ", ".join(f"`{file}` {share} %" for file, share in profile["files"].items() if share >= 1)
    yield f"By the innermost file of Metroline's in a stack: {files}.\n"
    rows = [
        (f"`{function}`", f"{share} %", f"{profile['within'][function]} %")
        for function, share in list(profile["own"].items())[:TOP]
    ]
    yield table(["function", "own", "within"], rows)


def _commands(results: Results) -> Iterator[str]:
    yield "## Commands\n"
    found: dict[tuple[str, str], list[str]] = {}
    for section in ("throughput", "packed", "latency", "killed", "stops", "harder", "profile", "memory"):
        for broker in BROKERS:
            for entry in results.read(section, broker).values():
                what = f"{section} ({BROKERS[broker]})"
                where = found.setdefault((entry["command"], entry["commit"]), [])
                if what not in where:
                    where.append(what)
    for (command, commit), sections in found.items():
        yield f"- `{command}` at {commit}: {', '.join(sections)}"
    yield ""


if __name__ == "__main__":
    print(f"written: {render(Results())}")
