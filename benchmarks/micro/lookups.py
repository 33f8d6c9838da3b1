"""Compares lookups with a plain dict and with a Redis over loopback: time per hit, memory, and cost of a build.

    make bench-lookups                             10 million keys, about four minutes, 4 GB of memory, 3 GB of disk
    make bench-lookups ARGS="--keys 1000000 --json lookups.json"

The measurements run one after the other and leave nothing behind. The command `redis-server` must be installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import psutil
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.micro.lookup_readers import running_reader
from benchmarks.micro.redis import RedisPeer
from metroline.agents.lookups.paths import VARIABLE, file_of
from metroline.app.cli.options import json_option, write_json

NAME = "accounts"
FIRST = 40_000_000
"""The smallest key."""

Figures = dict[str, Any]


@click.command()
@click.option("--keys", type=click.IntRange(1_000), default=10_000_000, show_default=True, help="Number of keys.")
@click.option(
    "--hits", type=click.IntRange(1_000), default=1_000_000, show_default=True, help="Number of lookups that are timed."
)
@json_option("the figures")
def main(keys: int, hits: int, json_file: Path | None) -> None:
    """Compare lookups with a plain dict and with a Redis over loopback."""
    console = Console(stderr=json_file is not None and str(json_file) == "-", width=110)
    with tempfile.TemporaryDirectory(prefix="metroline-bench-") as folder:
        os.environ[VARIABLE] = folder
        rows = Path(folder) / "accounts.csv"
        write_rows(rows, keys)
        figures: Figures = {"keys": keys, "hits": hits, "build": build(rows), "lookup": {}, "dict": {}, "redis": {}}
        console.print(f"built {keys:,} entries in {figures['build']['seconds']} s")
        figures["lookup"] = measure_lookup(Path(folder), keys, hits)
        console.print("measured: lookup")
        with running_reader("dict", str(rows), FIRST, keys, hits) as one:
            figures["dict"] = one.figures | {"rss_mb": one.rss_mb()}
        console.print("measured: dict")
        with RedisPeer.started(Path(folder)) as redis:
            figures["redis"] = redis.measured(rows, FIRST, keys, hits)
    figures["times_redis"] = round(figures["redis"]["get_ns"] / figures["lookup"]["hit_ns"], 1)
    if json_file is not None:
        write_json(figures, json_file)
    show(figures, console)


def write_rows(file: Path, keys: int) -> None:
    """Write a CSV with its keys in scattered order: 7,919 has no divisor in common with a round number."""
    with file.open("w", encoding="ascii") as written:
        written.write("account_number,email\n")
        written.writelines(f"{FIRST + place},customer{FIRST + place}@bank.example\n" for place in _scattered(keys))


def _scattered(keys: int) -> Iterator[int]:
    return (number * 7_919 % keys for number in range(keys))


def build(rows: Path) -> Figures:
    """Build the lookup with the command, in a process of its own. Return its time, peak memory and file size."""
    command = [sys.executable, "-m", "metroline", "lookup", "build", NAME, str(rows), "--key", "account_number"]
    started, peak = time.perf_counter(), 0
    process = psutil.Popen([*command, "--value", "email"], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        with process.oneshot():
            peak = max(peak, _rss(process))
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"the build failed with exit code {process.returncode}")
    size = file_of(NAME, rows.parent).stat().st_size
    return {"seconds": round(time.perf_counter() - started, 1), "peak_rss_mb": _mb(peak), "file_mb": _mb(size)}


def _rss(process: psutil.Popen) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def measure_lookup(folder: Path, keys: int, hits: int) -> Figures:
    """Time one reader, then start a second one that also touches all pages, and measure the memory of both."""
    with running_reader("lookup", NAME, FIRST, keys, hits) as one:
        alone = one.pss_mb(file_of(NAME, folder))
        with running_reader("lookup", NAME, FIRST, keys, hits) as two:
            both = [reader.pss_mb(file_of(NAME, folder)) for reader in (one, two)]
        return one.figures | {"pss_mb_of_one": alone, "pss_mb_of_two": both}


def show(figures: Figures, console: Console) -> None:
    """Print the figures as a table."""
    lookup, plain, redis, built = (figures[name] for name in ("lookup", "dict", "redis", "build"))
    table = Table(title=f"{figures['keys']:,} keys, {figures['hits']:,} random hits", box=SIMPLE_HEAD)
    for head in ("", "ns per hit", "hits per second", "memory, MB"):
        table.add_column(head, justify="left" if not head else "right")
    two = "two processes: " + " + ".join(f"{each['file']:,.0f}" for each in lookup["pss_mb_of_two"])
    rows = [
        ("lookup, key an int", lookup["hit_ns"], f"{lookup['pss_mb_of_one']['file']:,.0f} of the file (PSS)"),
        ("lookup, key a text", lookup["text_hit_ns"], two),
        ("lookup, key in lookup", lookup["in_ns"], ""),
        ("lookup, missing key", lookup["miss_ns"], ""),
        ("dict", plain["hit_ns"], f"{plain['rss_mb']:,.0f} per process"),
        ("Redis, GET", redis["get_ns"], f"{redis['rss_mb']:,.0f} of the server"),
        ("Redis, 100 GET in a pipeline", redis["pipelined_ns"], ""),
        ("Redis, MGET of 100", redis["mget_ns"], ""),
    ]
    for name, nanoseconds, memory in rows:
        table.add_row(name, f"{nanoseconds:,.0f}", f"{1e9 / nanoseconds:,.0f}", memory)
    console.print(table)
    console.print(f"{figures['times_redis']} times as many hits per second as Redis with GET")
    console.print(
        f"built in {built['seconds']} s, with at most {built['peak_rss_mb']} MB of memory; "
        f"the file has {built['file_mb']} MB"
    )


def _mb(size: float) -> float:
    return round(size / 1e6, 1)


if __name__ == "__main__":
    main()
