"""Signatures of announcements with the key that the workers of a line share (`CLUSTER_KEY`)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import orjson

FIELD = "signature"
"""The field of an announcement that holds its signature."""


class Signatures:
    """Signs announcements, and verifies those of others: HMAC-SHA256 of the topic and of all fields, by their names.

    The topic is a part of it, so that an announcement of another line with the same key is none of this one.
    """

    def __init__(self, topic: str, key: str | None) -> None:
        """Without a key, nothing is signed and everything counts as signed."""
        self._topic = topic
        self._key = key.encode() if key else None

    @property
    def are_required(self) -> bool:
        """True if announcements without a signature are left out."""
        return self._key is not None

    def signed(self, announcement: Mapping[str, Any]) -> dict[str, Any]:
        """Return an announcement with its signature."""
        return dict(announcement) if self._key is None else {**announcement, FIELD: self._of(announcement, self._key)}

    def verify(self, announcement: Mapping[str, Any]) -> bool:
        """Return whether an announcement was signed with the key."""
        if self._key is None:
            return True
        given = announcement.get(FIELD)
        return isinstance(given, str) and hmac.compare_digest(
            given.encode(), self._of(announcement, self._key).encode()
        )

    def _of(self, announcement: Mapping[str, Any], key: bytes) -> str:
        fields = {name: value for name, value in announcement.items() if name != FIELD}
        message = self._topic.encode() + b"\n" + orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
        return hmac.new(key, message, hashlib.sha256).hexdigest()
