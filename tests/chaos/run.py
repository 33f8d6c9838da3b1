"""One chaos run: a crew, a pusher, one fault after another, and the result."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from tests.chaos.crew import LINE, Crew
from tests.chaos.plan import Fault
from tests.chaos.pushing import Pusher
from tests.chaos.reckoning import Reckoning, count_source, reckon
from tests.support.depot import Depot
from tests.support.kafka_node import KafkaNode

RATE = 40.0
"""Messages per second; two cores manage this rate while workers start."""

SETTLE_SECONDS = 300.0
"""Deadline for the last records, in seconds; far more than a healthy line needs."""

FIRST_SECONDS = 1.0
"""Seconds that records flow before the first fault."""

VARIABLES = {
    "LINE": str(LINE),
    "CHAINING": os.environ.get("CHAINING", "") or "on",
    "SERVICE_ATTEMPTS": "10",
    "SERVICE_BACKOFF": "0.5",
    "SERVICE_BACKOFF_MAX": "2",
}
"""Settings under which no record fails all of its attempts, although a tenth of the attempts fail."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The result of a run."""

    faults: Counter[str]
    told: list[str]
    """Events beyond the faults."""
    seconds: float
    reckoning: Reckoning

    def __str__(self) -> str:
        faults = ", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items()))
        told = "".join(f"\n  {text}" for text in self.told) or " nothing"
        return f"{self.seconds:.0f} s; faults: {faults}; {self.reckoning}\nbeyond that:{told}"


async def goes_by(depot: Depot, crew: Crew) -> bool:
    """Return whether all workers have the rules table that was published last."""
    return {worker.version for worker in await depot.alive()} == {crew.version}


async def settle(depot: Depot, pusher: Pusher, pushing: asyncio.Task[int]) -> int:
    """Send no more, and wait until all that was sent has an outcome; return the number of unconfirmed messages."""
    pusher.stop()
    unconfirmed = await pushing
    await depot.settled(await count_source(depot.cluster, depot.topics), SETTLE_SECONDS)
    return unconfirmed


async def check_sums(depot: Depot, title: str, unconfirmed: int) -> None:
    """Print the result of a run whose workers have ended, and assert that nothing was lost or counts twice."""
    found = await reckon(depot.cluster, depot.topics)
    print(f"{title}: {found}; {unconfirmed} messages of the pusher were not confirmed", flush=True)
    assert not found.wrong()
    await depot.delete_topics()


async def run(
    depot: Depot,
    kafka: KafkaNode | None,
    roles: Sequence[str],
    strategies: Sequence[str],
    faults: Sequence[Fault],
    say: Callable[[str], None],
) -> Ended:
    """Run a line with these roles and strategies through all faults, and return the result read from the bus."""
    began = time.monotonic()
    crew = Crew(depot, roles, strategies, kafka, lambda text: say(f"{time.monotonic() - began:6.1f} s  {text}"))
    pusher = Pusher(depot, RATE)
    await depot.create_source()
    await crew.start()
    pushing, watching = asyncio.create_task(pusher.run()), asyncio.create_task(crew.watch())
    try:
        await asyncio.sleep(FIRST_SECONDS)
        for number, fault in enumerate(faults, 1):
            crew.say(f"{number}/{len(faults)}: {fault}")
            await crew.strike(fault)
        pusher.stop()
        unconfirmed = await pushing
        if unconfirmed:
            crew.note(f"{unconfirmed} messages of the pusher were not confirmed")
        crew.say("the last records")
        await depot.until(partial(goes_by, depot, crew), watch=False)  # the crew replaces workers that end
        await depot.settled(await count_source(depot.cluster, depot.topics), SETTLE_SECONDS, watch=False)
    finally:
        for task in (pushing, watching):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    await crew.end()
    kinds = Counter(fault.kind.value for fault in faults)
    return Ended(kinds, crew.told, time.monotonic() - began, await reckon(depot.cluster, depot.topics))
