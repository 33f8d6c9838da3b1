"""`faust -A app.main worker` is a worker as well, under every strategy."""

from __future__ import annotations

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


def start_faust(line: Depot, strategy: str) -> WorkerProcess:
    """Starts Faust's own command as the README says, in the repository's folder."""
    port = free_port()
    told = line.environment(ROUTING_STRATEGY=strategy, WEB_PORT=str(port), WEB_BIND=HOST)
    command = [str(Path(sys.executable).with_name("faust")), "-A", "app.main", "worker", "-l", "info"]
    child = Child.start(command, line.logs / f"faust-{strategy}.log", ROOT, {**os.environ, **told})
    line.workers.append(WorkerProcess(child, port))
    return line.workers[-1]


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # what differs is how it starts
async def test_fausts_own_command_runs_a_worker_by_conductor_and_by_map_maker(depot: Depot) -> None:
    await depot.create_source()
    lines = {name: replace(depot, prefix=f"{depot.prefix}.{name}") for name in ("conductor", "map_maker")}
    workers = {}
    for strategy, line in lines.items():
        line.variables = {"SOURCE": depot.topics.source}
        workers[strategy] = start_faust(line, strategy)
    await depot.push(numbered(range(100)))

    for strategy, line in lines.items():
        await line.settled(100)
        journeys = (await line.journeys()).values()
        check_ways(journeys, range(100))
        assert {journey.strategy for journey in journeys} == {strategy}
    for worker in workers.values():
        assert await depot.stop(worker) == 0
