"""The plan of a comparison: line, records, strategies and broker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metroline.agents.services.line import Line
from metroline.app.inputs.recent_records import RecentRecords
from metroline.app.inputs.row_files import DEFAULT_READING, Reading
from metroline.routing.errors import MetrolineError

Progress = Callable[[str, int, int], None]
"""Called with a description of the step, the number of records done, and their total (0: unknown)."""


RATE_SECONDS = 5.0


class RunFailed(MetrolineError):
    """Raised when a run of a comparison does not come to its end."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The line, its records, the strategies, and the cluster that they run on."""

    where: str
    """The line: a package or a folder."""
    records: str
    """A file, or how many of the line's own records; not used if there are `recent` ones."""
    strategies: tuple[str, ...]
    broker_url: str
    broker_name: str
    environment: dict[str, str]
    """Variables of the workers beside those that a run sets itself."""
    rate: float | None = None
    """Records per second at which the strategies are measured as well; None for a full backlog only."""
    finds_highest_rate: bool = False
    """True to search the highest rate that each strategy holds; `rate` is not used then."""
    seconds: float = RATE_SECONDS
    """Seconds for which records are sent at a rate."""
    chaining: bool = False
    """True to run each strategy twice: with every hop on the bus, and with stops that hand records on in memory."""
    results: Path | None = None
    """Folder for a file of results from each strategy."""
    partitions: int = 4
    workers: int = 1
    seed: int = 1
    pack: int = 1
    """Records in a source message."""
    reading: Reading = DEFAULT_READING
    """The way in which a file of records is read."""
    recent: RecentRecords | None = None
    """Records that came to the line itself."""
    rules: str | None = None
    """The rules table; None for that of the line."""
    rules_name: str = ""
    """The name by which problems call that table."""
    run: str = ""
    """The id by which topics of this comparison are named. Default: a random one."""

    def load_line(self) -> Line:
        """Return the line, with the rules of the plan."""
        line = Line.load(self.where)
        return line if self.rules is None else line.with_rules(self.rules, self.rules_name)

    @property
    def source_config(self) -> dict[str, str]:
        """Configuration of a source topic. Recent records keep the times of their messages, which may be old."""
        if self.recent is None:
            return {}
        return {"retention.ms": "-1", "max.message.bytes": str(self.recent.message_bytes)}

    @property
    def attributes(self) -> Sequence[Mapping[str, Any]]:
        """Key, headers and timestamp of each source message; nothing for messages without any."""
        return () if self.recent is None else self.recent.attributes
