"""A worker that has ended leaves nothing in the temporary folder, nor in its working directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from metroline.app.local.worker_process import WorkerProcess
from tests.support.depot import Depot, numbered


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # nothing in it depends on the broker
async def test_a_worker_leaves_no_files_behind(depot: Depot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary, working = tmp_path / "temporary", tmp_path / "working"
    for folder in (temporary, working):
        folder.mkdir()
    monkeypatch.chdir(working)
    await depot.create_source()
    worker = WorkerProcess.start(depot.environment(TMPDIR=str(temporary)), depot.logs / "worker-0.log")
    depot.workers.append(worker)
    await depot.push(numbered(range(20)))
    await depot.settled(20)

    assert await depot.stop(worker) == 0
    assert not [*temporary.rglob("*"), *working.rglob("*")]
