"""Samples the CPU time and the memory of a process and its children from outside, the same way for every system."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from types import TracebackType
from typing import Self

import psutil

EVERY = 0.02
FAMILY_EVERY = 25
"""Samples after which it looks for new children: that reads all of /proc."""


class Gauge:
    """Samples while its `with` block runs."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._times: list[float] = []
        self._cpu: list[float] = []
        self.peak_bytes = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def cpu_at(self, moment: float) -> float:
        """CPU-seconds of the process at a moment (seconds since the epoch), between two samples in proportion."""
        place = bisect_left(self._times, moment)
        if place == 0 or place == len(self._times):
            return self._cpu[min(place, len(self._cpu) - 1)]
        before, after = self._times[place - 1], self._times[place]
        share = (moment - before) / (after - before)
        return self._cpu[place - 1] + share * (self._cpu[place] - self._cpu[place - 1])

    def memory(self) -> int:
        """Bytes resident in memory now."""
        return int(self._process.memory_info().rss)

    def _run(self) -> None:
        family: list[psutil.Process] = []
        samples = 0
        while not self._is_over.wait(EVERY):
            try:
                if samples % FAMILY_EVERY == 0:
                    family = [self._process, *self._process.children(recursive=True)]
                self._sample(family)
            except psutil.Error:  # it ended, or a child did
                family = family[:1]
            samples += 1

    def _sample(self, family: list[psutil.Process]) -> None:
        cpu, size = 0.0, 0
        for process in family:
            with process.oneshot():
                times = process.cpu_times()
                cpu += times.user + times.system
                size += process.memory_info().rss
        self._times.append(time.time())
        self._cpu.append(cpu)
        self.peak_bytes = max(self.peak_bytes, size)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
