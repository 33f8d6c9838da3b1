"""Runs a worker in this process, as `metroline worker` does."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import logging
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metroline.agents.services.line import Line
from metroline.agents.services.outside_modules import files_in
from metroline.app.inputs.lookup_builds import prepare_lookups
from metroline.app.local.ports import check_free
from metroline.app.local.steps import LOAD, LOADED, POLL_SECONDS, START, STOPPED, WAITING, Steps
from metroline.app.logs import log_as_json, log_as_text
from metroline.app.provisioning import provision
from metroline.app.service_output import name_services_in_output
from metroline.app.settings import Settings
from metroline.routing.errors import InvalidLine, MetrolineError

if TYPE_CHECKING:
    from metroline.agents.kafka.producer import KafkaProducer

COLLECT_AFTER = (50_000, 20, 50)
"""Thresholds of the garbage collector. Records have no cycles and are freed at once, so it need not look often."""

M_ARENA_MAX = -8
"""The parameter of glibc's `mallopt` that limits the number of heaps (malloc.h)."""


def run_worker(settings: Settings, standby: Steps | None = None) -> None:
    """Run until SIGTERM or Ctrl-C. Raise a `MetrolineError` if the worker cannot start.

    A worker on `standby` loads its line, and starts, when it may. Its output is that of services, too.
    """
    _share_one_heap()
    if settings.log_format == "json":
        log_as_json(logging.getLevelNamesMapping()[settings.log_level.upper()])
    else:
        log_as_text()
    producer: KafkaProducer | None = None
    if standby is None:
        _check_port(settings)
    else:
        producer = _stand_by(standby, settings)
    line = _load(settings.line, standby)
    if settings.played(line).stops:
        prepare_lookups(line)
        line.check_settings()
    limits = asyncio.run(provision(settings, line))
    if sys.platform != "win32":
        import uvloop  # not available on Windows

        uvloop.install()
    from metroline.app.factory import create_app  # Faust takes long to import: only after all that can fail at once
    from metroline.app.faust_worker import FaustWorker

    app = create_app(settings, limits, producer)
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    _calm_garbage_collection()
    if standby is not None:
        app.turn = _StandbyTurn(standby, settings)
        standby.take(LOADED)
    worker = FaustWorker(
        app,
        loglevel=settings.log_level.upper(),
        log_format=settings.log_format,
        services_folder=None if standby is None else line.rules_file.parent,
        quiet=True,
        redirect_stdouts=False,
    )
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        if standby is not None:
            standby.take(STOPPED)
        crash = worker.refusal or app.crash_reason
        if isinstance(crash, MetrolineError):
            raise crash from None
        raise SystemExit(1 if crash is not None else end.code) from None


@dataclass(frozen=True, slots=True)
class _StandbyTurn:
    """The turn of a worker on standby. It prepares itself while the worker that it replaces stops."""

    steps: Steps
    settings: Settings

    async def begin(self) -> None:
        """Return when the worker may start; raise `PortInUse` if another program listens on its port."""
        while not self.steps.is_taken(START):  # noqa: ASYNC110 - another process takes the step
            await asyncio.sleep(POLL_SECONDS)
        _check_port(self.settings)

    def end(self) -> None:
        self.steps.take(STOPPED)


def _load(where: str, standby: Steps | None) -> Line:
    """Load the line. A worker on standby says which files it has come through, so that their changes are noticed."""
    try:
        line = Line.load(where)
    except InvalidLine as error:
        if standby is not None:
            standby.note_files(files_in(error))
        raise
    if standby is not None:
        standby.note_files(line.outside.values())
    return line


def _check_port(settings: Settings) -> None:
    """Raise `PortInUse` if another program listens on the port of the web server."""
    check_free(settings.web_bind, settings.web_port, "WEB_PORT: the port")


def _stand_by(steps: Steps, settings: Settings) -> KafkaProducer:
    """Do what takes long, and wait until the line may be loaded. Return a producer that has connected."""
    name_services_in_output()
    from metroline.app.factory import producer_of

    producer = producer_of(settings)
    producer.begin()
    steps.take(WAITING)
    steps.wait_for(LOAD)
    importlib.invalidate_caches()  # the files of the line may have changed since this process began
    return producer


def _calm_garbage_collection() -> None:
    """Exempt from garbage collection what is loaded by now: it stays for good."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _share_one_heap() -> None:
    """Let all threads allocate from one heap. By default, glibc has a heap for each thread.

    One thread frees here what another has allocated, so that several heaps hold more: about 25 MB in a worker under
    load. Other C libraries are left as they are.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
