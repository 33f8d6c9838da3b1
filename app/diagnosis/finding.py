"""One finding of an examination."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum


class Status(StrEnum):
    """The meaning of a finding for a worker."""

    OK = "ok"
    SKIPPED = "skipped"
    """The check could not be made, or concerns nobody here."""
    WARNING = "warning"
    """A worker runs, though not as it should, or something else may go wrong."""
    ERROR = "error"
    """A worker cannot run, or records would be lost from it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check."""

    check: str
    """The subject, such as `broker`."""
    status: Status
    text: str
    remedy: str = ""
    """The way to solve a problem; empty if there is none, or the text has it."""

    def as_json(self) -> dict[str, str]:
        """Return the finding as `--json` writes it."""
        return asdict(self)


def ok(check: str, text: str) -> Finding:
    return Finding(check, Status.OK, text)


def skipped(check: str, text: str) -> Finding:
    return Finding(check, Status.SKIPPED, text)


def warning(check: str, text: str, remedy: str = "") -> Finding:
    return Finding(check, Status.WARNING, text, remedy)


def error(check: str, text: str, remedy: str = "") -> Finding:
    return Finding(check, Status.ERROR, text, remedy)
