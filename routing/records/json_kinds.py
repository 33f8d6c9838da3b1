"""Finds which kinds of JSON values the fields of an object may have, from its JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Kinds = frozenset[str] | None
"""Names of kinds of JSON values: null, boolean, number, string, array, object; None for any."""

MAX_DEPTH = 16
"""Maximum number of references that are followed, since a schema may refer to itself."""

KINDS = {
    "null": "null",
    "boolean": "boolean",
    "integer": "number",
    "number": "number",
    "string": "string",
    "array": "array",
    "object": "object",
}

Schema = Mapping[str, Any]


def kind_of(value: object) -> str:
    """Return the kind of a decoded JSON value that is no list and no dict."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, (int, float)) else "string"


def object_in(schema: Schema, definitions: Schema) -> Schema:
    """Return the schema of an object itself, if `schema` only refers to it."""
    for _ in range(MAX_DEPTH):
        if "$ref" not in schema:
            break
        schema = definitions.get(str(schema["$ref"]).rpartition("/")[2], {})
    return schema


def kinds_in(schema: Schema, definitions: Schema, depth: int = 0) -> Kinds:
    """Return the kinds of the values that a schema admits, as far as it says so."""
    if depth > MAX_DEPTH:
        return None
    schema = object_in(schema, definitions)
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return frozenset(map(kind_of, values)) if not any(isinstance(one, (list, dict)) for one in values) else None
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            found = [kinds_in(one, definitions, depth + 1) for one in schema[choice]]
            return None if None in found else frozenset().union(*(one for one in found if one is not None))
    types = schema.get("type")
    names = [types] if isinstance(types, str) else types or []
    return frozenset(KINDS[name] for name in names if name in KINDS) or None
