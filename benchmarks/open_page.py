"""Measures the processor time that an open page costs the worker that serves it: `make bench-page`.

A line runs at a steady rate. In turns, its first page is open in a browser and is not. The difference is what the page
costs, in points: 1 point is 1 % of a core. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from tempfile import TemporaryFile

import psutil
from playwright.sync_api import sync_playwright

from metroline.app.local.ports import HOST, free_port

MOST_POINTS = 3.0
"""Points that an open page may cost at most."""

SETTLE_SECONDS = 3.0
"""Time before a measurement, for what opening and closing a page costs."""

START_SECONDS = 120.0


def main() -> None:
    """Print what was measured; exit with 1 if an open page costs too much."""
    parser = argparse.ArgumentParser(description=__doc__, prog="make bench-page")
    parser.add_argument("--rate", type=float, default=100.0, help="records per second")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=20.0, help="time of each of the two measurements of a round")
    parser.add_argument("--broker", help="Kafka cluster, as kafka://host:port; by default the embedded broker")
    asked = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("error: Chromium is not installed (Debian: chromium)")
    costs = []
    with running_line(asked.rate, asked.broker) as (url, worker), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        for number in range(1, asked.rounds + 1):
            without = share_of_core(worker, asked.seconds)
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            page.goto(url)
            page.get_by_text("They are kept up to date").first.wait_for()
            opened = share_of_core(worker, asked.seconds)
            page.close()
            costs.append(opened - without)
            print(
                f"round {number}: {without:.1f} % of a core without a page, {opened:.1f} % with one: {costs[-1]:+.1f}",
                flush=True,
            )
        browser.close()
    found = median(costs)
    print(f"at {asked.rate:g} records/s an open page costs {found:+.1f} points (at most {MOST_POINTS:g})")
    sys.exit(found > MOST_POINTS)


def share_of_core(worker: psutil.Process, seconds: float) -> float:
    """Return the processor time of a process over a time, in percent of a core."""
    time.sleep(SETTLE_SECONDS)
    began, used = time.monotonic(), sum(worker.cpu_times()[:2])
    time.sleep(seconds)
    return 100.0 * (sum(worker.cpu_times()[:2]) - used) / (time.monotonic() - began)


@contextmanager
def running_line(rate: float, broker: str | None) -> Iterator[tuple[str, psutil.Process]]:
    """Yield the address of the only worker of a line at this rate, and its process."""
    port = free_port()
    command = [sys.executable, "-m", "metroline", "up", "--rate", str(rate), "--port", str(port)]
    with TemporaryFile() as output:
        line = subprocess.Popen(
            command + (["--broker", broker] if broker else []), stdout=output, stderr=output, env=dict(os.environ)
        )
        try:
            url = f"http://{HOST}:{port}"
            wait_until_ready(line, url)
            [worker] = [one for one in psutil.Process(line.pid).children(recursive=True) if "worker" in one.cmdline()]
            yield url, worker
        finally:
            line.send_signal(signal.SIGINT)
            line.wait()


def wait_until_ready(line: subprocess.Popen[bytes], url: str) -> None:
    """Return when a worker is ready; exit if its line ends, or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while line.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/health/ready", timeout=5.0):
                return
        except OSError:
            time.sleep(0.2)
    sys.exit("error: the line did not start: see `metroline up`")


if __name__ == "__main__":
    main()
