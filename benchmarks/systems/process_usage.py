"""Samples the CPU time and the memory of a process and its children from outside, the same way for every system."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from types import TracebackType
from typing import Self

import psutil

SAMPLE_SECONDS = 0.02
SAMPLES_PER_SCAN = 25
"""Number of samples between two scans for new children, which read all of /proc."""


class UsageSampler:
    """Samples a process in a thread while its `with` block runs."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._times: list[float] = []
        self._cpu: list[float] = []
        self.peak_bytes = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def cpu_at(self, moment: float) -> float:
        """Return the CPU-seconds used up to a moment, in epoch seconds, interpolated between two samples."""
        index = bisect_left(self._times, moment)
        if index == 0 or index == len(self._times):
            return self._cpu[min(index, len(self._cpu) - 1)]
        before, after = self._times[index - 1], self._times[index]
        share = (moment - before) / (after - before)
        return self._cpu[index - 1] + share * (self._cpu[index] - self._cpu[index - 1])

    def memory(self) -> int:
        """Return the resident memory now, in bytes."""
        return int(self._process.memory_info().rss)

    def _run(self) -> None:
        processes: list[psutil.Process] = []
        samples = 0
        while not self._is_over.wait(SAMPLE_SECONDS):
            try:
                if samples % SAMPLES_PER_SCAN == 0:
                    processes = [self._process, *self._process.children(recursive=True)]
                self._sample(processes)
            except psutil.Error:  # the process or one of its children has ended
                processes = processes[:1]
            samples += 1

    def _sample(self, processes: list[psutil.Process]) -> None:
        cpu, size = 0.0, 0
        for process in processes:
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
