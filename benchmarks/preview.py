"""Measures a preview of a rules table: journeys that differ in what the rules read are decided about again.

Run it with: python -m benchmarks.preview [JOURNEYS]
"""

from __future__ import annotations

import sys
import time

import orjson

from metroline.agents.services.line import Line
from metroline.app.preview.preview import preview
from metroline.app.preview.seen import Chosen, Seen, Shape
from metroline.app.preview.ways import NewTable
from metroline.routing.outcome import Ending
from metroline.routing.rules.table import RulesTable

WAY = (
    Chosen("contact_point", "account changes need a contact", 1),
    Chosen("allow_list", "with an address to the allow list", 1),
    Chosen("log", "the others are logged", 1),
)

CHANGES = (
    (
        "a rule that is tried first",
        "[[rules]]\nname",
        "[[rules]]\nafter = 'source'\nwhen = 'account_number < 10'\nto = 'log'\n\n[[rules]]\nname",
    ),
    ("a condition after the last service", 'when = "hold != null"', 'when = "hold != null || account_number % 7 == 0"'),
    ("another name", "the others are logged", "all others are logged"),
)


def journeys(count: int) -> list[Seen]:
    """Return journeys of which each has another value in a field that rules read."""
    shape = Shape(WAY, Ending.DELIVERED, "", None)
    filler = {f"field_{number}": "x" * 20 for number in range(20)}
    return [
        Seen(
            f"source-0-{number}",
            shape,
            orjson.dumps({"message_type_code": "ALTABC", "account_number": number, **filler}),
            1.0,
            2.0 + number,
        )
        for number in range(count)
    ]


def main() -> None:
    """Print the seconds of a processor that each preview takes."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    text = Line.load("metroline.agents.lines.metrobus").rules_text
    seen = journeys(count)
    for name, old, new in CHANGES:
        table = RulesTable.parse(text.replace(old, new, 1))
        began = time.process_time()
        decider = NewTable(table, {1: RulesTable.parse(text, 1)})
        found = preview(decider, 1, ((one, decider.follow(one)) for one in seen))
        seconds = time.process_time() - began
        changed = f"{found.journeys.changed:,} go another way"
        print(f"{name}: {seconds:.2f} s of a processor for {count:,} journeys, of which {changed}")


if __name__ == "__main__":
    main()
