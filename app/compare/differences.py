"""The differences between two strategies, and figures of one that do not add up, one line each."""

from __future__ import annotations

from collections.abc import Iterator

from metroline.app.compare.comparison import Run
from metroline.app.compare.evidence import Evidence, RecordOutcome

LISTED = 10
"""Records that are listed for each pair of strategies; the others are counted."""


def wrong_sums(run: Run, evidence: Evidence) -> Iterator[str]:
    """Yield the sums of a run that do not add up, or do not agree with what came to the arrivals."""
    if not run.adds_up:
        yield (
            f"{run.name}: sent {run.sent} does not equal delivered {run.delivered} + dropped {run.dropped}"
            f" + dead {run.dead}"
        )
    seen = evidence.endings()
    for ending, count in run.outcomes.items():
        if seen[ending] != count:
            yield (
                f"{run.name}: {count} records are counted as {ending.value}, but {seen[ending]} with this outcome"
                " came to the arrivals"
            )


def differing_records(first_name: str, first: Evidence, name: str, other: Evidence) -> Iterator[str]:
    """Yield the records that have another outcome or another final content under the second strategy."""
    total = 0
    for index, (one, two) in enumerate(zip(first.outcomes, other.outcomes, strict=True)):
        if one == two and first.contents[index] == other.contents[index]:
            continue
        total += 1
        if total > LISTED:
            continue
        if one == two:
            yield f"record {index}: different final content under {first_name} and {name}"
        else:
            yield f"record {index}: {_describe(one)} under {first_name}, {_describe(two)} under {name}"
    if total > LISTED:
        yield f"{total - LISTED} more records differ between {first_name} and {name}"


def _describe(outcome: RecordOutcome | None) -> str:
    if outcome is None:
        return "no outcome"
    reason = f" ({outcome.reason})" if outcome.reason else ""
    return f"{' > '.join(outcome.route) or 'no stop'}, {outcome.ending.value}{reason}"
