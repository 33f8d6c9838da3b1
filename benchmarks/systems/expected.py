"""The records of a run, and what a plain evaluation of the line says must become of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson

from metroline.agents.lines.metrobus.customers import address_of, is_allowed
from metroline.agents.lines.metrobus.records import records as notices
from metroline.app.inputs.source_records import batched

Record = dict[str, Any]
Fate = Record | str
"""A record as it is delivered, or the reason why it is dropped."""

WARM_UP = 50
"""Records that a system takes before it is measured: the shares of the line's records are exact in any 50."""


def metrobus(record: Record) -> Fate:
    """What the line metrobus does with a record."""
    account = record["account_number"]
    email = address_of(account)
    if email is None:
        return "no contact point"
    if not is_allowed(account):
        return "not on the allow list"
    return record | {"email": email, "logged": f"{record['message_type_code']} of account {account} to {email}"}


@dataclass(slots=True)
class Expected:
    """What must be delivered, as a digest by message id, and how many are dropped."""

    contents: dict[str, bytes] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)

    def add(self, record: Record, fate: Fate) -> None:
        if isinstance(fate, str):
            self.dropped[fate] += 1
        else:
            self.contents[record["message_id"]] = digest(fate)

    @property
    def records(self) -> int:
        return len(self.contents) + self.dropped.total()


@dataclass(slots=True)
class Delivered:
    """What was delivered: a digest of each record's content by its id, and how often it came."""

    contents: dict[str, set[bytes]] = field(default_factory=dict)
    total: int = 0

    def add(self, records: Iterable[Record]) -> None:
        for record in records:
            self.contents.setdefault(str(record.get("message_id")), set()).add(digest(record))
            self.total += 1

    @property
    def repeated(self) -> int:
        """Records that came again."""
        return self.total - len(self.contents)

    def problems(self, expected: Expected, *, may_lose: bool = False) -> list[str]:
        """What is not as it must be, one line a kind; empty if the same ids came with the same contents."""
        lost = expected.contents.keys() - self.contents.keys()
        strange = self.contents.keys() - expected.contents.keys()
        changed = [
            key
            for key, digests in self.contents.items()
            if key in expected.contents and digests != {expected.contents[key]}
        ]
        found = {"lost": set() if may_lose else lost, "not expected": strange, "with another content": changed}
        return [f"{len(keys)} records {what}, {min(keys)} for one" for what, keys in found.items() if keys]


def digest(record: Record) -> bytes:
    """Of a record's content, whatever the order of its fields."""
    return blake2b(orjson.dumps(record, option=orjson.OPT_SORT_KEYS), digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class Work:
    """Records to be sent and what must become of them; the first `WARM_UP` of them warm a system up."""

    messages: list[bytes]
    expected: Expected
    warm_up: list[bytes]
    warmed_up: Expected


def make_work(
    count: int,
    pack: int = 1,
    fate: Callable[[Record], Fate] = metrobus,
    more: Callable[[int], Mapping[str, Any]] = lambda _: {},
) -> Work:
    """Work of `count` records besides the warm-up, `pack` a source message; `more` adds fields by number."""
    lines: list[bytes] = []
    warmed_up, expected = Expected(), Expected()
    for number, notice in enumerate(notices(WARM_UP + count, seed=1)):
        record = notice | dict(more(number))
        lines.append(orjson.dumps(record))
        (warmed_up if number < WARM_UP else expected).add(record, fate(record))
    return Work(list(_packed(lines[WARM_UP:], pack)), expected, list(_packed(lines[:WARM_UP], pack)), warmed_up)


def _packed(lines: Iterable[bytes], pack: int) -> Iterator[bytes]:
    return map(b"\n".join, batched(lines, pack))
