"""Writes benchmarks/RESULTS.md: the introduction, the targets, then a chapter for each part of the benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.report import chapters, profiles
from benchmarks.report.live import live
from benchmarks.report.markdown import table
from benchmarks.report.results import Results, last_round
from benchmarks.report.side_by_side import side_by_side
from benchmarks.report.targets import BROKERS, verdicts
from benchmarks.systems.system import ROOT
from metroline.app.compare.figures import NOT_MEASURED

FOLDER = ROOT / "benchmarks"

INTRODUCTION = """\
# Results

`make bench` measures the raw results in `benchmarks/results/`, and `python -m benchmarks.report` renders this page.
[README.md](README.md) describes how each figure is measured.
"""


def render(results: Results, folder: Path = FOLDER) -> Path:
    """Write RESULTS.md and the charts into a folder, and return the path of RESULTS.md."""
    charts = folder / "charts"
    charts.mkdir(exist_ok=True)
    file = folder / "RESULTS.md"
    file.write_text("\n".join(_document(results, charts)).rstrip() + "\n", "utf-8")
    return file


def _document(results: Results, charts: Path) -> Iterator[str]:
    yield INTRODUCTION
    yield from _machine(results.machine())
    yield from _targets(results)
    for broker in ("kafka", "embedded"):
        yield from live(results, broker, BROKERS[broker], charts)
    for broker, title in BROKERS.items():
        if results.read("throughput", broker) or results.read("latency", broker):
            yield f"## The line metrobus, {title}\n"
            yield from side_by_side(results, broker, charts)
    yield from chapters.guarantees()
    yield from chapters.packed(results)
    yield from chapters.stops(results)
    yield from chapters.harder(results)
    yield from chapters.memory(results)
    yield from profiles.profiles(results, FOLDER / "PROFILE.md")
    yield from chapters.commands(results)


def _machine(machine: Mapping[str, Any]) -> Iterator[str]:
    if not machine:
        return
    yield (
        f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gigabytes']} GiB, "
        f"{machine['system']}. The broker and the measuring program run on the same cores.\n"
    )
    yield (
        f"Versions: Python {machine['python']}, Apache Kafka {machine['kafka']} on {machine['java'] or 'no Java'}, "
        f"{_versions(machine['packages'])}. Peers: {_versions(machine['peers']) or 'not installed'}; raw "
        "confluent-kafka and raw aiokafka run on Metroline's own packages.\n"
    )


def _versions(packages: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in packages.items())


def _targets(results: Results) -> Iterator[str]:
    memory = {name: last_round(entry) for name, entry in results.read("memory", "kafka").items()}
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
