"""The figures of a run: how each is named, written and explained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from metroline.app.compare.comparison import Run

NOT_MEASURED = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a run: its name, its decimals, its meaning in a sentence, and how it is read from the run."""

    name: str
    decimals: int
    meaning: str
    of: Callable[[Run], float | None]
    """Returns the value, or None if it was not measured."""
    chart: str = ""
    """The heading of its chart, if it has one."""
    more_is_better: bool = False

    def written(self, run: Run) -> str:
        value = self.of(run)
        return NOT_MEASURED if value is None else f"{value:,.{self.decimals}f}"


COUNTS = (
    Figure("sent", 0, "Distinct records that were taken from the source topic.", lambda run: run.sent),
    Figure("delivered", 0, "Records that reached the end of the line.", lambda run: run.delivered),
    Figure("dropped", 0, "Records that a rule or a service dropped on purpose.", lambda run: run.dropped),
    Figure("dead", 0, "Records that became dead letters; each dead letter names its cause.", lambda run: run.dead),
    Figure(
        "duplicates",
        0,
        "Repeated outcomes of records that already had one. They do not count as outcomes.",
        lambda run: run.duplicates,
    ),
)

COSTS = (
    Figure(
        "records/s",
        0,
        "Records sent, divided by the time from the first source record taken to the last outcome.",
        lambda run: run.records_per_second,
        "Records per second",
        more_is_better=True,
    ),
    Figure(
        "p50 ms",
        1,
        "Median latency in milliseconds at a steady rate: the time from the moment at which a record was due to be sent"
        " to writing it as delivered. It is measured in a separate run, once the workers are warm, and counts the"
        " records that were delivered in time.",
        lambda run: run.latency_ms.p50 if run.latency_ms else None,
    ),
    Figure(
        "p99 ms",
        1,
        "The latency that 99 of 100 records do not exceed, in milliseconds.",
        lambda run: run.latency_ms.p99 if run.latency_ms else None,
    ),
    Figure(
        "share in time",
        2,
        "Share of the records that had an outcome within 2 seconds after the last one was due, at a steady rate. Below"
        " 1, the strategy was behind, or a few records were waiting for a further attempt.",
        lambda run: run.pace.share if run.pace else None,
    ),
    Figure(
        "highest rate/s",
        0,
        "The highest rate, in records per second, at which every record had its outcome in time and 99 of 100 took at"
        " most 500 ms.",
        lambda run: run.highest_rate,
        "Highest rate held, records per second",
        more_is_better=True,
    ),
    Figure(
        "hops per record",
        2,
        "A hop is one record written to the bus once, in a message of its own or together with others. With chaining, a"
        " stop of the same worker may get it in memory instead.",
        lambda run: run.hops_per_record,
        "Hops per record",
    ),
    Figure(
        "messages per record",
        4,
        "Messages written to the topics of stops, deciders and the arrivals, divided by the number of records. One"
        " message can hold hundreds of records.",
        lambda run: run.bus_messages_per_record,
    ),
    Figure(
        "bytes per record",
        0,
        "Bytes of those messages, divided by the number of records.",
        lambda run: run.bus_bytes_per_record,
        "Bytes on the bus per record",
    ),
    Figure(
        "CPU seconds per 10,000",
        2,
        "CPU time of the worker processes alone, from the first source record taken to the last outcome, per 10,000"
        " records.",
        lambda run: run.cpu_seconds_per_10k,
        "CPU seconds per 10,000 records",
    ),
)
