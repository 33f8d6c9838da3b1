"""Settings of the line's own: a class `Settings` in its code, whose values come from the environment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsError

from metroline.agents.services.resource import Resource
from metroline.routing.errors import InvalidLine, UsageError

CLASS = "Settings"
"""Name of the class in `services.py`."""

PARAMETER = "settings"
"""Name of the parameter by which services and resources take the settings."""


class InvalidOwnSettings(UsageError):
    """Raised when variables of the environment do not fit the settings of a line; it names all of them."""


def settings_class(module: ModuleType) -> type[BaseSettings] | None:
    """Return the class `Settings` that a module declares or imports; raise `InvalidLine` if it is none of settings."""
    found = vars(module).get(CLASS)
    if found is None:
        return None
    if not isinstance(found, type) or not issubclass(found, BaseSettings):
        raise InvalidLine(f"{CLASS} in {module.__file__} must be a subclass of pydantic_settings.BaseSettings")
    return found


def read_settings(settings: type[BaseSettings], given: Mapping[str, Any] | None = None) -> BaseSettings:
    """Return the settings of a line: those that are given, and the others from the environment.

    A variable that is empty counts as not set. Values are given by the names of the fields of the class.

    Raise `InvalidOwnSettings` with every problem. No value is shown, since it may be a password.
    """
    try:
        return settings(_env_ignore_empty=True, **(given or {}))
    except ValidationError as error:
        problems = [_described(settings, one) for one in error.errors(include_input=False, include_url=False)]
    except SettingsError as error:  # it names the field, and not what its variable holds
        problems = [f"{error}: a list or an object is written as JSON"]
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a validator of the author's may raise anything
        problems = [f"{type(error).__name__}: {error}"]
    raise InvalidOwnSettings(f"the settings of the line: {'; '.join(problems)}")


def settings_resource(settings: type[BaseSettings]) -> Resource:
    """Return the settings as a resource, which is read when it is opened."""

    @asynccontextmanager
    async def read() -> AsyncIterator[BaseSettings]:
        yield read_settings(settings)

    return Resource(PARAMETER, read, is_constant=True)


def _described(settings: type[BaseSettings], error: ErrorDetails) -> str:
    """Name a variable and what is wrong with it."""
    problem = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return problem
    name, *inner = map(str, error["loc"])
    is_field = name in settings.model_fields and settings.model_fields[name].validation_alias is None
    variable = f"{settings.model_config.get('env_prefix', '') if is_field else ''}{name}".upper()
    return (
        f"{'.'.join((variable, *inner))} is missing from the environment"
        if error["type"] == "missing"
        else (f"{'.'.join((variable, *inner))}: {problem}")
    )
