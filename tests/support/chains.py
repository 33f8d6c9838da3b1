"""Rules tables of any length, for maps."""

from __future__ import annotations

from itertools import pairwise


def chain(stops: int) -> str:
    """Return a table of many stops in a row, each of which drops some records, with a loop at each fourth."""
    names = ["source", *(f"stop_number_{number}" for number in range(stops))]
    rules = []
    for number, (after, to) in enumerate(pairwise(names)):
        rules.append(f'[[rules]]\nafter = "{after}"\nwhen = "n == {number}"\ndrop = "no"')
        if number % 4 == 3:
            rules.append(f'[[rules]]\nafter = "{after}"\nwhen = "n > {number}"\nto = "{names[number - 2]}"')
        rules.append(f'[[rules]]\nafter = "{after}"\nto = "{to}"')
    return "\n\n".join(rules)
