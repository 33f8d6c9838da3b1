"""The names of formats, as settings and `line.toml` write them."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

JSON = "json"

PACKED = "packed"
"""The format of an end that gets envelopes."""


class Registered(NamedTuple):
    """A format with a schema registry."""

    type_name: str
    """The type of its schemas, as the registry names it."""
    libraries: tuple[str, ...]
    """The modules that it needs."""


REGISTERED = {
    "avro": Registered("AVRO", ("fastavro",)),
    "json-schema": Registered("JSON", ("jsonschema_rs",)),
    "protobuf": Registered("PROTOBUF", ("google.protobuf", "grpc_tools")),
}
"""The formats with a schema registry. Each is also the name of the extra that installs its libraries."""

OWN_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")

CHOICES = f"{', '.join((JSON, *REGISTERED))} or package.module:function"
"""The formats of single messages, as an error names them."""

Choice = int | Literal["latest", "source"]
"""The schema of delivered records: an id, the subject's latest version, or that of each record's source message."""


class EndFormat(NamedTuple):
    """The format of the records at an end."""

    name: str = JSON
    schema: Choice = "latest"
    message: str | None = None
    """Name of the Protobuf message type; None for the first one of the schema."""
    setting: str = "DELIVERED_FORMAT"
    """The place where it can be changed."""


def is_format(name: str) -> bool:
    """Return whether there is a format of single messages with this name, or it has the form of a function's."""
    return name == JSON or name in REGISTERED or OWN_FUNCTION.fullmatch(name) is not None
