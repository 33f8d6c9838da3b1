"""Declares what a page is for programs: its parameters, its body and its answers, for the OpenAPI document.

A view lists its operations in `api`. The path and who may use it come from the routes themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

from msgspec import Struct
from pydantic import BaseModel


class Error(Struct, frozen=True):
    """The answer to a request that is not carried out: one line that says why."""

    error: str


@dataclass(frozen=True, slots=True)
class Together:
    """An object with the fields of several types."""

    types: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """A value of one of several types."""

    types: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a path or of a query."""

    name: str
    description: str
    type: Any = str
    """Type of its value, as msgspec reads it."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of a page."""

    method: Literal["get", "post"]
    summary: str
    answer: Any
    """Type of the answer, or types that are combined by `Together` and `Either`."""
    parameters: tuple[Parameter, ...] = ()
    """Parameters of the path, and of the query: those that the path does not name."""
    body: type[BaseModel | Struct] | None = None
    """Type of the body, which is JSON."""
    others: Mapping[HTTPStatus, Any] = field(default_factory=dict)
    """Types of further answers, by status. Those that every page may give are added."""
    media: str = "application/json"
    """Type of the content of the answer."""
    is_form: bool = False
    """True if the body is a form of a browser, and the answer leads to another page."""
