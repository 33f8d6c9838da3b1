"""Records as the types that services declare: what fits is read, and what does not is told with the field's path."""

from __future__ import annotations

import dataclasses
import typing
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import attrs
import msgspec
import pydantic
import pydantic.dataclasses
import pytest

from metroline.routing.errors import SchemaMismatch
from metroline.routing.outcome import Drop
from metroline.routing.records.record_types import DeclaredTypes, UnusableType, is_record_class, record_type


class ItemDict(TypedDict):
    price: float


class OrderDict(TypedDict):
    id: str
    items: list[ItemDict]
    note: NotRequired[str]


@dataclasses.dataclass
class Item:
    price: float


@dataclasses.dataclass
class OrderData:
    id: str
    items: list[Item]
    note: str | None = None


class ItemStruct(msgspec.Struct):
    price: float


class OrderStruct(msgspec.Struct):
    id: str
    items: list[ItemStruct]
    note: str | None = None


class ItemModel(pydantic.BaseModel):
    price: float


class OrderModel(pydantic.BaseModel):
    id: str
    items: list[ItemModel]
    note: str | None = None


@pydantic.dataclasses.dataclass
class OrderPydantic:
    id: str
    items: list[ItemModel]
    note: str | None = None


@attrs.define
class OrderAttrs:
    id: str
    items: list[Item]
    note: str | None = None


KINDS = [OrderDict, OrderData, OrderStruct, OrderModel, OrderPydantic, OrderAttrs]
GOOD = {"id": "7", "items": [{"price": 1.5}], "note": "soon"}


def types_of(taken: Any = None, returned: Any = None) -> DeclaredTypes:
    return DeclaredTypes(*(None if one is None else record_type(one, one.__name__) for one in (taken, returned)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_is_read_as_the_type_and_written_back_as_it_was(kind: Any) -> None:
    types = types_of(kind, kind)
    value = types.read(GOOD)
    assert value == GOOD if kind is OrderDict else type(value) is kind
    assert types.written(value) == GOOD
    assert types.reads == frozenset({"id", "items", "note"})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("record", "path", "said"),
    [
        ({"id": "7", "items": [{"price": 1}, {"price": "x"}]}, "items[1].price", ("expected", "valid number")),
        ({"id": "7", "items": [{}]}, "items[0].price", ("is missing",)),
        ({"items": []}, "id", ("is missing",)),
        ({"id": None, "items": []}, "id", ("expected str, got null", "valid string")),
    ],
)
def test_what_does_not_fit_is_told_with_its_path(
    kind: Any, record: dict[str, Any], path: str, said: tuple[str, ...]
) -> None:
    with pytest.raises(SchemaMismatch) as raised:
        types_of(kind).read(record)
    assert str(raised.value).startswith(f"{kind.__name__}: {path}: ")
    assert any(words in str(raised.value) for words in said)


@pytest.mark.parametrize("kind", KINDS)
def test_a_returned_dict_is_checked_and_stays_as_it_is(kind: Any) -> None:
    types = types_of(None, kind)
    record = {"id": "7", "items": [{"price": 1}], "other": {1, 2}}
    assert types.written(record) is record
    with pytest.raises(SchemaMismatch, match=f"{kind.__name__}: it returned id: "):
        types.written({"id": 7, "items": []})


@pytest.mark.parametrize("kind", [OrderData, OrderStruct, OrderModel])
def test_a_returned_instance_is_checked_too_since_its_fields_can_be_set_to_anything(kind: Any) -> None:
    types = types_of(kind, kind)
    order = types.read(GOOD)
    order.id = 7
    with pytest.raises(SchemaMismatch, match=f"{kind.__name__}: it returned "):
        types.written(order)


def test_an_instance_of_another_model_is_checked() -> None:
    with pytest.raises(SchemaMismatch, match="OrderModel: it returned id: is missing"):
        types_of(None, OrderModel).written(ItemModel(price=1))


def test_instances_are_written_as_dicts_also_where_the_service_does_not_say_what_it_returns() -> None:
    types = types_of(OrderStruct)
    assert types.written(OrderModel(id="7", items=[])) == {"id": "7", "items": [], "note": None}
    assert types.written(Drop("gone")) == Drop("gone")
    assert types.written(None) is None


class Sale(msgspec.Struct, rename="camel", omit_defaults=True):
    sold_at: datetime
    total_price: Decimal
    kind: Literal["web", "shop"] = "web"


def test_values_that_json_lacks_are_read_from_text_and_written_as_text() -> None:
    types = types_of(Sale, Sale)
    record = {"soldAt": "2026-01-17T09:30:00Z", "totalPrice": "9.90"}
    sale = types.read(record)
    assert sale.total_price == Decimal("9.90")
    assert types.written(sale) == record
    assert types.reads == frozenset({"soldAt", "totalPrice", "kind"})


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    id: str


class Closed(msgspec.Struct, forbid_unknown_fields=True):
    id: str


class Renamed(pydantic.BaseModel):
    id: Annotated[str, pydantic.Field(alias="orderId")]


def test_a_type_that_takes_or_refuses_other_fields_gets_the_whole_record() -> None:
    assert types_of(Open).reads is types_of(Closed).reads is None
    assert types_of(Open, Open).written(types_of(Open).read({"id": "7", "more": 1})) == {"id": "7", "more": 1}
    with pytest.raises(SchemaMismatch, match=r"Closed: .*unknown field `?more"):
        types_of(Closed).read({"id": "7", "more": 1})


def test_fields_have_the_names_that_records_have() -> None:
    types = types_of(Renamed, Renamed)
    assert types.reads == frozenset({"orderId"})
    assert types.written(types.read({"orderId": "7"})) == {"orderId": "7"}


class Web(msgspec.Struct, tag="web"):
    url: str


class Shop(msgspec.Struct, tag="shop"):
    place: str


def test_a_union_of_structs_is_read_by_its_tags() -> None:
    types = DeclaredTypes(record_type(Web | Shop, "Web | Shop"))
    assert types.read({"type": "shop", "place": "Ulm"}) == Shop("Ulm")
    assert types.reads == frozenset({"type", "url", "place"}), "all other fields travel on"
    with pytest.raises(SchemaMismatch, match="type"):
        types.read({"type": "fax"})


class Named(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True)
    id: int = pydantic.Field(alias="orderId")
    city: str = pydantic.Field(validation_alias=pydantic.AliasChoices("town", pydantic.AliasPath("address", "city")))


def test_a_model_reads_all_names_that_a_field_may_have_and_leaves_the_others_alone() -> None:
    reads = DeclaredTypes(record_type(Named, "Named")).reads
    assert reads == frozenset({"id", "orderId", "city", "town", "address"})


class Gone(Drop):
    pass


@dataclasses.dataclass
class Refused(Exception):
    why: str


def test_answers_and_exceptions_of_the_authors_own_are_no_records() -> None:
    types = DeclaredTypes(record_type(Shop, "Shop"))
    gone = Gone("sold out")
    assert types.written(gone) is gone
    assert not is_record_class(Gone)
    assert not is_record_class(Refused)


class Own:
    pass


class Unreadable(msgspec.Struct):
    own: Own


@pytest.mark.parametrize("kind", [Unreadable, int])
def test_a_type_that_no_record_can_be_read_as_is_refused(kind: type) -> None:
    with pytest.raises(UnusableType):
        record_type(kind, kind.__name__)


class Checked(msgspec.Struct):
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")
        if self.low < 0:
            raise KeyError("negative")
        if self.low > 100:
            raise SystemExit(3)


def test_what_the_authors_own_checks_raise_is_told() -> None:
    with pytest.raises(SchemaMismatch, match="Checked: low is above high"):
        types_of(Checked).read({"low": 2, "high": 1})
    with pytest.raises(SchemaMismatch, match="Checked: KeyError: 'negative'"):
        types_of(Checked).read({"low": -1, "high": 1})
    with pytest.raises(SchemaMismatch, match="Checked: SystemExit: 3"):
        types_of(Checked).read({"low": 101, "high": 101})


class CheckedModel(pydantic.BaseModel):
    low: int

    @pydantic.field_validator("low")
    @classmethod
    def give_up(cls, low: int) -> int:
        raise KeyboardInterrupt(low)


def test_a_check_of_a_model_cannot_end_the_worker_either() -> None:
    with pytest.raises(SchemaMismatch, match="CheckedModel: KeyboardInterrupt: 1"):
        types_of(CheckedModel).read({"low": 1})


def unknown_utf8() -> str:
    """Return a name as a module that was compiled before has it: CPython makes its UTF-8 when it is asked for it."""
    return "".join(["gr", "\u00f6", "\u00df", "e"])


SizedDict: Any = getattr(typing, "TypedDict")("SizedDict", {unknown_utf8(): int})  # noqa: B009 - not for mypy


@pytest.mark.parametrize(
    "kind",
    [
        SizedDict,
        dataclasses.make_dataclass("Sized", [(unknown_utf8(), int)]),
        attrs.make_class("SizedAttrs", {unknown_utf8(): attrs.field(type=int)}),
        msgspec.defstruct("SizedStruct", [("size", int)], rename={"size": unknown_utf8()}),
        pydantic.create_model("SizedModel", **{unknown_utf8(): (int, ...)}),  # type: ignore[call-overload]
    ],
)
def test_fields_whose_names_are_not_ascii_are_read(kind: Any) -> None:
    nested = dataclasses.make_dataclass("Nested", [("parts", list[kind])])
    assert types_of(kind).written(types_of(kind).read({unknown_utf8(): 3})) == {"gr\u00f6\u00dfe": 3}
    if not issubclass(kind, pydantic.BaseModel):
        types_of(nested).read({"parts": [{unknown_utf8(): 3}]})


class Login(pydantic.BaseModel):
    user: str
    password: pydantic.SecretStr | None = None


class Visit(pydantic.BaseModel):
    logins: list[Login]


@pytest.mark.parametrize("kind", [Login, Visit])
def test_a_type_whose_secrets_would_become_asterisks_is_refused(kind: type) -> None:
    with pytest.raises(UnusableType, match=r"the field password of .* is a secret, of which pydantic writes asterisks"):
        record_type(kind, kind.__name__)


def test_a_field_of_a_model_that_was_set_to_another_kind_is_named() -> None:
    model = OrderModel.model_validate(GOOD)
    model.items[0].price = "high"  # type: ignore[assignment]
    with pytest.raises(SchemaMismatch, match=r"OrderModel: it returned price: expected float, got str"):
        types_of(OrderModel, OrderModel).written(model)


def test_the_kinds_of_fields_are_those_of_the_schema() -> None:
    class Shape(msgspec.Struct):
        n: int
        maybe: float | None
        one_of: Literal["a", 1]
        parts: list[int]
        inner: ItemStruct
        anything: Any

    assert record_type(Shape, "Shape").fields(is_returned=True) == {
        "n": {"number"},
        "maybe": {"number", "null"},
        "one_of": {"string", "number"},
        "parts": {"array"},
        "inner": {"object"},
        "anything": None,
    }
