"""Lines generated for a measurement: stops that pass records on, many routes, failing services, packs that split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

from benchmarks.systems.expected import Record, RecordResult, Workload, make_workload

HEAD = "from metroline import service\n"
ROUTES = ["".join(route) for route in permutations("abcd")]
"""The 24 routes over four stops."""
CODES = ("ALTABC", "ALTBAL", "ALTCRD", "STMNEW")
FAILING_OF_TEN = 3
"""Number of records in ten that fail twice."""

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
    if number % 10 < {FAILING_OF_TEN} and tried.setdefault(number, 0) < 2:
        tried[number] += 1
        raise ConnectionError("it does not answer")
    record["answered"] = True
    return record

@service
def after(record):
    return record
"""

WAITS = f"""import asyncio

{HEAD}
@service(concurrency=64)
async def wait(record):
    await asyncio.sleep(0.5)
    return record
"""


@dataclass(frozen=True, slots=True)
class MadeLine:
    """A line whose files are written when it is run, and a function that evaluates it."""

    name: str
    title: str
    services: str
    rules: str
    first_stops: tuple[str, ...]
    """The stops to which a record can go first."""
    evaluate: Callable[[Record], RecordResult]
    """Returns the expected result for a record."""
    extra_fields: Callable[[int], Mapping[str, Any]] = lambda _: {}
    """Returns fields of a record, given its number, that are added to those of the line metrobus."""

    def write(self, folder: Path) -> Path:
        """Write the line's files into a subfolder and return it."""
        line = folder / self.name
        line.mkdir(exist_ok=True)
        (line / "services.py").write_text(self.services, "utf-8")
        (line / "routes.toml").write_text(self.rules, "utf-8")
        return line

    def workload(self, count: int, pack: int = 1) -> Workload:
        return make_workload(count, pack, self.evaluate, self.extra_fields)


def passing(stops: int) -> MadeLine:
    """Return a line of stops in a row that only pass records on."""
    names = [f"stop_{number}" for number in range(1, stops + 1)]
    return MadeLine(
        f"passing_{stops}",
        f"{stops} stops that pass records on",
        HEAD + "".join(_service(name) for name in names),
        "".join(_rule(after, to) for after, to in pairwise(["source", *names])),
        (names[0],),
        lambda record: record,
    )


def many_routes() -> MadeLine:
    """Return a line on which each record names one of 24 routes over four stops; stops note their visit."""
    rules = [
        _rule(after, to, f'match = {{ route = "{route}" }}\n')
        for route in ROUTES
        for after, to in pairwise(["source", *(f"stop_{letter}" for letter in route), "last"])
    ]
    return MadeLine(
        "many_routes",
        "24 routes over five stops",
        HEAD
        + "".join(_service(f"stop_{letter}", f'    record["seen"] += "{letter}"\n') for letter in "abcd")
        + _service("last"),
        "".join(rules),
        tuple(f"stop_{letter}" for letter in "abcd"),
        lambda record: record | {"seen": record["route"]},
        lambda number: {"route": ROUTES[number % len(ROUTES)], "seen": ""},
    )


def failing() -> MadeLine:
    """Return a line of three stops, the second of which fails twice for 30 % of the records."""
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
    """Return a line on which packs split four ways after the first stop and meet again at the last."""
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


def waiting() -> MadeLine:
    """Return a line of one stop that waits for 0.5 s and takes 64 records at once: at most 128 records per second."""
    return MadeLine(
        "waiting",
        "a stop that waits for 0.5 s, `concurrency=64`",
        WAITS,
        _rule("source", "wait"),
        ("wait",),
        lambda record: record,
    )


HARDER = (many_routes, failing, splitting)


def _service(name: str, body: str = "") -> str:
    return f"\n\n@service\ndef {name}(record):\n{body}    return record\n"


def _rule(after: str, to: str, condition: str = "") -> str:
    return f'[[rules]]\nafter = "{after}"\n{condition}to = "{to}"\n\n'
