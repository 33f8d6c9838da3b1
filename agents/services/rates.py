"""Rates of calls, such as `10/s`."""

from __future__ import annotations

import re

UNIT_SECONDS = {"s": 1.0, "min": 60.0, "h": 3_600.0}

RATE = re.compile(rf"([0-9]{{1,9}}(?:\.[0-9]{{1,9}})?)/({'|'.join(UNIT_SECONDS)})")


def calls_per_second(rate: object) -> float:
    """Return the calls per second of a rate such as `10/s`, `90/min` or `5/h`; raise `ValueError` if it is none."""
    found = RATE.fullmatch(rate) if isinstance(rate, str) else None
    if found is None or not float(found[1]):
        raise ValueError(f'rate must be a number of calls above 0 per s, min or h, such as "10/s", not {rate!r}')
    return float(found[1]) / UNIT_SECONDS[found[2]]
