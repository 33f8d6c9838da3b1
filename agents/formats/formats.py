"""Finds the format that a name stands for, for the source and for each end of a line."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial

from metroline.agents.formats.codec import Decoder, Encoder
from metroline.agents.formats.lookups import Messages, RegistryHealth, SchemaLookups
from metroline.agents.formats.names import JSON, REGISTERED, EndFormat
from metroline.agents.formats.own_function import OwnDecoder, OwnEncoder, function_named
from metroline.agents.formats.registered import RegisteredDecoder, RegisteredEncoder
from metroline.agents.formats.registry import RegisteredSchema, SchemaRegistry
from metroline.agents.formats.single_lookups import SingleLookups
from metroline.agents.http.access import HttpAccess
from metroline.routing.errors import UsageError


class UnusableFormat(UsageError):
    """Raised when a format cannot be used; it names the setting."""


class Formats:
    """Makes the decoders and encoders of a worker. They share one schema registry."""

    def __init__(self, access: HttpAccess | None) -> None:
        """`access` is None if no registry is configured."""
        self._registry = SchemaRegistry(access) if access is not None else None
        self._health = RegistryHealth(self.address)
        self._lookups: dict[tuple[str, str | None], SchemaLookups] = {}

    @property
    def address(self) -> str:
        """The address of the schema registry; empty without one."""
        return self._registry.address if self._registry is not None else ""

    @property
    def has_registry(self) -> bool:
        """True if a schema registry is configured."""
        return self._registry is not None

    @property
    def problem(self) -> str | None:
        """The problem for which messages wait for the registry; None while there is none."""
        return self._health.problem

    def decoder(self, name: str, setting: str) -> Decoder | None:
        """Return the decoder of a format; None for JSON. Raise `UsageError`, which names the setting."""
        if name == JSON:
            return None
        if name in REGISTERED:
            return RegisteredDecoder(self._lookups_of(name, setting, None))
        return OwnDecoder(function_named(setting, name))

    def decoder_for_once(self, name: str, setting: str) -> Decoder | None:
        """Return a decoder as `decoder` does, for a command: it raises `RegistryAway` where another one waits."""
        return (
            RegisteredDecoder(self.lookups_for_once(name, setting))
            if name in REGISTERED
            else self.decoder(name, setting)
        )

    def encoder(self, chosen: EndFormat, topic: str) -> Encoder | None:
        """Return the encoder of a format for a topic; None for JSON. Raise `UsageError`, which names the setting."""
        if chosen.name == JSON:
            return None
        if chosen.name in REGISTERED:
            lookups = self._lookups_of(chosen.name, chosen.setting, chosen.message)
            return RegisteredEncoder(lookups, topic, chosen.schema)
        return OwnEncoder(function_named(chosen.setting, chosen.name))

    def lookups_for_once(self, name: str, setting: str, message: str | None = None) -> SingleLookups:
        """Return what looks up the schemas of a registered format, each one time.

        `message` is the Protobuf message type that is written. Raise `UnusableFormat`, which names the setting.
        """
        return SingleLookups(self._usable(name, setting), REGISTERED[name].type_name, _compiler(name, message))

    async def close(self) -> None:
        """Close the connections to the registry."""
        for lookups in self._lookups.values():
            await lookups.close()
        if self._registry is not None:
            await self._registry.close()

    def _lookups_of(self, name: str, setting: str, message: str | None) -> SchemaLookups:
        registry, key = self._usable(name, setting), (name, message)
        if key not in self._lookups:
            type_name, compile_schema = REGISTERED[name].type_name, _compiler(name, message)
            self._lookups[key] = SchemaLookups(registry, self._health, type_name, compile_schema)
        return self._lookups[key]

    def _usable(self, name: str, setting: str) -> SchemaRegistry:
        """Return the registry; raise `UnusableFormat` if there is none, or if a library of the format is missing."""
        if self._registry is None:
            raise UnusableFormat(f"{setting}: {name} needs SCHEMA_REGISTRY_URL, the address of the schema registry")
        if missing := [library for library in REGISTERED[name].libraries if not _is_installed(library)]:
            raise UnusableFormat(
                f"{setting}: {name} needs the package {', '.join(missing)}: pip install 'metroline[{name}]'"
            )
        return self._registry


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # that of a package that holds it
        return False


def _compiler(name: str, message: str | None) -> Callable[[RegisteredSchema], Messages]:
    """Return what compiles the schemas of a format. Its library is imported here, when it is used."""
    if name == "avro":
        from metroline.agents.formats.avro import AvroMessages

        return AvroMessages
    if name == "json-schema":
        from metroline.agents.formats.json_schema import JsonMessages

        return JsonMessages
    from metroline.agents.formats.protobuf import ProtobufMessages

    return partial(ProtobufMessages, message=message)
