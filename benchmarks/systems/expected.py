"""The records of a run, and the result that a plain evaluation of the line expects for each."""

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
RecordResult = Record | str
"""A record as it is delivered, or the reason why it is dropped."""

WARM_UP = 50
"""Number of records that warm a system up. In any 50 records, the shares of the line's records are exact."""


def metrobus(record: Record) -> RecordResult:
    """Return the result of the line metrobus for a record."""
    account = record["account_number"]
    email = address_of(account)
    if email is None:
        return "no contact point"
    if not is_allowed(account):
        return "not on the allow list"
    return record | {"email": email, "logged": f"{record['message_type_code']} of account {account} to {email}"}


@dataclass(slots=True)
class Expected:
    """The records that must be delivered, as digests by message id, and the number of dropped ones by reason."""

    contents: dict[str, bytes] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)

    def add(self, record: Record, result: RecordResult) -> None:
        if isinstance(result, str):
            self.dropped[result] += 1
        else:
            self.contents[record["message_id"]] = digest(result)

    def __add__(self, other: Expected) -> Expected:
        return Expected(self.contents | other.contents, self.dropped + other.dropped)

    @property
    def records(self) -> int:
        return len(self.contents) + self.dropped.total()


@dataclass(slots=True)
class Delivered:
    """The delivered records: the digests of their contents by message id, and their total number."""

    contents: dict[str, set[bytes]] = field(default_factory=dict)
    total: int = 0

    def add(self, records: Iterable[Record]) -> None:
        for record in records:
            self.contents.setdefault(str(record.get("message_id")), set()).add(digest(record))
            self.total += 1

    @property
    def repeated(self) -> int:
        """Return the number of copies after the first of each record."""
        return self.total - len(self.contents)

    def problems(self, expected: Expected, *, may_lose: bool = False) -> list[str]:
        """Return one line for each kind of difference; none if the same ids were delivered with the same contents."""
        lost = expected.contents.keys() - self.contents.keys()
        unexpected = self.contents.keys() - expected.contents.keys()
        changed = [
            key
            for key, digests in self.contents.items()
            if key in expected.contents and digests != {expected.contents[key]}
        ]
        found = {"lost": set() if may_lose else lost, "not expected": unexpected, "with different content": changed}
        return [f"{len(keys)} records {problem}, for example {min(keys)}" for problem, keys in found.items() if keys]


def digest(record: Record) -> bytes:
    """Return a digest of a record's content that does not depend on the order of its fields."""
    return blake2b(orjson.dumps(record, option=orjson.OPT_SORT_KEYS), digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class Workload:
    """Source messages and their expected result, with a few messages before them that warm a system up."""

    messages: list[bytes]
    expected: Expected
    warm_up: list[bytes]
    warm_up_expected: Expected

    @property
    def all_expected(self) -> Expected:
        """Return the expected result of the warm-up and of the other messages together."""
        return self.warm_up_expected + self.expected


def make_workload(
    count: int,
    pack: int = 1,
    evaluate: Callable[[Record], RecordResult] = metrobus,
    extra_fields: Callable[[int], Mapping[str, Any]] = lambda _: {},
) -> Workload:
    """Make `count` records after the warm-up, `pack` per source message; `extra_fields` gets each record's number."""
    lines: list[bytes] = []
    warm_up_expected, expected = Expected(), Expected()
    for number, notice in enumerate(notices(WARM_UP + count, seed=1)):
        record = notice | dict(extra_fields(number))
        lines.append(orjson.dumps(record))
        (warm_up_expected if number < WARM_UP else expected).add(record, evaluate(record))
    warm_up, messages = list(_packed(lines[:WARM_UP], pack)), list(_packed(lines[WARM_UP:], pack))
    return Workload(messages, expected, warm_up, warm_up_expected)


def _packed(lines: Iterable[bytes], pack: int) -> Iterator[bytes]:
    return map(b"\n".join, batched(lines, pack))
