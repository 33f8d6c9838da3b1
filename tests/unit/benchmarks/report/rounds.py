"""Entries of results for tests."""

from __future__ import annotations

from typing import Any


def rounds(**figures: list[float]) -> dict[str, Any]:
    """Return an entry whose rounds have these figures."""
    return {"rounds": [dict(zip(figures, values, strict=True)) for values in zip(*figures.values(), strict=True)]}
