"""Faust's own command runs a worker as well: with `app.main` in a checkout, and anywhere with the installed name."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from metroline.app.local.child_process import Child
from metroline.app.local.ports import HOST, free_port
from metroline.app.local.worker_process import WorkerProcess
from tests.support.depot import Depot, check_ways, numbered
from tests.support.project import ROOT


def start_faust(line: Depot, strategy: str, app: str, folder: Path) -> WorkerProcess:
    """Start Faust's own command with this app in this folder."""
    port = free_port()
    told = line.environment(ROUTING_STRATEGY=strategy, WEB_PORT=str(port), WEB_BIND=HOST)
    command = [str(Path(sys.executable).with_name("faust")), "-A", app, "worker", "-l", "info"]
    child = Child.start(command, line.logs / f"faust-{strategy}.log", folder, {**os.environ, **told})
    line.workers.append(WorkerProcess(child, port))
    return line.workers[-1]


def places(elsewhere: Path) -> dict[str, tuple[str, Path]]:
    """Return the app and the folder for each strategy: `app.main` in a checkout, the installed name elsewhere."""
    return {"conductor": ("app.main", ROOT), "map_maker": ("metroline.app.main", elsewhere)}


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # only the start differs
async def test_fausts_own_command_runs_a_worker_in_a_checkout_and_anywhere_else(depot: Depot, tmp_path: Path) -> None:
    await depot.create_source()
    lines = {name: replace(depot, prefix=f"{depot.prefix}.{name}") for name in ("conductor", "map_maker")}
    elsewhere, workers = tmp_path / "elsewhere", {}
    elsewhere.mkdir()
    for strategy, line in lines.items():
        line.variables = {"SOURCE": depot.topics.source, "TMPDIR": str(elsewhere)}
        workers[strategy] = start_faust(line, strategy, *places(elsewhere)[strategy])
    await depot.push(numbered(range(100)))

    for strategy, line in lines.items():
        await asyncio.to_thread(workers[strategy].wait_until_ready)
        await line.settled(100)
        journeys = (await line.journeys()).values()
        check_ways(journeys, range(100))
        assert {journey.strategy for journey in journeys} == {strategy}
    for worker in workers.values():
        assert await depot.stop(worker) == 0
    assert not list(elsewhere.iterdir()), "a worker keeps no files"
