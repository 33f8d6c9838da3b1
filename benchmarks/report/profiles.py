"""The chapter on profiles: where a worker's time goes, and what was done about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.report.markdown import table
from benchmarks.report.results import Results, last_round
from benchmarks.report.targets import BROKERS

MAX_FUNCTIONS = 15
MIN_PERCENT = 1


def profiles(results: Results, notes: Path) -> Iterator[str]:
    """Yield a section for each profile, then the notes of a file."""
    yield "## Where the time goes\n"
    for broker, title in BROKERS.items():
        for name, entry in results.read("profile", broker).items():
            if profile := last_round(entry):
                yield f"### `{name}` under load, {title}\n"
                yield from _profile(profile)
    yield "### What was done about it\n"
    yield notes.read_text("utf-8") if notes.is_file() else "Nothing yet.\n"


def _profile(profile: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"py-spy took {profile['samples']:,} samples of the worker's Python while {profile['records']:,} records went "
        "through the line. `own` is the share of samples in which the function itself ran, including the C code it "
        "called; `within` also includes the Python functions it called. A function that runs an event loop owns "
        "uvloop's time.\n"
    )
    if profile["threads"]:
        threads = _shares(profile["threads"], "{}")
        yield f"CPU time by thread, according to the kernel (`rdk` is librdkafka): {threads}.\n"
    yield f"Samples by the innermost file of Metroline in the stack: {_shares(profile['files'], '`{}`')}.\n"
    rows = [
        (f"`{function}`", f"{share} %", f"{profile['within'][function]} %")
        for function, share in list(profile["own"].items())[:MAX_FUNCTIONS]
    ]
    yield table(["function", "own", "within"], rows)


def _shares(shares: Mapping[str, float], name: str) -> str:
    return ", ".join(f"{name.format(key)} {share} %" for key, share in shares.items() if share >= MIN_PERCENT)
