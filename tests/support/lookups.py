"""Small lookups for tests: rows in a file, and the lookup that is built from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from metroline.agents.lookups.footer import Footer
from metroline.app.inputs.lookup_builds import build_from_file


def written(file: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write the rows as JSON lines and return the file."""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


def built(folder: Path, values: Mapping[Any, Any], name: str = "accounts") -> Footer:
    """Build a lookup of these values by key, in the folder that LOOKUP_DIR names."""
    rows = written(folder / f"{name}.jsonl", ({"key": key, "value": value} for key, value in values.items()))
    return build_from_file(name, rows, "key", "value")
