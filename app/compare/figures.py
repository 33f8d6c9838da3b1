"""The figures of a run: what each is called, how it is written, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metroline.routing.outcome import Ending

Run = Mapping[str, Any]
ENDINGS = [ending.value for ending in Ending]
NOT_MEASURED = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a run: its key in the result, its name, its decimals, and what it means in one sentence."""

    key: str
    name: str
    decimals: int
    meaning: str
    chart: str = ""
    """The heading of its chart, for those that have one."""
    more_is_better: bool = False

    def of(self, run: Run) -> float | None:
        """The value, or None where it was not measured."""
        found: Any = run
        for part in self.key.split("."):
            found = None if found is None else found.get(part)
        return None if found is None else float(found)

    def written(self, run: Run) -> str:
        value = self.of(run)
        return NOT_MEASURED if value is None else f"{value:,.{self.decimals}f}"


COUNTS = (
    Figure("sent", "sent", 0, "Distinct records that were taken from the source topic."),
    Figure("delivered", "delivered", 0, "Records that reached the end of the line."),
    Figure("dropped", "dropped", 0, "Records that a rule or a service took off the line on purpose."),
    Figure("dead", "dead", 0, "Records that could not go on; a dead letter of each says why."),
    Figure("duplicates", "duplicates", 0, "Outcomes that came for a record that had one already; they do not count."),
)

COSTS = (
    Figure(
        "records_per_second",
        "records/s",
        0,
        "Records sent, divided by the time from the first source record taken to the last outcome.",
        "Records per second",
        more_is_better=True,
    ),
    Figure(
        "latency_ms.p50",
        "p50 ms",
        1,
        "Half of the records were delivered in so many milliseconds or fewer, from being sent to the source at a steady"
        " rate to being written as delivered; measured in a run of its own.",
    ),
    Figure("latency_ms.p99", "p99 ms", 1, "The same for 99 of 100 records."),
    Figure(
        "hops_per_record",
        "hops per record",
        2,
        "A hop is one record written to the bus once, in a message of its own or packed with others.",
        "Hops per record",
    ),
    Figure(
        "bus_messages_per_record",
        "messages per record",
        4,
        "Messages written to the topics of stops, deciders and arrivals, divided by the records; a message may hold"
        " hundreds of records.",
    ),
    Figure(
        "bus_bytes_per_record",
        "bytes per record",
        0,
        "Bytes of those messages, divided by the records.",
        "Bytes on the bus per record",
    ),
    Figure(
        "cpu_seconds_per_10k",
        "CPU seconds per 10,000",
        2,
        "CPU time of the worker processes alone, from the first source record taken to the last outcome, for 10,000"
        " records.",
        "CPU seconds per 10,000 records",
    ),
)
