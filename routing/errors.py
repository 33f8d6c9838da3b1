"""The base class of all errors, and the errors of `routing`."""

from __future__ import annotations


class MetrolineError(Exception):
    """Base class of every error of this project. Its text is one line that says what is wrong and what to do."""


class MalformedEnvelope(MetrolineError):
    """Raised when a message on the bus is not an envelope in a supported format; `raw` holds its bytes."""

    def __init__(self, reason: str, raw: bytes) -> None:
        super().__init__(reason)
        self.raw = raw


class MalformedRecord(MetrolineError):
    """Raised when a line is not a record, that is, not a JSON object; `raw` holds its bytes."""

    def __init__(self, reason: str, raw: bytes) -> None:
        super().__init__(reason)
        self.raw = raw


class InvalidRules(MetrolineError):
    """Raised when a rules table is not valid; `problems` lists every problem with its file and line."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class ConditionError(MetrolineError):
    """Raised when a condition does not compile or cannot be evaluated for a record."""


class UnknownStrategy(MetrolineError):
    """Raised when there is no strategy with the given name."""


class InvalidLine(MetrolineError):
    """Raised when a line's folder, services, records or lookups cannot be used."""
