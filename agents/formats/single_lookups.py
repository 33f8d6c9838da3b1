"""Looks up schemas for a command, which asks once and is told at once what is wrong."""

from __future__ import annotations

from collections.abc import Callable

from metroline.agents.formats.lookups import Messages, compiled
from metroline.agents.formats.registry import RegisteredSchema, SchemaRegistry


class SingleLookups:
    """Asks the registry for each schema one time, remembers nothing, and does not wait for a registry that is away."""

    def __init__(
        self, registry: SchemaRegistry, type_name: str, compile_schema: Callable[[RegisteredSchema], Messages]
    ) -> None:
        """`type_name` is that of the registry. `compile_schema` raises `InvalidSchema`."""
        self._registry = registry
        self._type_name = type_name
        self._compile = compile_schema

    async def find(self, key: int | str) -> tuple[RegisteredSchema, Messages]:
        """Return the schema with an id, or the latest one of a subject.

        Raise `NotRegistered`, `InvalidSchema` or `RegistryAway`.
        """
        schema = await (self._registry.by_id(key) if isinstance(key, int) else self._registry.latest(key))
        return schema, await compiled(schema, self._type_name, self._compile)
