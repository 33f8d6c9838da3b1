"""Requests that schemathesis makes from an OpenAPI document, and the check that their answers are what it says."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]


def schema_of(document: dict[str, Any], url: str) -> Any:
    """Return what schemathesis makes of a document, for the worker at this address."""
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url)
    return schema


def operations_of(schema: Any) -> list[Any]:
    """Return all operations, those of the login last: after wrong tokens, it lets nobody in for a while."""
    return sorted((found.ok() for found in schema.get_all_operations()), key=lambda one: one.path == "/login")


def check(case: Any, token: str) -> int:
    """Send a request, and check that what comes back is what the document says. Return the status."""
    response = case.call(headers={"Authorization": f"Bearer {token}"}, allow_redirects=False, timeout=30)
    is_health = '"conditions"' in response.text
    assert response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR or is_health, response.text
    if response.status_code != HTTPStatus.SEE_OTHER:
        case.validate_response(response, checks=CHECKS)
    return int(response.status_code)


def send_many(operation: Any, mode: schemathesis.GenerationMode, token: str, count: int) -> Collection[int]:
    """Send `count` requests that the document allows, or that it forbids, and check each. Return their statuses.

    There are none where the document allows everything.
    """
    statuses = set()

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def send_one(case: Any) -> None:
        statuses.add(check(case, token))

    with warnings.catch_warnings(), suppress(Unsatisfiable):
        warnings.simplefilter("ignore")
        send_one()
    assert statuses or mode.is_negative, f"nothing was sent to {operation.label}"
    assert not {401, 429} & statuses or operation.path == "/login", f"{operation.label} was not reached"
    return statuses
