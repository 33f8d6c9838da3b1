"""Runs a worker in this process, as `metroline worker` does."""

from __future__ import annotations

import asyncio
import logging
import sys

from agents.line import Line
from app.preparation import prepare
from app.settings import Settings
from routing.errors import MetrolineError


def run_worker(settings: Settings) -> None:
    """Runs until SIGTERM or Ctrl-C; raises a `MetrolineError` for what would keep it from starting."""
    asyncio.run(prepare(settings, Line.load(settings.line)))
    if sys.platform != "win32":
        import uvloop  # noqa: PLC0415  # there is none on Windows

        uvloop.install()
    from app.factory import create_app  # noqa: PLC0415  # Faust is slow to import: after what can fail at once

    app = create_app(settings)
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    worker = app.Worker(loglevel=settings.log_level.upper(), quiet=True, redirect_stdouts=False)
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        crash = app.crash_reason
        if isinstance(crash, MetrolineError):
            raise crash from None
        raise SystemExit(1 if crash is not None else end.code) from None
