"""The answers of a line that runs are as the OpenAPI document says, also those of pages that read its topics."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import schemathesis

from tests.support.brokers import Broker
from tests.support.openapi_requests import check, operations_of, schema_of, send_many
from tests.support.shown_line import TOKEN, shown_line

EXAMPLES = 8
"""Requests to each operation."""

PAGES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/journeys/", {"query": {"outcome": "dead"}}),
    ("/journeys/", {"query": {"where": "n > 3"}}),
    ("/journeys/{name}/", {"path_parameters": {"name": "{journey}"}}),
    ("/rules/", {}),
    ("/rules/{version}/", {"path_parameters": {"version": "1"}}),
    ("/compare/", {}),
    ("/journal/", {}),
    ("/dead-letters/", {"query": {"group": "{group}"}}),
    ("/dead-letters/", {"query": {"id": "{letter}"}}),
    ("/dead-letters/jobs/", {"query": {"job": "{job}"}}),
)
"""Requests that show something of the line."""


@pytest.mark.long
async def test_no_request_makes_a_page_of_a_line_fail_or_answer_in_another_form(
    embedded_broker: Broker, tmp_path: Path
) -> None:
    async with shown_line(embedded_broker, tmp_path) as line:
        schema = schema_of(await line.get("/api/openapi.json"), line.url)
        for path, given in PAGES:
            named = {
                part: {name: value.format(**line.ids) for name, value in values.items()}
                for part, values in given.items()
            }
            case = schema[path]["GET"].Case(**named)
            assert await asyncio.to_thread(check, case, TOKEN) == HTTPStatus.OK, path
        reached = set()
        for operation in operations_of(schema):
            for mode in schemathesis.GenerationMode:
                if await asyncio.to_thread(send_many, operation, mode, TOKEN, EXAMPLES):
                    reached.add(operation.label)
        assert reached == {operation.label for operation in operations_of(schema)}
        assert await line.get("/health/ready") is not None
