"""Where the time of a worker under load goes: py-spy's samples of its Python, the kernel's clocks of its threads."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.systems import trials
from benchmarks.systems.brokers import Place
from benchmarks.systems.expected import Work
from benchmarks.systems.systems import PEERS_PYTHON, System
from metroline.routing.errors import MetrolineError

SPY = PEERS_PYTHON.parent / "py-spy"
SAMPLES_PER_SECOND = 200
MOST = 25
"""Functions that are kept."""
OURS = re.compile(r".*/(?=(agents|app|routing)/)")
ABOVE = re.compile(r".*/(site-packages|python3\.\d+|lib-dynload)/")
IN_OURS = re.compile(r"\(((agents|app|routing)/[^()]+)\)$")
NOT_OURS = "none of ours"
FRAME = re.compile(r"(?P<function>.+) \((?P<file>[^()]+?)(:\d+)?\)$")


class NoProfile(MetrolineError):
    """Raised when a worker cannot be sampled."""


def profiled(system: System, place: Place, work: Work) -> trials.Figures:
    """The figures of a run under load in which the worker was sampled, from the thaw to its end."""
    if not SPY.is_file():
        raise NoProfile("py-spy is not installed (`make bench` installs it into .venv-bench)")
    output = place.folder / "profile.txt"
    spies: list[subprocess.Popen[bytes]] = []
    before: dict[int, tuple[str, float]] = {}
    after: dict[int, tuple[str, float]] = {}

    def sample(pid: int) -> None:
        before.update(thread_times(pid))
        command = [str(SPY), "record", "--pid", str(pid), "--format", "raw", "--output", str(output)]
        command += ["--rate", str(SAMPLES_PER_SECOND), "--duration", "3600", "--nonblocking"]
        spies.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))

    def look(pid: int) -> None:
        after.update(thread_times(pid))

    figures = trials.throughput(system, place, work, beside=sample, at_the_end=look)
    (spy,) = spies
    try:
        _, told = spy.communicate(timeout=30)  # it ends with the worker
    except subprocess.TimeoutExpired:
        spy.terminate()
        _, told = spy.communicate()
    if not output.is_file():
        raise NoProfile(f"py-spy cannot look at the worker: {told.decode(errors='replace').strip()[-300:]}")
    stacks = read_stacks(output.read_text("utf-8").splitlines())
    return figures | shares(stacks) | {"threads": _thread_shares(before, after)}


def thread_times(pid: int) -> dict[int, tuple[str, float]]:
    """The name and the CPU-seconds of each thread of a process; empty where there is no /proc."""
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
    """Stacks, the outermost frame first, and how many samples had each, from py-spy's raw format."""
    found = []
    for line in lines:
        stack, _, count = line.rpartition(" ")
        if count.isdigit():
            found.append(([_frame(frame) for frame in stack.split(";")], int(count)))
    return found


def _frame(frame: str) -> str:
    """`function (folder/file.py)`: without the line and what lies above the package."""
    parts = FRAME.match(frame)
    if parts is None:
        return frame or "no Python"
    file = ABOVE.sub("", parts["file"])
    return f"{parts['function']} ({OURS.sub('', file)})"


def shares(stacks: list[tuple[list[str], int]]) -> dict[str, Any]:
    """Percent of the samples by innermost function (`own`), with what these call (`within`), and by file of ours.

    The innermost file of agents/, app/ or routing/ in a stack stands for it in `files`.
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
    top = [frame for frame, _ in own.most_common(MOST)]
    return {
        "samples": total,
        "own": {frame: round(100 * own[frame] / total, 1) for frame in top},
        "within": {frame: round(100 * within[frame] / total, 1) for frame in top},
        "files": {file: round(100 * count / total, 1) for file, count in files.most_common(MOST)},
    }
