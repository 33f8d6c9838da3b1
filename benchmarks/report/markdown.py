"""Tables in Markdown, and figures as they stand in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.report.results import Entries, median, values
from metroline.app.compare.figures import NOT_MEASURED


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table with its first column aligned left and all others right."""
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def spread(entries: Entries, system: str, key: str, decimals: int) -> str:
    """Return `median (min to max)` over the rounds of a system, or the median alone for a single round."""
    found = values(entries, system, key)
    if not found:
        return NOT_MEASURED
    middle = f"{median(entries, system, key):,.{decimals}f}"
    return middle if len(found) == 1 else f"{middle} ({min(found):,.{decimals}f} to {max(found):,.{decimals}f})"
