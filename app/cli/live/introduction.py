"""The beginning of `metroline up`: where the line runs, and the commands by which it is used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from metroline.agents.services.line import Line
from metroline.app.cli.live.events import LiveWorker, Started
from metroline.app.cli.own_commands import metroline_command, typed
from metroline.app.local.worker_process import WorkerProcess
from metroline.app.settings import SECRETS, Settings

ACCESS = ("prefix", "source", "cluster_key_file", "broker_security", "broker_sasl_mechanism", "broker_username")
"""The settings, besides those of files and of OAuth, by which a command finds a line and logs in to its cluster."""

FOR_ACCESS = ("broker_oauth_", "broker_ca_", "broker_cert_", "broker_key_", "broker_password_")
"""Beginnings of the names of further ones."""


def introduction(
    settings: Settings, url: str, line: Line, workers: list[WorkerProcess], token: str | None = None
) -> Started:
    """Describe a line that runs on the broker at `url`. The commands in it run in any shell and folder.

    `token` is that of the workers unless the environment has one.
    """
    folder = Path(settings.line).expanduser()
    where = str(folder.resolve()) if folder.is_dir() else settings.line
    variables = {"BROKER_URL": url} | dict(_access(settings))
    push = ("push", "--line", where, "--records", "FILE" if line.maker is None else "10")
    publish = ("rules", "publish", "--line", where, str(line.rules_file))
    return Started(
        line=line.name,
        strategy=settings.routing_strategy,
        broker=url,
        source=settings.topics(line).source,
        workers=LiveWorker.of(workers),
        push=typed(*metroline_command(), *push, variables=variables),
        publish=typed(*metroline_command(), *publish, variables=variables),
        secrets=tuple(_secrets(settings)),
        token=token,
    )


def _access(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the variables by which another process finds the line and logs in, without secrets."""
    for name in sorted(settings.model_fields_set - {"broker_url", *SECRETS}):
        if name in ACCESS or name.startswith(FOR_ACCESS):
            value = getattr(settings, name)
            yield name.upper(), str(value.resolve() if isinstance(value, Path) else value)


def _secrets(settings: Settings) -> Iterator[str]:
    """Yield the variables that hold secrets by which commands log in, unless files hold them."""
    given = settings.model_fields_set
    for name in SECRETS:
        if name in given and f"{name}_file" not in given and name.startswith(("broker_", "cluster_")):
            yield name.upper()
