"""The whole examination, from this machine to the cluster, in the order in which a worker starts."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

from metroline.app.diagnosis.finding import Finding, error, ok, skipped, warning
from metroline.app.diagnosis.line_checks import check_own_settings, load_line
from metroline.app.diagnosis.machine import examine_machine, examine_python
from metroline.app.settings import Settings, misspelt
from metroline.routing.errors import MetrolineError


async def examine(line: str | None = None, broker: str | None = None) -> AsyncIterator[Finding]:
    """Yield a finding for each check; `line` and `broker` take the place of LINE and BROKER_URL."""
    for finding in examine_python():
        yield finding
    for text in misspelt(os.environ):
        yield warning("settings", text)
    try:
        settings = Settings.read(line=line, broker_url=broker)
    except MetrolineError as problem:
        yield error("settings", str(problem), "see docs/settings.md")
        yield skipped("cluster", "not looked at, since the settings are wrong")
        return
    yield ok("settings", f"line {settings.line}, role {settings.role!r}, strategy {settings.routing_strategy}")
    for finding in examine_machine(settings):
        yield finding
    loaded, findings = load_line(settings.line)
    for finding in findings:
        yield finding
    if loaded is None:
        yield skipped("cluster", "not looked at, since the line cannot be loaded")
        return
    for finding in check_own_settings(settings, loaded):
        yield finding
    from metroline.app.diagnosis.cluster_checks import examine_cluster  # imports clients of Kafka

    async for finding in examine_cluster(settings, loaded):
        yield finding
