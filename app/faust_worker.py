"""Faust's worker, which says in one line why it does not run."""

from __future__ import annotations

import logging
import os
import signal
import threading

import faust

from metroline.routing.errors import MetrolineError

CRASHED = "We experienced a crash!"
"""How Faust announces the error that it raises in the end."""


STOP_SECONDS = 9.5
"""How long a worker that is asked to stop may take; Docker kills what has not ended after ten seconds."""

log = logging.getLogger(__name__)


class Process(faust.Worker):
    """Keeps the error for a person that ended it, in place of the tracebacks and the shutdown that Faust logs."""

    refusal: MetrolineError | None = None

    def _schedule_shutdown(self, signal: signal.Signals) -> None:
        """Called for SIGTERM and Ctrl-C: what has not ended by then waits for brokers that do not answer."""
        timer = threading.Timer(STOP_SECONDS, _give_up)
        timer.daemon = True
        timer.start()
        super()._schedule_shutdown(signal)

    def on_setup_root_logger(self, logger: logging.Logger, level: int) -> None:
        super().on_setup_root_logger(logger, level)
        for handler in logger.handlers:
            handler.addFilter(self._is_news)

    def _is_news(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, MetrolineError):
            self.refusal = error
            return False
        if self.refusal is None:
            return True
        return record.levelno >= logging.WARNING and CRASHED not in str(record.msg)


def _give_up() -> None:
    """Ends this process as it stands; nothing is lost by that, since what is not acknowledged comes again."""
    log.warning("not stopped within %g s: ends here, and what is at hand comes again", STOP_SECONDS)
    logging.shutdown()
    os._exit(1)
