"""The OpenAPI document of the pages that programs use (https://spec.openapis.org/oas/v3.1.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, cast

import orjson
from aiohttp.web import Request as AiohttpRequest
from faust import web
from faust.web.drivers.aiohttp import Web
from msgspec.json import schema_components
from pydantic import BaseModel

from metroline.app.views.access.doors import ACCESS, FORM_TOKEN_HEADER, NAME_HEADER, Door, door_of
from metroline.app.views.access.forms import FORM_TYPE
from metroline.app.views.operation import Either, Error, Operation, Together
from metroline.app.views.view import NOT_STORED, LineView

REFERENCE = "#/components/schemas/{name}"

PATH_PARAMETER = re.compile(r"\{(\w+)(?::[^}]*)?\}")
"""A parameter in the pattern of a route, with the expression that its value matches."""

EVERYWHERE = (HTTPStatus.BAD_REQUEST, HTTPStatus.MISDIRECTED_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE)
"""Answers that any page may give: to what is no HTTP request, to one for another host, and while a worker stops."""

CLOSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS)
"""Answers of pages that need a login."""

WRITING = (
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
)
"""Answers of pages that write."""

STATUSES = {Door.OPEN: EVERYWHERE, Door.READ: (*EVERYWHERE, *CLOSED), Door.WRITE: (*EVERYWHERE, *CLOSED, *WRITING)}

WITH_TOKEN: dict[str, list[str]] = {"token": []}
WITH_LOGIN: dict[str, list[str]] = {"login": []}
WITH_FORM: dict[str, list[str]] = {"login": [], "form": []}
SECURITY: dict[Door, list[dict[str, list[str]]]] = {
    Door.OPEN: [],
    Door.READ: [{}, WITH_TOKEN, WITH_LOGIN],  # nothing on loopback
    Door.WRITE: [WITH_TOKEN, WITH_FORM],
}


class OpenApiView(LineView):
    """The document itself."""

    api = (Operation("get", "This document", dict[str, Any]),)

    async def get(self, request: web.Request) -> web.Response:
        logins = cast(AiohttpRequest, request).app[ACCESS].logins()
        found = document(cast(Web, self.web).views, "metroline" if logins is None else logins.cookie)
        body = orjson.dumps(found, option=orjson.OPT_INDENT_2)
        return self.bytes(body, content_type="application/json", headers=dict(NOT_STORED))


def document(views: Mapping[str, web.View], cookie: str) -> dict[str, Any]:
    """Return the document of these views, by the patterns of their paths. `cookie` is the name of that of a login."""
    operations = list(_operations(views))
    schemas, components = _schemas(operations)
    paths: dict[str, Any] = {}
    for pattern, operation in operations:
        described = _described(pattern, operation, schemas)
        paths.setdefault(PATH_PARAMETER.sub(r"{\1}", pattern), {})[operation.method] = described
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Metroline",
            "version": "1",
            "description": "The pages of a worker, as programs use them. Later versions may add fields and pages; they "
            "remove none.",
        },
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _security_schemes(cookie)},
    }


def _operations(views: Mapping[str, web.View]) -> Iterator[tuple[str, Operation]]:
    """Yield each operation with the pattern of its path; one of two patterns that a slash at the end tells apart."""
    for pattern, view in sorted(views.items()):
        if isinstance(view, LineView) and f"{pattern}/" not in views:
            yield from ((pattern, operation) for operation in view.api)


def _schemas(operations: list[tuple[str, Operation]]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """Return the schema of each type that the operations name, and the schemas to which these refer."""
    types: list[Any] = [Error]
    bodies: dict[Any, Any] = {}
    components: dict[str, Any] = {}
    for _, operation in operations:
        types += [parameter.type for parameter in operation.parameters]
        for answer in (operation.answer, *operation.others.values()):
            types += _types_in(answer)
        if operation.body is None:
            continue
        if issubclass(operation.body, BaseModel):
            made = operation.body.model_json_schema(ref_template=REFERENCE.replace("{name}", "{model}"))
            components |= made.pop("$defs", {})
            bodies[operation.body] = made
        else:
            types.append(operation.body)
    found, more = schema_components(types, ref_template=REFERENCE)
    return dict(zip(types, found, strict=True)) | bodies, dict(sorted((components | more).items()))


def _types_in(answer: Any) -> Iterator[Any]:
    if isinstance(answer, (Together, Either)):
        for one in answer.types:
            yield from _types_in(one)
    else:
        yield answer


def _described(pattern: str, operation: Operation, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    door, in_path = door_of(operation.method.upper(), pattern), PATH_PARAMETER.findall(pattern)
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": re.sub(r"\W+", "_", f"{operation.method} {pattern}").strip("_"),
        "security": SECURITY[door],
        "responses": _responses(operation, door, schemas),
    }
    parameters: list[dict[str, Any]] = [
        {
            "name": one.name,
            "in": "path" if one.name in in_path else "query",
            "required": one.name in in_path,
            "description": one.description,
            "schema": schemas[one.type],
        }
        for one in operation.parameters
    ]
    if door is Door.WRITE and not operation.is_form:
        about = "The name in which a program writes, for the history. Nobody checks it."
        parameters.append({"name": NAME_HEADER, "in": "header", "description": about, "schema": {"type": "string"}})
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        media = FORM_TYPE if operation.is_form else "application/json"
        described["requestBody"] = {"required": True, "content": {media: {"schema": schemas[operation.body]}}}
    return described


def _responses(operation: Operation, door: Door, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    answers: dict[HTTPStatus, Any] = dict.fromkeys(STATUSES[door], Error) | dict(operation.others)
    if operation.is_form:
        done: dict[str, Any] = {"303": {"description": "Done; `Location` has the page to go on with"}}
    else:
        schema = _schema(operation.answer, schemas)
        done = {"200": {"description": operation.summary, "content": {operation.media: {"schema": schema}}}}
    others = {
        str(int(status)): {
            "description": status.phrase,
            "content": {"application/json": {"schema": _schema(answer, schemas)}},
        }
        for status, answer in sorted(answers.items())
    }
    return done | others


def _schema(answer: Any, schemas: Mapping[Any, Any]) -> Any:
    if isinstance(answer, Together):
        return {"allOf": [_schema(one, schemas) for one in answer.types]}
    if isinstance(answer, Either):
        return {"anyOf": [_schema(one, schemas) for one in answer.types]}
    return schemas[answer]


def _security_schemes(cookie: str) -> dict[str, Any]:
    return {
        "token": {"type": "http", "scheme": "bearer", "description": "METROLINE_TOKEN of the workers"},
        "login": {"type": "apiKey", "in": "cookie", "name": cookie, "description": "The cookie of /login"},
        "form": {
            "type": "apiKey",
            "in": "header",
            "name": FORM_TOKEN_HEADER,
            "description": "`form_token` of /login; a form may have it as its field of that name",
        },
    }
