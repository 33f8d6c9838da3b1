"""A service with `reads` receives the same fields in a plain call, as a test makes it, as at its stop."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from typing import Any

import pytest

from metroline import Drop, service
from metroline.agents.services.service import Record


@service(reads=["account"])
def address(record: Record) -> Record | Drop:
    """Add the address."""
    if record["account"] is None:
        return Drop("no account")
    seen.append(dict(record))
    record["address"] = record.pop("account")
    return record


@service(reads=["account"], concurrency=2)
async def ask(record: Record, id: str = "") -> Record:
    await asyncio.sleep(0)
    return {"account": record["account"], "asked": id, "fields": sorted(record)}


@service(reads=["account"])
def name(record: Record) -> Record:
    return {"name": record["name"]}


seen: list[Record] = []


def test_the_function_receives_the_fields_that_it_reads_and_its_result_is_merged() -> None:
    seen.clear()
    record = {"account": 7, "total": 3}
    assert address(record) == {"total": 3, "address": 7}
    assert seen == [{"account": 7}]
    assert record == {"account": 7, "total": 3}


def test_another_answer_is_returned_as_it_is() -> None:
    assert address({"account": None}) == Drop("no account")


def test_an_async_function_stays_one() -> None:
    assert inspect.iscoroutinefunction(ask)
    answer = asyncio.run(ask({"account": 7, "total": 3}, id="source-0-1"))
    assert answer == {"account": 7, "total": 3, "asked": "source-0-1", "fields": ["account"]}


def test_a_field_that_is_not_read_is_missing_and_the_error_says_why() -> None:
    with pytest.raises(KeyError, match="name") as raised:
        name({"account": 7, "name": "Ann"})
    assert raised.value.__notes__ == ["its reads= names account, as at its stop"]


def test_a_field_that_the_record_does_not_have_is_the_records_fault() -> None:
    with pytest.raises(KeyError) as raised:
        address({})
    assert not hasattr(raised.value, "__notes__")


def test_the_function_keeps_its_name_and_its_documentation() -> None:
    assert (address.__name__, address.__doc__) == ("address", "Add the address.")
    assert pickle.loads(pickle.dumps(address)) is address


def test_a_service_that_reads_the_whole_record_is_the_function_itself() -> None:
    def price(record: Record) -> Record:
        return record

    made: Any = service(price)
    assert made is price


def test_a_worker_calls_the_function_and_not_the_one_for_plain_calls() -> None:
    marked: Any = address
    assert marked.__metroline__.handler is marked.__wrapped__
