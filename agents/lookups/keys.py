"""Keys of lookups: text or integers. An integer is the same key as its digits."""

from __future__ import annotations

from metroline.agents.lookups.errors import InvalidLookup

MAX_KEY_BYTES = 511
"""LMDB's limit of the length of a key, in UTF-8."""


def encode_key(key: object) -> bytes | None:
    """Return the bytes of a key in LMDB; None if it is not a key, such as None, True, 1.5, an empty text or a list."""
    if isinstance(key, str):
        try:
            found = key.encode()
        except UnicodeEncodeError:  # half of a surrogate pair
            return None
    elif isinstance(key, int) and not isinstance(key, bool):
        try:
            found = b"%d" % key
        except ValueError:  # more digits than Python converts
            return None
    else:
        return None
    return found if 0 < len(found) <= MAX_KEY_BYTES else None


def require_key(key: object) -> bytes:
    """Return the bytes of an entry's key in LMDB; raise `InvalidLookup`, with the reason, if it is not a key."""
    found = encode_key(key)
    if found is not None:
        return found
    if key is None or key == "":
        raise InvalidLookup("there is no key")
    if not isinstance(key, str) or key.isascii() or len(key.encode("utf-8", "replace")) > MAX_KEY_BYTES:
        what = (
            "is neither text nor a whole number"
            if not isinstance(key, str)
            else f"is longer than {MAX_KEY_BYTES} bytes"
        )
        raise InvalidLookup(f"the key {_short(key)} {what}")
    raise InvalidLookup(f"the key {_short(key)} is no text in UTF-8")


def _short(key: object) -> str:
    text = repr(key)
    return text if len(text) <= 60 else f"{text[:56]}...{text[-1]}"
