"""Profiles a worker under load: py-spy samples its Python, and the kernel counts the CPU time of its threads."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.systems import trials
from benchmarks.systems.brokers import Testbed
from benchmarks.systems.expected import Workload
from benchmarks.systems.system import PEERS_PYTHON, System
from metroline.routing.errors import MetrolineError

PY_SPY = PEERS_PYTHON.parent / "py-spy"
SAMPLES_PER_SECOND = 200
MAX_FUNCTIONS = 25
OURS = re.compile(r".*/(?=(agents|app|routing)/)")
ABOVE = re.compile(r".*/(site-packages|python3\.\d+|lib-dynload)/")
IN_OURS = re.compile(r"\(((agents|app|routing)/[^()]+)\)$")
NOT_OURS = "none of ours"
FRAME = re.compile(r"(?P<function>.+) \((?P<file>[^()]+?)(:\d+)?\)$")


class ProfilingFailed(MetrolineError):
    """Raised when a worker cannot be sampled."""


def profile(system: System, testbed: Testbed, workload: Workload) -> trials.Figures:
    """Return the figures of a run under load with a profile of the worker, from the thaw to its end."""
    if not PY_SPY.is_file():
        raise ProfilingFailed("py-spy is not installed (`make bench` installs it into .venv-bench)")
    output = testbed.folder / "profile.txt"
    spies: list[subprocess.Popen[bytes]] = []
    before: dict[int, tuple[str, float]] = {}
    after: dict[int, tuple[str, float]] = {}

    def sample(pid: int) -> None:
        before.update(thread_times(pid))
        command = [str(PY_SPY), "record", "--pid", str(pid), "--format", "raw", "--output", str(output)]
        command += ["--rate", str(SAMPLES_PER_SECOND), "--duration", "3600", "--nonblocking"]
        spies.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))

    def read_threads(pid: int) -> None:
        after.update(thread_times(pid))

    figures = trials.throughput(system, testbed, workload, at_start=sample, at_end=read_threads)
    (spy,) = spies
    try:
        _, errors = spy.communicate(timeout=30)  # py-spy ends with the worker
    except subprocess.TimeoutExpired:
        spy.terminate()
        _, errors = spy.communicate()
    if not output.is_file():
        raise ProfilingFailed(f"py-spy cannot sample the worker: {errors.decode(errors='replace').strip()[-300:]}")
    stacks = read_stacks(output.read_text("utf-8").splitlines())
    return figures | shares(stacks) | {"threads": _thread_shares(before, after)}


def thread_times(pid: int) -> dict[int, tuple[str, float]]:
    """Return the name and the CPU-seconds of each thread of a process by its id; none where there is no /proc."""
    found = {}
    tasks = Path(f"/proc/{pid}/task")
    for task in tasks.iterdir() if tasks.is_dir() else ():
        name, _, rest = (task / "stat").read_text("utf-8").partition("(")[2].rpartition(")")
        user, system = rest.split()[11:13]
        found[int(task.name)] = (name, (int(user) + int(system)) / 100)
    return found


def _thread_shares(before: dict[int, tuple[str, float]], after: dict[int, tuple[str, float]]) -> dict[str, float]:
    used: Counter[str] = Counter()
    for thread, (name, seconds) in after.items():
        used[name] += seconds - before.get(thread, (name, 0.0))[1]  # type: ignore[assignment]
    total = sum(used.values()) or 1.0
    return {name: round(100 * seconds / total, 1) for name, seconds in used.most_common() if seconds}


def read_stacks(lines: Iterable[str]) -> list[tuple[list[str], int]]:
    """Return the stacks of py-spy's raw format, outermost frame first, each with its number of samples."""
    found = []
    for line in lines:
        stack, _, count = line.rpartition(" ")
        if count.isdigit():
            found.append(([_frame(frame) for frame in stack.split(";")], int(count)))
    return found


def _frame(frame: str) -> str:
    """Return `function (folder/file.py)`, without the line number and the path above the package."""
    parts = FRAME.match(frame)
    if parts is None:
        return frame or "no Python"
    file = ABOVE.sub("", parts["file"])
    return f"{parts['function']} ({OURS.sub('', file)})"


def shares(stacks: list[tuple[list[str], int]]) -> dict[str, Any]:
    """Return the percentage of samples by function and by file of Metroline.

    `own` counts the innermost function of a stack, `within` every function in it, and `files` the innermost file of
    agents/, app/ or routing/.
    """
    total = sum(count for _, count in stacks) or 1
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    files: Counter[str] = Counter()
    for stack, count in stacks:
        own[stack[-1]] += count
        within.update(dict.fromkeys(stack, count))
        ours = [file[1] for frame in stack if (file := IN_OURS.search(frame))]
        files[ours[-1] if ours else NOT_OURS] += count
    top = [frame for frame, _ in own.most_common(MAX_FUNCTIONS)]
    return {
        "samples": total,
        "own": {frame: round(100 * own[frame] / total, 1) for frame in top},
        "within": {frame: round(100 * within[frame] / total, 1) for frame in top},
        "files": {file: round(100 * count / total, 1) for file, count in files.most_common(MAX_FUNCTIONS)},
    }
