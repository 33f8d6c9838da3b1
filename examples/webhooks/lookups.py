"""The lookup of the line: the channel of the team that owns a repository."""

import csv
from collections.abc import Iterator
from pathlib import Path

from metroline import lookup_table

FILE = Path(__file__).with_name("teams.csv")


@lookup_table("webhooks.channels", key="repository", value="channel", data=lambda: [FILE])
def channels() -> Iterator[dict[str, str]]:
    """Yield each repository with its channel."""
    with FILE.open(encoding="utf-8", newline="") as rows:
        yield from csv.DictReader(rows)
