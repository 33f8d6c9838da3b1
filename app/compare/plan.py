"""The plan of a comparison: line, records, strategies and broker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from metroline.routing.errors import MetrolineError

Progress = Callable[[str, int, int], None]
"""Called with a description of the step, the number of records done, and their total (0: unknown)."""


class RunFailed(MetrolineError):
    """Raised when a run of a comparison does not come to its end."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The line, its records, the strategies, and the cluster that they run on."""

    where: str
    """The line: a package or a folder."""
    records: str
    """A file, or how many of the line's own records."""
    strategies: tuple[str, ...]
    broker_url: str
    broker_name: str
    environment: dict[str, str]
    """Variables of the workers beside those that a run sets itself."""
    rate: float | None = None
    """Records a second at which the latency is measured; None: it is not."""
    results: Path | None = None
    """Folder for a file of results from each strategy."""
    partitions: int = 4
    workers: int = 1
    seed: int = 1
    pack: int = 1
    """Records in a source message."""
