"""Faust's worker, which says in one line why it does not run."""

from __future__ import annotations

import logging

import faust

from routing.errors import MetrolineError

CRASHED = "We experienced a crash!"
"""How Faust announces the error that it raises in the end."""


class Process(faust.Worker):
    """Keeps the error for a person that ended it, in place of the tracebacks and the shutdown that Faust logs."""

    refusal: MetrolineError | None = None

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
