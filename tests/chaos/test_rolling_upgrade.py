"""Workers are replaced by those of this version, one after the other, while records flow: nothing is lost."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from metroline.app.local.worker_process import WorkerProcess
from metroline.routing.strategies import STRATEGIES
from tests.chaos.plan import CREWS
from tests.chaos.pushing import Pusher
from tests.chaos.run import RATE, VARIABLES, check_sums, settle
from tests.support.brokers import Broker
from tests.support.depot import Depot
from tests.support.project import ROOT

BASE = os.environ.get("BASE", "")
"""Parameter of `make kafka-test`: the commit whose workers are replaced. Without it, the last one is, in one case."""

CASES = [(crew, strategy) for crew in CREWS for strategy in STRATEGIES] if BASE else [("whole", "signpost")]

REST_SECONDS = 1.0
"""Time between the replacement of two workers, while records flow."""


@pytest.fixture
def earlier(tmp_path: Path) -> dict[str, str]:
    """Return environment variables with which Python runs the code of the earlier commit."""
    commit = BASE or "HEAD~1"
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False)
    if packed.returncode != 0:
        pytest.skip(f"this folder is no checkout with the commit {commit}: {packed.stderr.decode().strip()}")
    folder = tmp_path / "earlier"
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    variables = {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}
    asked = [sys.executable, "-c", "import metroline; print(metroline.__file__)"]
    found = subprocess.run(asked, env=os.environ | variables, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(folder), "the earlier code is not the one that would run"
    return variables


@pytest.mark.parametrize(("crew", "strategy"), CASES)
@pytest.mark.timeout(600)
async def test_workers_are_upgraded_one_by_one_while_records_flow(
    kafka_broker: Broker, prefix: str, tmp_path: Path, earlier: dict[str, str], crew: str, strategy: str
) -> None:
    depot = Depot(kafka_broker, prefix, tmp_path / "depot", tmp_path, variables=VARIABLES)
    await depot.create_source()
    try:
        old: list[WorkerProcess] = []
        for role in CREWS[crew]:
            told = depot.environment(ROUTING_STRATEGY=strategy, ROLE=role, **earlier)
            old.append(WorkerProcess.start(told, tmp_path / f"earlier-{len(old)}.log"))
        depot.workers += old
        await depot.ready()
        pusher = Pusher(depot, RATE)
        pushing = asyncio.create_task(pusher.run())
        for worker, role in zip(old, CREWS[crew], strict=True):
            await asyncio.sleep(REST_SECONDS)
            await depot.ready(depot.start(strategy, role))
            assert await depot.stop(worker) == 0, worker.child.last_words()
        await asyncio.sleep(REST_SECONDS)
        unconfirmed = await settle(depot, pusher, pushing)
        for worker in list(depot.workers):
            assert await depot.stop(worker) == 0, worker.child.last_words()
    finally:
        depot.end()
    await check_sums(depot, f"{crew}, {strategy}", unconfirmed)
