"""Declarations of a line beside its services: resources, settings of its own, and types of records."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from metroline import resource, service
from metroline.agents.services.line import Line
from metroline.agents.services.own_settings import InvalidOwnSettings
from metroline.routing.errors import InvalidLine

BEGIN = """
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from metroline import Drop, Record, Retry, resource, service

"""

Loader = Callable[[str], Line]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loader:
    """Return a function that loads a line with this code in services.py."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "routes.toml").write_text('[[rules]]\nafter = "source"\nto = "price"\n')

    def load(code: str) -> Line:
        (tmp_path / "services.py").write_text(BEGIN + textwrap.dedent(code))
        return Line.load(str(tmp_path))

    return load


# ---------------------------------------------------------------------------------------------------------- resources


def test_a_line_has_the_resources_of_its_code_and_its_settings(load: Loader) -> None:
    line = load("""
        class Settings(BaseSettings):
            url: str = "none"

        @resource(timeout=5)
        async def pool(settings):
            yield settings.url

        @service
        async def price(record, pool, settings, limit=3):
            return record
        """)
    assert sorted(line.resources) == ["pool", "settings"]
    assert line.resources["pool"].timeout == 5
    assert line.services["price"].others == {"pool": True, "settings": True, "limit": False}


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("def price(record, pol): ...", "it would be called without 'pol': .* pool; did you mean 'pool'"),
        ("def price(record, settings): ...", "it would be called without 'settings'"),
        ("def price(record, ids): ...", "it would be called without 'ids': beside the record, .* id and meta"),
    ],
)
def test_a_parameter_for_which_nothing_is_passed_is_refused_when_the_line_is_loaded(
    load: Loader, code: str, problem: str
) -> None:
    with pytest.raises(InvalidLine, match=problem):
        load(f"""
            @resource
            async def pool():
                yield

            @service
            {code}
            """)


def test_a_line_without_resources_says_so(load: Loader) -> None:
    with pytest.raises(
        InvalidLine, match=r"without 'pool': .* resources and settings of the line, of which there are none"
    ):
        load("@service\ndef price(record, pool): ...")


def test_a_resource_that_needs_what_is_not_there_or_itself_is_refused(load: Loader) -> None:
    with pytest.raises(InvalidLine, match="resource 'pool': it would be opened without 'log'"):
        load("@resource\nasync def pool(log):\n    yield\n\n@service\ndef price(record): ...")
    with pytest.raises(InvalidLine, match="the resources need each other, so none can be opened first: "):
        load("""
            @resource
            async def pool(log):
                yield

            @resource
            async def log(pool):
                yield

            @service
            def price(record): ...
            """)


def test_two_resources_of_one_name_are_refused(load: Loader) -> None:
    with pytest.raises(InvalidLine, match="two resources are named 'pool'"):
        load("""
            @resource
            async def pool():
                yield

            @resource(name="pool")
            async def other():
                yield

            @service
            def price(record): ...
            """)


wrong: Any = resource


async def generates() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: wrong(lambda: 1), "needs the name of a parameter"),
        (lambda: wrong(print), "must be an async function with one yield"),
        (lambda: resource(name="meta")(generates), "needs the name of a parameter, which is none of "),
        (lambda: resource(timeout=0)(generates), "timeout must be a number of seconds above 0"),
    ],
)
def test_what_cannot_be_a_resource_is_refused(make: Callable[[], Any], problem: str) -> None:
    with pytest.raises(InvalidLine, match=problem):
        make()


async def test_a_resource_can_be_opened_by_itself() -> None:
    async with resource(generates)() as value:
        assert value == 1


# ----------------------------------------------------------------------------------------------------------- settings

SETTINGS = """
class Settings(BaseSettings, env_prefix="shop_"):
    url: str
    limit: int = Field(3, gt=0)
    token: SecretStr = SecretStr("none")

@service
def price(record, settings):
    return record
"""


def test_settings_come_from_the_environment(load: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_URL", "http://127.0.0.1")
    monkeypatch.setenv("SHOP_LIMIT", "")  # counts as not set
    load(SETTINGS).check_settings()


def test_all_problems_are_named_by_their_variables_and_no_value_is_shown(
    load: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_LIMIT", "-4711")
    line = load(SETTINGS)
    with pytest.raises(InvalidOwnSettings) as raised:
        line.check_settings()
    assert str(raised.value) == (
        "the settings of the line: SHOP_URL is missing from the environment; SHOP_LIMIT: Input should be greater than 0"
    )
    assert raised.value.exit_code == 2


def test_settings_that_are_no_settings_are_refused(load: Loader) -> None:
    with pytest.raises(InvalidLine, match=r"Settings in .* must be a subclass of pydantic_settings.BaseSettings"):
        load("class Settings: ...\n\n@service\ndef price(record): ...")


def test_a_list_that_is_no_json_names_its_field_and_not_what_its_variable_holds(
    load: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTS", "secret.example")
    line = load("class Settings(BaseSettings):\n    hosts: list[str]\n\n@service\ndef price(order): ...\n")
    with pytest.raises(InvalidOwnSettings, match=r'"hosts" .*: a list or an object is written as JSON') as raised:
        line.check_settings()
    assert "secret" not in str(raised.value)


# -------------------------------------------------------------------------------------------------------------- types


@pytest.mark.parametrize(
    ("signature", "taken", "returned"),
    [
        ("record: Order) -> Order", "Order", "Order"),
        ("record: Order | None) -> Order | Drop | Retry", "Order", "Order"),
        ('record: "Order") -> dict[str, Any]', "Order", None),
        ("record: Order) -> Order | dict", "Order", None),
        ("record: Order) -> Order | Row", "Order", None),
        ("record: dict) -> Row", None, "Row"),
        ("record: Web | Shop) -> Record", "Web | Shop", None),
    ],
)
def test_the_types_of_records_are_those_of_the_annotations(
    load: Loader, signature: str, taken: str | None, returned: str | None
) -> None:
    types = load(TYPES + f"@service\ndef price({signature}: ...").services["price"].types
    assert types is not None
    assert (types.taken and types.taken.name) == taken
    assert (types.returned and types.returned.name) == returned


TYPES = """
class Order(TypedDict):
    amount: int

@dataclass
class Row:
    amount: int

class Web(msgspec.Struct, tag=True):
    url: str

class Shop(msgspec.Struct, tag=True):
    place: str

"""


@pytest.mark.parametrize(
    "annotation", ["", ": dict", ": dict[str, int]", ": Record", ": Any", ": object", ": 'dict[str, Any]'"]
)
def test_dicts_stay_as_they_are(load: Loader, annotation: str) -> None:
    price = load(f"@service\ndef price(record{annotation}): ...").services["price"]
    assert price.types is None
    assert price.reads is None


def test_a_service_receives_the_fields_of_its_type_unless_it_says_what_it_reads(load: Loader) -> None:
    services = load(
        TYPES
        + "@service\ndef price(record: Order): ...\n\n"
        + "@service(reads=['amount', 'id'])\ndef more(record: Order): ...\n\n"
        + "@service(batch=True)\ndef all_of_them(records: list[Order]) -> list[Order | Exception]: ...\n"
    ).services
    assert services["price"].reads == frozenset({"amount"})
    assert services["more"].reads == frozenset({"amount", "id"})
    types = services["all_of_them"].types
    assert types is not None
    assert types.taken is not None
    assert (types.taken.name, types.returned and types.returned.name) == ("Order", "Order")


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (
            "@service\ndef price(record: int): ...",
            "service 'price': a record cannot be read as int: declare a TypedDict",
        ),
        ("@service\ndef price(record: Order | Row): ...", "a record cannot be read as "),
        ("@service(batch=True)\ndef price(records: Order): ...", "a batch is a list of records: write list\\[Order]"),
        (
            "@service(batch=True)\ndef price(records: list[Order]) -> Order: ...",
            "it returns a list with an answer for each record: write -> list\\[Order]",
        ),
        (
            "if TYPE_CHECKING:\n    from other import Thing\n\n@service\ndef price(record: Thing): ...",
            "its annotation Thing cannot be evaluated .*: import what it names at the top of the module",
        ),
    ],
)
def test_a_type_that_cannot_be_read_is_refused_when_the_line_is_loaded(load: Loader, code: str, problem: str) -> None:
    with pytest.raises(InvalidLine, match=problem):
        load(TYPES + code)


# ------------------------------------------------------------------------------------------------------------ batches


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"batch": 3}, "batch must be True or False, not 3"),
        ({"max_batch": 3}, "max_batch and max_wait need batch=True"),
        ({"batch": True, "ordered": True}, "ordered is for services that handle one record after the other"),
        ({"batch": True, "max_batch": 0}, "max_batch must be an integer from 1 to 10000, not 0"),
        ({"batch": True, "max_batch": 1.5}, "max_batch must be an integer"),
        ({"batch": True, "max_wait": -1}, "max_wait must be a number of seconds from 0 to 60, not -1"),
        ({"batch": True, "rate": "often"}, "rate must be "),
        ({"batch": True, "pause_after": 1}, "pause_after must be an integer of 2 or more records, not 1"),
        ({"batch": True, "concurrency": 2}, "concurrency above 1 needs an async function or blocking=True"),
    ],
)
def test_parameters_of_batches_that_make_no_sense_are_refused(parameters: Any, problem: str) -> None:
    def price(records: Any) -> Any: ...

    decorate: Any = service
    with pytest.raises(InvalidLine, match=f"service 'price': {problem}"):
        decorate(**parameters)(price)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"concurrency": 2.0}, "concurrency must be an integer of 1 or more, not 2.0"),
        ({"concurrency": True}, "concurrency must be an integer of 1 or more, not True"),
        ({"concurrency": "8"}, "concurrency must be an integer of 1 or more, not '8'"),
        ({"blocking": "no"}, "blocking must be True or False, not 'no'"),
        ({"timeout": True}, "timeout must be a number of seconds above 0, not True"),
        ({"reads": 3}, "reads must be a list of names of fields, not 3"),
        ({"reads": b"ab"}, "reads must be a list of names of fields, not b'ab'"),
    ],
)
def test_an_option_of_another_kind_is_refused_before_a_record_comes(options: dict[str, Any], problem: str) -> None:
    async def price(record: dict[str, Any]) -> dict[str, Any]:
        return record

    decorate: Any = service
    with pytest.raises(InvalidLine, match=f"service 'price': {problem}"):
        decorate(**options)(price)


def test_a_function_that_yields_is_no_service() -> None:
    def plain(record: dict[str, Any]) -> Any:
        yield record

    async def later(record: dict[str, Any]) -> Any:
        yield record

    for function in (plain, later):
        with pytest.raises(InvalidLine, match="the function must return its answer, and it has a yield"):
            service(function)
