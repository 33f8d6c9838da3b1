"""Decodes TOML, and says in which line it is wrong."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from metroline.routing.errors import MetrolineError
from metroline.routing.rules.excerpt import below

MAX_CHARACTERS = 1_000_000
"""Maximum length of a text, about that of a message on Kafka."""

MAX_KEY_PARTS = 32

LONG_KEY = re.compile(
    r"""(?<![\w.-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){%d}""" % MAX_KEY_PARTS  # noqa: UP031 - braces
)
"""Names with more than 31 dots between them. `tomllib` needs time that grows with the square of their number."""

AT_PLACE = re.compile(r" \(at line (\d+), column (\d+)\)$")

ADVICE = {
    "Invalid value": "no value can begin so; text is written in quotes",
    "Illegal character '\\n'": "the text in quotes is not closed in its line",
    "Cannot overwrite a value": "the key is set twice",
}
"""Plain words for some of the reasons of `tomllib`."""


class InvalidToml(MetrolineError):
    """Raised when a text is not TOML; `line` and `column`, which is None if it is not known, count from 1."""

    def __init__(self, line: int, reason: str, column: int | None = None, shown: str = "") -> None:
        super().__init__(f"not valid TOML: {reason}")
        self.line = line
        self.column = column
        self.shown = shown
        """Further lines of the problem, which show the place; empty if there are none."""


def decode_toml(text: str) -> dict[str, Any]:
    """Return the data in a TOML text; raise `InvalidToml`."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidToml(1, f"it has {len(text)} characters; at most {MAX_CHARACTERS} are allowed")
    if found := LONG_KEY.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise InvalidToml(line, f"there are more than {MAX_KEY_PARTS - 1} dots between names")
    try:
        text.encode()
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason = AT_PLACE.sub("", str(error))
        found = AT_PLACE.search(str(error))
        if found is None:  # at the end of the text
            raise InvalidToml(text.rstrip("\n").count("\n") + 1, reason) from error
        line, column = map(int, found.groups())
        raise InvalidToml(line, ADVICE.get(reason, reason), column, below(text, line, column)) from error
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise InvalidToml(line, "a character cannot be encoded as UTF-8") from error
    except ValueError as error:  # Python refuses to parse an integer with thousands of digits
        raise InvalidToml(1, "a number has too many digits") from error
    except RecursionError as error:
        raise InvalidToml(1, "it is nested too deeply") from error
