"""Text for terminals and narrow columns: one line, safe, measured and shortened."""

from __future__ import annotations

import unicodedata


def one_line(value: object) -> str:
    """Return the text of a value on one line; control characters, which a terminal would obey, become U+FFFD."""
    spaced = " ".join(str(value).split())
    return "".join("\ufffd" if unicodedata.category(letter).startswith("C") else letter for letter in spaced)


def display_width(value: str) -> int:
    """Return the number of terminal columns of a text: two for a wide letter, none for a combining one."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in value)
    return len(value) + wide - sum(unicodedata.combining(letter) > 0 for letter in value)


def shorten(value: str, width: int) -> str:
    """Return a text of at most `width` terminal columns, which ends in an ellipsis if it was cut."""
    if display_width(value) <= width:
        return value
    while display_width(value) >= width:
        value = value[:-1]
    return f"{value}…"
