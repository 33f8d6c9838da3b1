"""Raw results: one file for each section and broker, with an entry for each system that a new run replaces."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.systems.system import ROOT

FOLDER = ROOT / "benchmarks" / "results"
Entry = dict[str, Any]
"""When and how a system was run, and the figures of its `rounds` or why it was `left_out`."""
Entries = Mapping[str, Mapping[str, Any]]
"""The results of a section on a broker, by system."""
ReadSection = Callable[[str, str], Entries]
"""Returns the results of a section on a broker, given the names of both."""


class Results:
    """The raw results in a folder."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, section: str, broker: str) -> dict[str, Entry]:
        """Return the entries of a section by system; none where it was not run."""
        return self._read(f"{section}-{broker}")

    def write(self, section: str, broker: str, system: str, entry: Entry) -> None:
        """Replace the entry of a system."""
        self._write(f"{section}-{broker}", self.read(section, broker) | {system: entry})

    def machine(self) -> dict[str, Any]:
        """Return the machine and the versions of the last run."""
        return self._read("machine")

    def write_machine(self, machine: Mapping[str, Any]) -> None:
        self._write("machine", machine)

    def _read(self, name: str) -> dict[str, Any]:
        file = self._file(name)
        return dict(json.loads(file.read_text("utf-8"))) if file.is_file() else {}

    def _write(self, name: str, data: Any) -> None:
        self._file(name).write_text(json.dumps(data, indent=1) + "\n", "utf-8")

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def new_entry(command: str) -> Entry:
    """Return an entry without rounds: the time, the commit and the command."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return {"at": now, "commit": commit(), "command": command, "rounds": []}


def last_round(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the figures of the last round, or none."""
    rounds = entry.get("rounds") or [{}]
    return dict(rounds[-1])


def values(entries: Entries, system: str, key: str) -> list[float]:
    """Return a figure of each round in which it was measured."""
    rounds = entries.get(system, {}).get("rounds", [])
    return [figures[key] for figures in rounds if figures.get(key) is not None]


def median(entries: Entries, system: str, key: str) -> float | None:
    """Return the median of a figure over the rounds of a system, or None where it was not measured."""
    found = values(entries, system, key)
    return statistics.median(found) if found else None


def commit() -> str:
    """Return the commit that is run, and whether the code differs from it. Files that a run writes do not count."""
    head = _git("rev-parse", "--short", "HEAD")
    written = (":!benchmarks/results", ":!benchmarks/charts", ":!benchmarks/RESULTS.md")
    is_changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *written)
    return f"{head} with changes" if is_changed else head or "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
