"""The index template of an end: a JSON file beside the line's own, put into the cluster before the first document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from metroline.agents.gateways.opensearch.cluster import RequestRefused, SearchCluster
from metroline.routing.errors import MetrolineError

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")


class InvalidTemplate(MetrolineError):
    """Raised when a file holds no index template; it names the file."""


@dataclass(frozen=True, slots=True)
class IndexTemplate:
    """An index template, as `PUT _index_template/NAME` takes it."""

    name: str
    content: Mapping[str, Any]

    @classmethod
    def read(cls, file: Path) -> IndexTemplate:
        """Return the template in a file, which has the name of the file without its suffix. Raise `InvalidTemplate`."""
        if not NAME.match(file.stem):
            raise InvalidTemplate(f"{file}: a template is named as its file: lower-case letters, digits, dots, _ and -")
        try:
            content = orjson.loads(file.read_bytes())
        except OSError as error:
            raise InvalidTemplate(f"{file}: it cannot be read ({error.strerror})") from error
        except orjson.JSONDecodeError as error:
            raise InvalidTemplate(f"{file}:{error.lineno}:{error.colno}: it is no JSON ({error.msg})") from error
        if not isinstance(content, dict) or not isinstance(content.get("index_patterns"), list):
            raise InvalidTemplate(f'{file}: an index template is an object with "index_patterns", a list')
        if type(content.get("version", 0)) is not int:
            raise InvalidTemplate(f'{file}: "version" must be a whole number')
        return cls(file.stem, content)

    @property
    def version(self) -> int:
        """The version of the template; 0 if it has none."""
        return int(self.content.get("version", 0))

    async def apply(self, cluster: SearchCluster) -> bool:
        """Put the template into a cluster that has none of its name, or an older version. Return whether it was put.

        One that is there with this version or a later one stays as it is. Raise `ClusterAway` or `RequestRefused`.
        """
        if not await self.is_missing(cluster):
            return False
        try:
            await cluster.put_index_template(self.name, self.content)
        except RequestRefused as error:
            raise RequestRefused(f"the index template {self.name}: {error}") from error
        return True

    async def is_missing(self, cluster: SearchCluster) -> bool:
        """Return whether the cluster has no template of this name, or an older version of it."""
        present = await cluster.index_template(self.name)
        return present is None or _version(present) < self.version


def _version(template: Mapping[str, Any]) -> int:
    version = template.get("version")
    return version if type(version) is int else 0
