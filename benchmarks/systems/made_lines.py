"""Lines that are made for a measurement: stops that pass on, many routes, services that fail, packs that split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

from benchmarks.systems.expected import Fate, Record, Work, make_work

HEAD = "from metroline import service\n"
WAYS = ["".join(way) for way in permutations("abcd")]
"""Twenty-four routes over four stops."""
CODES = ("ALTABC", "ALTBAL", "ALTCRD", "STMNEW")
FAILING = 3
"""Of ten records so many fail twice."""

SPLIT = f"""{HEAD}
@service
def sorting(record):
    return record

@service
def meeting(record):
    record["met"] = True
    return record
"""

FAILS = f"""{HEAD}
tried = {{}}

@service
def before(record):
    return record

@service(backoff=0.2, backoff_max=0.2)
def flaky(record):
    number = record["number"]
    if number % 10 < {FAILING} and tried.setdefault(number, 0) < 2:
        tried[number] += 1
        raise ConnectionError("it does not answer")
    record["answered"] = True
    return record

@service
def after(record):
    return record
"""


@dataclass(frozen=True, slots=True)
class MadeLine:
    """A line that is written into a folder when it is run, and what it does with a record."""

    name: str
    title: str
    services: str
    rules: str
    first_stops: tuple[str, ...]
    """Where its records may go at first."""
    fate: Callable[[Record], Fate]
    more: Callable[[int], Mapping[str, Any]] = lambda _: {}
    """Fields of the records, by number, besides those of the line metrobus."""

    def write(self, folder: Path) -> Path:
        """Gives the line's folder."""
        line = folder / self.name
        line.mkdir(exist_ok=True)
        (line / "services.py").write_text(self.services, "utf-8")
        (line / "routes.toml").write_text(self.rules, "utf-8")
        return line

    def work(self, count: int, pack: int = 1) -> Work:
        return make_work(count, pack, self.fate, self.more)


def passing(stops: int) -> MadeLine:
    """So many stops, one after the other, each of which passes a record on."""
    names = [f"stop_{number}" for number in range(1, stops + 1)]
    return MadeLine(
        f"passing_{stops}",
        f"{stops} stops that pass on",
        HEAD + "".join(_service(name) for name in names),
        "".join(_rule(after, to) for after, to in pairwise(["source", *names])),
        (names[0],),
        lambda record: record,
    )


def many_routes() -> MadeLine:
    """Each record says which of twenty-four ways over four stops to the last one it takes; stops note themselves."""
    rules = [
        _rule(after, to, f'match = {{ way = "{way}" }}\n')
        for way in WAYS
        for after, to in pairwise(["source", *(f"stop_{letter}" for letter in way), "last"])
    ]
    return MadeLine(
        "many_routes",
        "24 routes over five stops",
        HEAD
        + "".join(_service(f"stop_{letter}", f'    record["seen"] += "{letter}"\n') for letter in "abcd")
        + _service("last"),
        "".join(rules),
        tuple(f"stop_{letter}" for letter in "abcd"),
        lambda record: record | {"seen": record["way"]},
        lambda number: {"way": WAYS[number % len(WAYS)], "seen": ""},
    )


def failing() -> MadeLine:
    """Three stops, of which the second fails twice for 30 % of the records."""
    return MadeLine(
        "failing",
        "30 % of the records fail twice",
        FAILS,
        "".join(_rule(after, to) for after, to in pairwise(["source", "before", "flaky", "after"])),
        ("before",),
        lambda record: record | {"answered": True},
        lambda number: {"number": number},
    )


def splitting() -> MadeLine:
    """Packs split four ways after the first stop and meet again at the last."""
    queues = "".join(_service(f"lane_{code.lower()}", f'    record["lane"] = "{code}"\n') for code in CODES)
    rules = [_rule("source", "sorting")]
    for code in CODES:
        queue = f"lane_{code.lower()}"
        rules += [_rule("sorting", queue, f'match = {{ message_type_code = "{code}" }}\n'), _rule(queue, "meeting")]
    return MadeLine(
        "splitting",
        "packs split four ways and meet again",
        SPLIT + queues,
        "".join(rules),
        ("sorting",),
        lambda record: record | {"lane": record["message_type_code"], "met": True},
    )


HARDER = (many_routes, failing, splitting)


def _service(name: str, does: str = "") -> str:
    return f"\n\n@service\ndef {name}(record):\n{does}    return record\n"


def _rule(after: str, to: str, condition: str = "") -> str:
    return f'[[rules]]\nafter = "{after}"\n{condition}to = "{to}"\n\n'
