"""A worker that cannot run prints the reason as its last line, without shutdown messages before it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project import ROOT

REFUSED = """
import logging, sys
import faust
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

app = Refused("test", store="memory://", web_enabled=False, datadir=sys.argv[1])
worker = FaustWorker(app, loglevel="INFO", quiet=True, redirect_stdouts=False)
try:
    worker.execute_from_commandline()
except SystemExit:
    print(worker.refusal)
"""


@pytest.mark.parametrize("when", ["at the start", "later"])
def test_a_refusal_silences_what_faust_says_of_its_shutdown_and_keeps_warnings(tmp_path: Path, when: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", REFUSED, str(tmp_path), when],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert ended.stdout == "two role assignments\n"
    said = [line.split("] ")[-1].strip() for line in ended.stderr.splitlines()]
    at = said.index("before")
    assert said[at + 1 :] == ["something was lost"]
