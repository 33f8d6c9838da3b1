"""Decodes TOML, and says in which line it is wrong."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from metroline.routing.errors import MetrolineError

AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")


class InvalidToml(MetrolineError):
    """Raised when a text is not TOML; `line` counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"not valid TOML: {reason}")
        self.line = line


def decode_toml(text: str) -> dict[str, Any]:
    """Return the data in a TOML text; raise `InvalidToml`."""
    try:
        text.encode()
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = AT_LINE.search(str(error))
        line = int(found.group(1)) if found else text.rstrip("\n").count("\n") + 1
        raise InvalidToml(line, AT_LINE.sub("", str(error))) from error
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise InvalidToml(line, "a character cannot be encoded as UTF-8") from error
    except ValueError as error:  # Python refuses to parse an integer with thousands of digits
        raise InvalidToml(1, "a number has too many digits") from error
    except RecursionError as error:
        raise InvalidToml(1, "it is nested too deeply") from error
