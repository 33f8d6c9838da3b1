"""`metroline worker` and `metroline hand-over`: workers as they are deployed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from metroline.agents.membership.hand_over import Offsets
from metroline.agents.membership.hand_over import hand_over as hand_over_offsets
from metroline.agents.membership.roles import Role
from metroline.agents.services.line import Line
from metroline.app.cli.options import json_option, line_option, write_json
from metroline.app.cli.terminal import say
from metroline.app.local.steps import Steps
from metroline.app.operations.journal_notes import Deed, note_deed
from metroline.app.operations.permission import Permission
from metroline.app.run_worker import run_worker
from metroline.app.settings import Settings
from metroline.routing.errors import MetrolineError

log = logging.getLogger(__name__)


@click.command()
@click.option(
    "--standby",
    type=click.Path(path_type=Path),
    hidden=True,
    help="Folder of the steps by which `metroline up` says when to load the line and when to start.",
)
def worker(standby: Path | None) -> None:
    """Run one worker process, as it is deployed.

    All settings come from environment variables; docs/settings.md lists them. SIGTERM or Ctrl-C ends the worker.

    \b
    Example: BROKER_URL=kafka://kafka:9092 LINE=lines/orders ROLE=router metroline worker
    """
    settings = Settings.read()
    try:
        run_worker(settings, None if standby is None else Steps(standby))
    except MetrolineError as error:
        if settings.log_format != "json":
            raise
        log.critical("%s", error)
        raise SystemExit(error.exit_code) from None


@click.command("hand-over")
@line_option
@click.option(
    "--to",
    "roles",
    metavar="ROLE",
    multiple=True,
    required=True,
    help="ROLE of one of the new workers; repeat it for each. Together the roles must cover the whole line.",
)
@json_option("the offsets at which each group continues")
def hand_over(line: str | None, roles: tuple[str, ...], json_file: Path | None) -> None:
    """Hand over the offsets of a stopped line to other roles.

    Each role has its own consumer group. When a line is divided into roles in another way, this command commits for
    each new group the offsets up to which its topics were read. Stop the line first, and start the new workers
    afterwards.

    \b
    Example: metroline hand-over --to on-ramp,router,arrivals --to service:price,service:ship
    """
    settings = Settings.read(line=line)
    loaded = Line.load(settings.line)
    division = [Role.parse(role, loaded.stops) for role in roles]
    cluster, topics, now = settings.cluster(), settings.topics(loaded), time.time()

    async def move() -> dict[str, Offsets]:
        done = await hand_over_offsets(cluster, topics, division, loaded.stops, now, settings.cluster_key)
        if done:
            named = "; ".join(role.name for role in division)
            await note_deed(cluster, topics, Permission.of_command(), Deed.HANDED_OVER, roles=named)
        return done

    moved = asyncio.run(move())
    if json_file is not None:
        write_json(_as_json(moved), json_file)
        return
    for group, offsets in moved.items():
        read, partitions = sum(offsets.values()), len(offsets)
        say(f"{group}: continues after the {read} messages that were read, in {partitions} partitions")
    if not moved:
        say("no messages were read yet: the new workers start with the first ones")


def _as_json(moved: Mapping[str, Offsets]) -> dict[str, list[dict[str, Any]]]:
    return {
        group: [
            {"topic": partition.topic, "partition": partition.partition, "offset": offset}
            for partition, offset in sorted(offsets.items())
        ]
        for group, offsets in moved.items()
    }
