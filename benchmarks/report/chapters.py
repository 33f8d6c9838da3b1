"""The chapters of the report after the comparison: guarantees, packs, stops, harder work, memory, commands."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.report.markdown import spread, table
from benchmarks.report.results import Results, last_round, median
from benchmarks.report.side_by_side import SECTIONS
from benchmarks.report.targets import ALL, BROKERS
from benchmarks.systems.made_lines import HARDER
from benchmarks.systems.systems import SYSTEMS
from metroline.app.compare.figures import NOT_MEASURED


def guarantees() -> Iterator[str]:
    yield "## What each guarantees\n"
    yield "Guarantees when a process is killed, with the settings used here.\n"
    yield table(["", "guarantee"], ((system.title, system.guarantee) for system in SYSTEMS)).replace("---:|", "---|")


def packed(results: Results) -> Iterator[str]:
    rows = [
        (
            f"`{name}`",
            *(spread(results.read("packed", broker), name, "cpu_per_10k", 3) for broker in BROKERS),
            *(spread(results.read("packed", broker), name, "records_per_second", 0) for broker in BROKERS),
        )
        for name in ALL
    ]
    yield "## 49 records per source message\n"
    yield table(["", *_by_broker("CPU-s per 10,000"), *_by_broker("records/s")], rows)


def _by_broker(figure: str) -> list[str]:
    return [f"{figure}, {title}" for title in BROKERS.values()]


def stops(results: Results) -> Iterator[str]:
    yield "## 3 and 12 stops\n"
    yield "CPU-milliseconds per 10,000 records and stop, on generated lines whose stops only pass records on.\n"
    rows = []
    for name in ALL:
        row = [f"`{name}`"]
        for broker in BROKERS:
            for count in (3, 12):
                cpu = median(results.read("stops", broker), f"{name}/{count}", "cpu_per_10k")
                row.append(NOT_MEASURED if cpu is None else f"{1000 * cpu / count:.0f}")
        rows.append(row)
    yield table(["", *(f"{count} stops, {title}" for title in BROKERS.values() for count in (3, 12))], rows)


def harder(results: Results) -> Iterator[str]:
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
    heads = [f"{figure}, {title}" for title in BROKERS.values() for figure in ("CPU-s", "records/s")]
    yield table(["", *heads], rows)


def memory(results: Results) -> Iterator[str]:
    entries = results.read("memory", "kafka")
    yield "## Memory\n"
    if not entries:
        yield "Not measured yet: `make bench-memory`.\n"
    if backlog := last_round(entries.get("backlog", {})):
        yield (
            f"A worker (`{backlog['strategy']}`) that found {backlog['records']:,} records of "
            f"{backlog['bytes_per_record']:.0f} bytes waiting held at most {backlog['peak_megabytes']:.0f} MB until "
            "all of them were settled.\n"
        )
    if waiting := last_round(entries.get("waiting", {})):
        yield (
            f"{waiting['records']:,} records that wait for {waiting['wait']:,.0f} s came to their waiting room in "
            f"{waiting['messages_before']:,} messages. In {waiting['watched']:,.0f} s of their wait "
            f"{waiting['messages_while_waiting']:,} messages were written; the worker was killed half-way, and another "
            "one took its place. Resident memory of the worker:\n"
        )
        yield table(
            ["after seconds", "MB"], [(f"{float(at):,.0f}", f"{size:.1f}") for at, size in waiting["megabytes"].items()]
        )
    if long := last_round(entries.get("long", {})):
        yield f"Resident memory of one worker (`{long['strategy']}`) over {long['records']:,} records:\n"
        rows = ((f"{int(mark):,}", f"{size:.1f}") for mark, size in long["megabytes"].items())
        yield table(["records settled", "MB"], rows)


def commands(results: Results) -> Iterator[str]:
    """Yield each command that was run, its commit, and the sections whose figures it measured."""
    yield "## Commands\n"
    found: dict[tuple[str, str], list[str]] = {}
    for section in (*SECTIONS, "live", "memory"):
        for broker, title in BROKERS.items():
            for entry in results.read(section, broker).values():
                measured = found.setdefault((entry["command"], entry["commit"]), [])
                if f"{section} ({title})" not in measured:
                    measured.append(f"{section} ({title})")
    for (command, commit), sections in found.items():
        yield f"- `{command}` at {commit}: {', '.join(sections)}"
    yield ""
