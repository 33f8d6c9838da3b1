"""Keys of lookups: text or whole numbers, and a whole number is the same key as its digits."""

from __future__ import annotations

from metroline.agents.lookups.errors import InvalidLookup

MOST_BYTES = 511
"""How long a key may be in LMDB, as UTF-8."""


def encoded(key: object) -> bytes | None:
    """The bytes that a key is kept under; None for what is no key: null, true, 1.5, an empty text, a list."""
    if isinstance(key, str):
        try:
            found = key.encode()
        except UnicodeEncodeError:  # half of a surrogate pair
            return None
    elif isinstance(key, int) and not isinstance(key, bool):
        try:
            found = b"%d" % key
        except ValueError:  # more digits than Python writes
            return None
    else:
        return None
    return found if 0 < len(found) <= MOST_BYTES else None


def to_be_kept(key: object) -> bytes:
    """The bytes of a key that an entry is built with; raises `InvalidLookup` that says why it cannot be one."""
    found = encoded(key)
    if found is not None:
        return found
    if key is None or key == "":
        raise InvalidLookup("there is no key")
    if not isinstance(key, str) or key.isascii() or len(key.encode("utf-8", "replace")) > MOST_BYTES:
        what = (
            "is neither text nor a whole number" if not isinstance(key, str) else f"is longer than {MOST_BYTES} bytes"
        )
        raise InvalidLookup(f"the key {_short(key)} {what}")
    raise InvalidLookup(f"the key {_short(key)} is no text in UTF-8")


def _short(key: object) -> str:
    told = repr(key)
    return told if len(told) <= 60 else f"{told[:56]}...{told[-1]}"
