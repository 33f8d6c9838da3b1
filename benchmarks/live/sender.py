"""Sends the records of a live run from a process of its own, so that no system can slow it down.

`python -m benchmarks.live.sender BOOTSTRAP TOPIC PARTITIONS POOL` reads commands from its standard input, one JSON
object per line, `{"first": 0, "count": 500, "rate": 100}`. It answers each with two lines: when it begins, in epoch
seconds, and how late it handed records to its producer, in milliseconds (99 of 100 records).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.live.stream import stamped
from benchmarks.systems.system import ROOT
from benchmarks.systems.trial import TrialFailed
from metroline.app.compare.paced_source import PacedSource

HEAD_START_SECONDS = 0.05


@dataclass(slots=True)
class Sender:
    """The sender's process, as the harness sees it."""

    process: subprocess.Popen[str]

    def begin(self, numbers: range, rate: float) -> float:
        """Start to send the records with these numbers; return when the first is due, in epoch seconds."""
        assert self.process.stdin is not None
        command = {"first": numbers.start, "count": len(numbers), "rate": rate}
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def finish(self) -> float:
        """Wait until all are confirmed; return how late they were handed over, in milliseconds (99 of 100)."""
        return self._answer()

    def _answer(self) -> float:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise TrialFailed("the sender ended: the broker does not take the source messages")
        return float(line)


@contextmanager
def running_sender(bootstrap: str, topic: str, partitions: int, pool: Path) -> Iterator[Sender]:
    """Run the sender while the block runs. It also ends when this process does, since its input ends then."""
    command = [sys.executable, "-m", "benchmarks.live.sender", bootstrap, topic, str(partitions), str(pool)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            yield Sender(process)
        finally:
            process.terminate()


def main(bootstrap: str, topic: str, partitions: str, pool: str) -> None:
    lines = Path(pool).read_bytes().split(b"\n")
    source = PacedSource({"bootstrap.servers": bootstrap}, topic, int(partitions))
    for line in sys.stdin:
        command = json.loads(line)
        numbers = range(command["first"], command["first"] + command["count"])
        started_at = time.time() + HEAD_START_SECONDS
        print(started_at, flush=True)
        source.send(stamped(lines, numbers, command["rate"], started_at), command["rate"], started_at)
        late = sorted(source.lateness)[int(0.99 * (len(numbers) - 1))]
        print(round(1000 * late, 2), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
