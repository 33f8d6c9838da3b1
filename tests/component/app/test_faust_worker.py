"""A worker that cannot run prints the reason as its last line, without shutdown messages before it."""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from faust.worker import format_log_arguments
from mode.utils.logging import ExtensionFormatter

from metroline.app.logs import dress
from tests.support.project import ROOT

REFUSED = """
import asyncio, logging, sys
import faust
import metroline.app.faust_worker as module
from metroline.app.faust_worker import FaustWorker
from metroline.routing.errors import MetrolineError

class Refused(faust.App):
    async def start(self):
        logging.getLogger("mine").info("before")
        try:
            raise MetrolineError("two role assignments")
        except MetrolineError as error:
            if sys.argv[2] == "at the start":
                raise
            await self.crash(error)

    async def on_stop(self):
        logging.getLogger("mine").info("shutdown")
        logging.getLogger("mine").warning("something was lost")
        logging.getLogger("asyncio").error("Unclosed AIOKafkaConsumer\\nconsumer: <one>")
        if sys.argv[2] == "and hangs":
            await asyncio.Event().wait()

if sys.argv[2] == "and hangs":
    module.STOP_SECONDS = 1.0
app = Refused("test", store="memory://", web_enabled=False, datadir=sys.argv[1])
worker = FaustWorker(app, loglevel="INFO", quiet=True, redirect_stdouts=False)
try:
    worker.execute_from_commandline()
except SystemExit:
    print(worker.refusal)
"""


@pytest.mark.parametrize("when", ["at the start", "later"])
def test_a_refusal_silences_what_faust_says_of_its_shutdown_and_keeps_warnings(tmp_path: Path, when: str) -> None:
    ended = run_refused(tmp_path, when)
    assert ended.returncode == 0
    assert ended.stdout == "two role assignments\n"
    said = [line.split("] ")[-1].strip() for line in ended.stderr.splitlines()]
    at = said.index("before")
    assert said[at + 1 :] == ["something was lost"]


def test_a_refusal_is_the_last_line_even_if_the_shutdown_hangs(tmp_path: Path) -> None:
    ended = run_refused(tmp_path, "and hangs")
    assert ended.returncode == 1
    *_, limit, last = ended.stderr.splitlines()
    assert "not stopped within 1 s" in limit
    assert re.search(r"Event\.wait \(locks\.py:\d+\) in Refused\.on_stop \(<string>:\d+\) in Service\.stop", limit)
    assert "thread MainThread: " in limit
    assert last == "error: two role assignments"


def test_faust_draws_no_table_of_partitions_in_a_log_line() -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(ExtensionFormatter(fmt="%(message)s"))
    dress(handler, "text", logging.INFO)
    partitions = [TopicPartition("orders.source", 3)]
    record = logging.LogRecord("metroline", logging.WARNING, __file__, 1, "of %r and %d", (partitions, 4), None)
    assert "+---" in format_log_arguments(partitions, record), "Faust's formatter would"
    handler.handle(record)
    assert written.getvalue().strip() == "of [TopicPartition(topic='orders.source', partition=3)] and 4"


def run_refused(folder: Path, when: str) -> subprocess.CompletedProcess[str]:
    """Run a worker that is refused, and return what it printed."""
    command = [sys.executable, "-c", REFUSED, str(folder), when]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
