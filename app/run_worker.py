"""Runs a worker in this process, as `metroline worker` does."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import sys
from contextlib import suppress

from metroline.agents.services.line import Line
from metroline.app.inputs.lookup_builds import prepare_lookups
from metroline.app.local.broker_probe import check_free
from metroline.app.provisioning import prepare
from metroline.app.settings import Settings
from metroline.routing.errors import MetrolineError

YOUNG = 50_000
"""Objects made before the garbage collector looks at the young ones: records have no cycles and are freed at once."""

M_ARENA_MAX = -8
"""The parameter of glibc's `mallopt` that says how many heaps there may be (malloc.h)."""


def run_worker(settings: Settings) -> None:
    """Runs until SIGTERM or Ctrl-C; raises a `MetrolineError` for what would keep it from starting."""
    _share_one_heap()
    check_free(settings.web_bind, settings.web_port, "WEB_PORT: the port")
    line = Line.load(settings.line)
    if settings.played(line).stops:
        prepare_lookups(line)
    preparation = asyncio.run(prepare(settings, line))
    if sys.platform != "win32":
        import uvloop  # there is none on Windows

        uvloop.install()
    from metroline.app.factory import create_app  # Faust is slow to import: after what can fail at once
    from metroline.app.faust_worker import Process

    app = create_app(settings, preparation.limits)
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    _calm_garbage_collection()
    worker = Process(app, loglevel=settings.log_level.upper(), quiet=True, redirect_stdouts=False)
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        crash = worker.refusal or app.crash_reason
        if isinstance(crash, MetrolineError):
            raise crash from None
        raise SystemExit(1 if crash is not None else end.code) from None


def _calm_garbage_collection() -> None:
    """What is loaded by now stays for good, and need not be looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 50)


def _share_one_heap() -> None:
    """Lets all threads take memory from one heap where the C library is glibc, which gives each thread its own.

    What one thread takes another gives back here, so that several heaps hold more: about 25 MB in a worker under load.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
