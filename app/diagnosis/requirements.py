"""The installed packages, compared with those that Metroline was made for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

DISTRIBUTION = "metroline"
REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*([^;]*)(?:;(.*))?")
BOUND = re.compile(r"(>=|<)\s*([0-9.]+)")

SHOWN = ("faust-streaming", "aiokafka", "confluent-kafka")
"""The packages whose versions say most about a problem."""


def own_version() -> str | None:
    """Return the version of Metroline; None if it is not installed as a package."""
    return _version(DISTRIBUTION)


def shown_versions() -> Iterator[str]:
    """Yield the versions that help whoever reads a report of a problem."""
    for name in SHOWN:
        yield f"{name} {_version(name) or 'missing'}"


def misfits() -> Iterator[str]:
    """Yield the packages that are missing, or that have another version than Metroline was made for."""
    for requirement in requires(DISTRIBUTION) or ():
        found = REQUIREMENT.fullmatch(requirement.strip())
        if found is None or found[3] is not None:
            continue  # for another system or Python, or optional
        name, bounds = found[1], found[2].strip().strip("()")
        installed = _version(name)
        if installed is None:
            yield f"{name} is missing ({bounds} is needed)"
        elif not fits(installed, bounds):
            yield f"{name} is {installed}, and {bounds} is needed"


def fits(installed: str, bounds: str) -> bool:
    """Return whether a version lies within bounds such as `>=3,<4`. Anything else than these two is not looked at."""
    return all(
        _numbers(installed) >= _numbers(bound) if kind == ">=" else _numbers(installed) < _numbers(bound)
        for kind, bound in BOUND.findall(bounds)
    )


def _numbers(text: str) -> tuple[int, ...]:
    """Return the release of a version, such as (0, 15, 3), without zeros at its end."""
    release = re.match(r"[0-9]+(\.[0-9]+)*", text)
    numbers = [int(part) for part in release[0].split(".")] if release else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
