"""Faust's worker, with one line that says why it cannot run."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import faust

from metroline.app.logs import LogFormat, dress
from metroline.app.markup.text import escaped_lines
from metroline.app.service_output import log_services_at_every_level
from metroline.app.unfinished import unfinished
from metroline.routing.errors import MetrolineError

CRASHED = "We experienced a crash!"
"""The beginning of Faust's announcement of the error that ends a worker."""

UNCLOSED = "Unclosed AIOKafka"
"""The beginning of aiokafka's report of a client that a worker discards as it ends, even after its last line."""

STOP_SECONDS = 9.5
"""Time that a worker has to stop, in seconds. Docker kills a container after ten."""

GATHER_SECONDS = 1.0
"""Time that cancelled tasks have to end, in seconds."""

log = logging.getLogger(__name__)


class FaustWorker(faust.Worker):
    """Keeps the `MetrolineError` that ended it, and silences the tracebacks and the shutdown that Faust logs then."""

    refusal: MetrolineError | None = None
    """The error that ended the worker, for its caller to report."""

    def __init__(
        self, *args: Any, log_format: LogFormat = "text", services_folder: Path | None = None, **kwargs: Any
    ) -> None:
        """Take the format of the log besides the arguments of Faust's worker.

        `services_folder` is that of a line whose services are logged at every level; None to log them as all else.
        """
        super().__init__(*args, **kwargs)
        self.log_format = log_format
        self.services_folder = services_folder

    def _schedule_shutdown(self, signal: signal.Signals) -> None:
        """Handle SIGTERM and Ctrl-C. A worker that does not stop in time waits for brokers that do not answer."""
        self._limit_stop()
        log.info("the worker stops on %s", signal.name)
        super()._schedule_shutdown(signal)

    def stop_and_shutdown(self) -> None:
        """Stop, also after an error, which must be the last line in any case."""
        limit = self._limit_stop()
        super().stop_and_shutdown()
        limit.cancel()
        log.info("the worker has stopped")

    def _limit_stop(self) -> threading.Timer:
        timer = threading.Timer(STOP_SECONDS, self._give_up)
        timer.daemon = True
        timer.start()
        return timer

    def _gather_all(self) -> None:
        """Cancel the tasks that are left once all services have stopped. mode waits for a second, for nobody."""
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        if left:
            self.loop.run_until_complete(asyncio.wait(left, timeout=GATHER_SECONDS))

    async def _sentinel_task(self) -> None:
        """Let the event loop turn once more before it is closed, not for a second as in mode."""
        await asyncio.sleep(0)

    def _give_up(self) -> None:
        """End this process at once. Nothing is lost, since messages that are not acknowledged are delivered again."""
        stuck = unfinished(self.loop)
        log.warning("not stopped within %g s: ends here, and what is at hand comes again; at %s", STOP_SECONDS, stuck)
        logging.shutdown()
        if self.refusal is not None:
            print(escaped_lines(f"error: {self.refusal}"), file=sys.stderr, flush=True)
        os._exit(1 if self.refusal is None else self.refusal.exit_code)

    async def on_startup_finished(self) -> None:
        """Log that the worker runs."""
        await super().on_startup_finished()
        log.info("the worker has joined its group and recovered its tables")

    def on_setup_root_logger(self, logger: logging.Logger, level: int) -> None:
        """Replace what Faust does here: its spinner on the terminal makes every debug message, also those not shown."""
        self.spinner = None
        for handler in logger.handlers:
            handler.addFilter(self._is_news)
            dress(handler, self.log_format, level)
        if self.services_folder is not None:
            log_services_at_every_level(logger, self.services_folder, level)

    def _is_news(self, record: logging.LogRecord) -> bool:
        if str(record.msg).startswith(UNCLOSED):
            return False
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, MetrolineError):
            self.refusal = error
            return False
        if self.refusal is None:
            return True
        return record.levelno >= logging.WARNING and CRASHED not in str(record.msg)
