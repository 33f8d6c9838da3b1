"""The lookup of the line: the region of the FAA to which a state belongs."""

import csv
from collections.abc import Iterator
from pathlib import Path

from metroline import lookup_table

FILE = Path(__file__).with_name("regions.csv")


@lookup_table("birdstrikes.regions", key="state", value="region", data=lambda: [FILE])
def regions() -> Iterator[dict[str, str]]:
    """Yield each state with its region."""
    with FILE.open(encoding="utf-8", newline="") as rows:
        yield from csv.DictReader(rows)
