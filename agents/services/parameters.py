"""Checks the parameters of a line's services and resources: each must be something that a worker can pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from types import ModuleType

from metroline.agents.services.resource import Resource
from metroline.agents.services.service import Service
from metroline.routing.errors import InvalidLine
from metroline.routing.spelling import suggestion


def resources_in(module: ModuleType) -> dict[str, Resource]:
    """Return the resources of a module by their names. Raise `InvalidLine` if two have the same name."""
    found: dict[str, Resource] = {}
    for value in vars(module).values():
        mark = getattr(value, "__resource__", None)
        if not isinstance(mark, Resource) or found.get(mark.name) is mark:
            continue
        if mark.name in found:
            raise InvalidLine(f"two resources are named {mark.name!r} in {module.__file__}: rename one of them")
        found[mark.name] = mark
    return found


def check_parameters(services: Iterable[Service], resources: Mapping[str, Resource]) -> None:
    """Raise `InvalidLine` if a function has a parameter that nothing is passed for, or if resources need each other."""
    for one in services:
        for name in _unknown(one.others, resources):
            beside = "ids and metas" if one.batching is not None else "id and meta"
            raise InvalidLine(
                f"service {one.name!r}: it would be called without {name!r}: beside the record, a function may take "
                f"{beside}, {_listed(resources)}{suggestion(name, resources)}"
            )
    for resource in resources.values():
        for name in _unknown(resource.parameters, resources):
            raise InvalidLine(
                f"resource {resource.name!r}: it would be opened without {name!r}: it may take {_listed(resources)}"
                f"{suggestion(name, resources)}"
            )
    _check_order(resources)


def _unknown(parameters: Mapping[str, bool], known: Mapping[str, Resource]) -> Iterator[str]:
    return (name for name, is_required in parameters.items() if is_required and name not in known)


def _listed(resources: Mapping[str, Resource]) -> str:
    if not resources:
        return "and the resources and settings of the line, of which there are none"
    return f"and the resources and settings of the line: {', '.join(sorted(resources))}"


def _check_order(resources: Mapping[str, Resource]) -> None:
    needs = {name: [one for one in resource.parameters if one in resources] for name, resource in resources.items()}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise InvalidLine(f"the resources need each other, so none can be opened first: {circle}") from None
