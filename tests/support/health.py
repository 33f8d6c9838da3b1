"""Asks a worker process for its health, as an orchestrator does."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from metroline.app.local.worker_process import WorkerProcess


@dataclass(frozen=True, slots=True)
class Health:
    """An answer: its status, and each condition with `ok` or the reason why it fails."""

    status: int
    conditions: dict[str, str]

    @property
    def failing(self) -> set[str]:
        return {name for name, reason in self.conditions.items() if reason != "ok"}


def health(worker: WorkerProcess, path: str) -> Health | None:
    """Return the answer at a path, or None if there is none."""
    try:
        with urllib.request.urlopen(f"{worker.url}{path}", timeout=5.0) as answer:
            return _read(answer.status, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return _read(error.code, error.read())
    except OSError:
        return None


def _read(status: int, body: bytes) -> Health:
    found = json.loads(body)
    assert found["status"] == ("ok" if status == 200 else "failing")
    return Health(status, found["conditions"])


def metrics(worker: WorkerProcess) -> dict[tuple[str, ...], float]:
    """Return the values at /metrics, each by its name and the values of its labels, in alphabetic order of labels."""
    with urllib.request.urlopen(f"{worker.url}/metrics", timeout=5.0) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        samples = [one for family in families for one in family.samples]
    return {(one.name, *(one.labels[label] for label in sorted(one.labels))): one.value for one in samples}
