"""The journal of a line that runs: it is on the bus, and survives commands, workers and new code."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from metroline.app.local.worker_process import WorkerProcess
from metroline.app.operations.permission import user_name
from tests.support.brokers import KAFKA_FIRST
from tests.support.cli import metroline
from tests.support.depot import RULES, SERVICES, Depot, numbered


async def journal(worker: WorkerProcess) -> list[dict[str, Any]]:
    """Return the entries of the journal as a worker answers with them, oldest first."""
    found = await asyncio.to_thread(worker.get, "/journal/") or {"entries": []}
    return list(found["entries"])[::-1]


async def run(depot: Depot, *words: str) -> str:
    done = await asyncio.to_thread(metroline, *words, cwd=depot.folder, **depot.environment())
    assert done.returncode == 0, done.stderr
    return done.stdout


@KAFKA_FIRST
async def test_it_tells_who_did_what_and_what_changed_after_all_workers_are_new(depot: Depot) -> None:
    first = depot.start()
    await depot.ready()
    await depot.push(numbered([*range(5), "refused", "refused"]))
    await depot.settled(7)
    [group] = json.loads(await run(depot, "dead-letters", "list", "--json", "-"))
    await run(depot, "dead-letters", "discard", "--group", group["group"], "--reason", "a test")
    changed = depot.folder / "changed.toml"
    changed.write_text(f"{RULES}\n# changed")
    await run(depot, "rules", "publish", str(changed), "--reason", "to see it here")
    assert await depot.stop(first) == 0

    depot.write(f"{SERVICES}\n# new code\n", RULES)
    second = depot.start()
    await depot.ready(second)

    async def has_all() -> bool:
        kinds = [entry["kind"] for entry in await journal(second)]
        return kinds[-1:] == ["deployed"] and "published" in kinds  # the rules are recovered

    await depot.until(has_all)
    entries = await journal(second)
    assert [(entry["kind"], entry["by"], entry["reason"]) for entry in entries if entry["kind"] != "published"] == [
        ("joined", "", ""),
        ("discarded", user_name(), "a test"),
        ("left", "", ""),
        ("joined", "", ""),
        ("deployed", "", ""),
    ]
    assert "2 dead letters were discarded" in {entry["text"] for entry in entries}
    assert [(entry["text"], entry["reason"]) for entry in entries if entry["kind"] == "published"] == [
        ("version 1 of the rules was published", ""),
        ("version 2 of the rules was published", "to see it here"),
    ]
