"""Errors of services: reported with the place in the user's own code."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest
import uvloop

from metroline.agents.lines.metrobus import services
from metroline.agents.lookups import Lookup
from metroline.app.local.ports import free_port
from metroline.routing.service_errors import MAX_FRAMES, MAX_TRACE_CHARACTERS, describe_error, trace_of
from tests.support.lookups import built


def raised(call: Callable[[], Any]) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever it is
        call()
    return str(describe_error(caught.value))


def line_here() -> int:
    return sys._getframe(1).f_lineno


def test_the_place_is_the_one_that_raised() -> None:
    def charge() -> None:
        raise ValueError("no such card")

    assert raised(charge) == f"ValueError: no such card (test_service_errors.py:{line_here() - 2} in charge)"


@pytest.mark.parametrize("call", [lambda: json.loads("x"), lambda: pydantic.TypeAdapter(int).validate_python("x")])
def test_the_place_is_in_the_own_code_where_a_library_raised(call: Callable[[], Any]) -> None:
    assert raised(call).rstrip().endswith("in <lambda>)")
    assert "(test_service_errors.py:" in raised(call)


def test_the_place_is_in_the_own_code_where_a_compiled_library_raised() -> None:
    async def charge() -> None:
        await asyncio.open_connection("127.0.0.1", free_port())

    told = raised(lambda: uvloop.run(charge()))
    assert told.endswith(f"(test_service_errors.py:{line_here() - 3} in charge)")


def test_the_place_is_in_the_own_code_where_a_lookup_has_no_such_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKUP_DIR", str(tmp_path))
    built(tmp_path, {"a": 1})
    accounts = Lookup("accounts")
    assert raised(lambda: accounts["b"]) == f"KeyError: 'b' (test_service_errors.py:{line_here()} in <lambda>)"


def test_the_place_may_be_in_a_line_that_comes_along() -> None:
    assert raised(lambda: services.log({})).startswith("KeyError: 'message_type_code' (services.py:")


def test_an_error_that_was_never_raised_has_no_place() -> None:
    assert str(describe_error(KeyError("amount"))) == "KeyError: 'amount'"


def test_a_long_text_is_cut_and_keeps_the_place() -> None:
    def charge() -> None:
        raise ValueError("x" * 5_000)

    assert len(raised(charge)) < 1_100
    assert raised(charge).endswith(" in charge)")


def test_a_place_that_is_no_text_can_travel_all_the_same() -> None:
    code = compile("def f():\n    raise ValueError('x')\n", "a\udc80.py", "exec")
    module: dict[str, Any] = {}
    exec(code, module)
    assert raised(module["f"]).encode() == b"ValueError: x (a?.py:2 in f)"


def trace(call: Callable[[], Any]) -> list[str]:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever it is
        call()
    return trace_of(caught.value).splitlines()


def test_a_trace_has_the_calls_from_the_authors_code_inwards() -> None:
    def charge() -> None:
        json.loads("x")

    calls = trace(charge)
    assert calls[1] == f"test_service_errors.py:{line_here() - 3} in charge"
    assert calls[2].startswith("__init__.py:")
    assert calls[2].endswith(" in loads")


def test_a_trace_has_the_exceptions_that_caused_it() -> None:
    place = f"test_service_errors.py:{line_here() + 3} in look_up"

    def look_up() -> None:
        raise KeyError("card")

    def charge() -> None:
        try:
            look_up()
        except KeyError as error:
            raise ValueError("no such card") from error

    calls = trace(charge)
    assert calls.index("caused by KeyError: 'card'") < calls.index(place)


def test_a_deep_trace_loses_calls_in_its_middle() -> None:
    def dive(depth: int) -> None:
        if not depth:
            raise ValueError
        dive(depth - 1)

    calls = trace(lambda: dive(50))
    assert len(calls) == MAX_FRAMES + 1
    assert calls.count("…") == 1
    assert len("\n".join(calls)) <= MAX_TRACE_CHARACTERS


def test_an_error_that_was_never_raised_has_no_trace() -> None:
    assert trace_of(KeyError("amount")) == ""
