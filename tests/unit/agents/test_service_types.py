"""Types of `@service`: a type checker sees a service as a plain function, and rejects one that cannot be a service."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.project import ROOT

BEGIN = """
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TypedDict, assert_type

import msgspec
from pydantic import BaseModel

from metroline import Drop, Record, Retry, Wait, resource, service


class Order(TypedDict):
    amount: int
"""

SERVICES = """
class Row(msgspec.Struct):
    amount: int

@dataclass
class Data:
    amount: int

class Model(BaseModel):
    amount: int

@resource(timeout=5)
async def pool() -> AsyncIterator[int]:
    yield 3

@service
def struct(row: Row) -> Row | Drop:
    return row

@service
async def data(row: Data, pool: int) -> Data | Model:
    return row

@service(batch=True, max_batch=10, max_wait=0.5)
async def all_of_them(rows: list[Row], ids: list[str]) -> list[Row | Retry | Exception]:
    return [ValueError() for _ in rows]

@service
def price(record: Record) -> Record | Drop | Retry | Wait:
    return record if record else Drop("empty")

@service(reads=["amount"], attempts=3)
async def ship(record: Record, id: str) -> Record:
    return record

@service(blocking=True)
def typed(order: Order) -> Order:
    return order

@service
def untyped(record):  # type: ignore[no-untyped-def]
    return record

assert_type(price({}), Record | Drop | Retry | Wait)
assert_type(typed({"amount": 1}), Order)

async def use() -> None:
    assert_type(await ship({}, "source-0-17"), Record)
    assert_type(await all_of_them([], []), list[Row | Retry | Exception])
    async with pool() as number:
        assert_type(number, int)
"""


def checked(folder: Path, code: str) -> list[str]:
    """Return mypy's errors for a line's module in strict mode, one per line."""
    module = folder / "services.py"
    module.write_text(BEGIN + textwrap.dedent(code))
    cache = ROOT / ".mypy_cache" / "services"
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(cache), str(module)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # mypy would change this process
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if ": error: " in line]


@pytest.fixture(autouse=True)
def checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Point mypy at this checkout, since the project's own settings do not apply to a user's module."""
    monkeypatch.setenv("MYPYPATH", str(ROOT))


def test_services_keep_their_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert checked(tmp_path, SERVICES) == []


def test_what_cannot_be_a_service_and_wrong_calls_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = """
        @service
        def number(record: Record) -> int:
            return 3

        @service(concurrency=2)
        async def nothing(record: Record) -> None:
            pass

        @service
        def some_day(record: Record) -> list[Record]:
            return [record]

        @service(batch=True)
        def one_for_all(records: list[Record]) -> Record:
            return records[0]

        @service
        def price(record: Record) -> Record:
            return record

        price(3)
        price({}).reason
    """
    errors = checked(tmp_path, code)

    assert [error.partition(" error: ")[2].partition("  [")[0] for error in errors] == [
        'Value of type variable "ServiceFunction" of "service" cannot be "Callable[[dict[str, Any]], int]"',
        'Value of type variable "ServiceFunction" of function cannot be '
        '"Callable[[dict[str, Any]], Coroutine[Any, Any, None]]"',
        'Value of type variable "ServiceFunction" of "service" cannot be '
        '"Callable[[dict[str, Any]], list[dict[str, Any]]]"',
        'Value of type variable "BatchFunction" of function cannot be '
        '"Callable[[list[dict[str, Any]]], dict[str, Any]]"',
        'Argument 1 to "price" has incompatible type "int"; expected "dict[str, Any]"',
        '"dict[str, Any]" has no attribute "reason"',
    ]
