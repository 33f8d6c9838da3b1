"""`metroline cost` of a line that runs: by the latest records of its source topic, and their rate."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.cli import metroline
from tests.support.depot import Depot, numbered


async def test_the_cost_of_a_line_that_runs_is_that_of_its_latest_records(depot: Depot) -> None:
    await depot.push(numbered(range(100)))
    began = time.time()
    done = metroline("cost", "--json", "-", cwd=depot.folder, **depot.environment())
    assert done.returncode == 0, done.stderr

    told = json.loads(done.stdout)

    assert 100 / (time.time() - began + 60) < told["records_per_second"] <= 100
    assert told["record_bytes"] == pytest.approx(len(b'{"n":10}'), abs=0.2)
    assert told["sqs"][2]["records_per_message"] > 1
