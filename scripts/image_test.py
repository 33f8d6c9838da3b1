"""Runs the image as it is deployed: a container for each role of the example line, against an Apache Kafka."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from metroline.agents.membership.roles import PARTS, SERVICE
from metroline.agents.services.line import Line
from metroline.app.settings import Settings
from metroline.routing.errors import MetrolineError
from scripts.containers import Container, Containers, DockerFailed, NoAnswer, build, remove_image
from tests.support.brokers import running_kafka
from tests.support.waiting import wait_until

PROJECT = Path(__file__).parent.parent
RECORDS = int(os.environ.get("RECORDS", "5000"))
STOP_SECONDS = 15
SOON = 120.0
"""Seconds within which containers become healthy, and records reach their outcome."""

SERVICES = """
from metroline import service

@service
def weigh(record):
    record["heavy"] = record["kilograms"] > 20
    return record
"""
ROUTES = '[[rules]]\nafter = "source"\nto = "weigh"\n'
PARCELS = '{"kilograms": 3}\n{"kilograms": 30}\n'


def main() -> None:
    """End with exit code 0 if every check passed; otherwise report the one that failed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    os.umask(0o022)  # the image's user reads the line that is written here
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="metroline-image-test-")))
            tag = stack.enter_context(image())
            running = stack.enter_context(containers(tag, stack.enter_context(kafka(folder))))
            each_role_in_a_container(running)
            a_line_of_ones_own(running, folder)
            all_end_when_asked(running)
    except (AssertionError, DockerFailed, MetrolineError) as failure:
        sys.exit(f"image test: {failure}")
    except KeyboardInterrupt:
        sys.exit("image test: stopped")
    print("image test: everything held")


def interrupt(*_: object) -> None:
    """End the test, which then cleans up; a second signal has no effect."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def image() -> Iterator[str]:
    """Build the image with a tag of its own, and remove it at the end."""
    tag = f"metroline-image-test:{os.getpid()}"
    try:
        with step("the image is built"):
            megabytes = build(PROJECT, tag, os.environ.get("BASE_IMAGE")) / 1e6
        print(f"  {megabytes:.0f} MB", flush=True)
        yield tag
    finally:
        remove_image(tag)


@contextmanager
def kafka(folder: Path) -> Iterator[str]:
    """Run an Apache Kafka on this machine, and yield its address."""
    with ExitStack() as stack:
        with step("Apache Kafka runs"):
            try:
                bootstrap = stack.enter_context(running_kafka(folder)).bootstrap
            except (pytest.skip.Exception, pytest.fail.Exception) as missing:
                raise AssertionError(missing.msg) from None
        yield bootstrap


@contextmanager
def containers(tag: str, bootstrap: str) -> Iterator[Containers]:
    """Yield the containers and remove them at the end; if a check fails, print the ends of their logs."""
    running = Containers(tag, bootstrap)
    try:
        yield running
    except (AssertionError, DockerFailed):
        running.tell_logs()
        raise
    finally:
        running.remove()


def each_role_in_a_container(running: Containers) -> None:
    """Check that all records reach their outcome, also when a role gets a second container and the strategy changes."""
    stops = sorted(Line.load(Settings.model_fields["line"].default).stops)
    roles = [*PARTS, *(SERVICE + stop for stop in stops)]
    with step(f"{len(roles)} containers, one for each role, are healthy"):
        workers = {role: running.start(role) for role in roles}
        wait_until_healthy(workers.values())
    with step("none of them runs as root"):
        users = {role: one.user for role, one in workers.items()}
        assert 0 not in users.values(), f"their users are {users}"
    with step(f"{RECORDS} records have their outcome"):
        running.run("push", "--records", str(RECORDS))
        wait_until_settled(workers["arrivals"], RECORDS)
    with step(f"two containers of {roles[-1]} share its work"):
        second = running.start(roles[-1])
        wait_until_healthy([second])
        running.run("push", "--records", str(RECORDS), "--seed", "2")
        wait_until_settled(workers["arrivals"], 2 * RECORDS)
        assert second.sent, "the second one had nothing to do"
    with step("an on-ramp of another strategy takes over, and the router gets work"):
        running.stop([workers["on-ramp"]], STOP_SECONDS)
        wait_until_healthy([running.start("on-ramp", ROUTING_STRATEGY="conductor")])
        before = workers["router"].sent
        running.run("push", "--records", str(RECORDS), "--seed", "3")
        wait_until_settled(workers["arrivals"], 3 * RECORDS)
        assert workers["router"].sent > before, "the router had nothing to do"


def a_line_of_ones_own(running: Containers, folder: Path) -> None:
    """Check that a mounted folder runs as a line."""
    parcels = folder / "parcels"
    parcels.mkdir()
    for name, text in (("services.py", SERVICES), ("routes.toml", ROUTES), ("records.jsonl", PARCELS)):
        (parcels / name).write_text(text, "utf-8")
    mounted = ("--volume", f"{parcels}:/line:ro")
    with step("a line of one's own, mounted as a folder, runs"):
        worker = running.start("all", *mounted, LINE="/line", PREFIX="parcels")
        wait_until_healthy([worker])
        running.run("push", "--records", "/line/records.jsonl", options=mounted, LINE="/line", PREFIX="parcels")
        wait_until_settled(worker, PARCELS.count("\n"))


def all_end_when_asked(running: Containers) -> None:
    """Check that SIGTERM ends all containers."""
    with step(f"SIGTERM ends all {len(running.all)} within {STOP_SECONDS} s, with exit code 0"):
        running.stop(running.all, STOP_SECONDS)
        codes = {one.role: one.exit_code for one in running.all}
        assert not any(codes.values()), f"their exit codes are {codes}"


def wait_until_healthy(workers: Iterable[Container]) -> None:
    """Return when Docker's own health checks report all of them as healthy."""
    starting = list(workers)
    with explained(lambda: ", ".join(f"{one.role} is {one.health}" for one in starting)):
        wait_until(lambda: all(one.health == "healthy" for one in starting), SOON)


def wait_until_settled(arrivals: Container, records: int) -> None:
    """Return when the table page reports outcomes for this many records, and no dead letters."""
    totals: dict[str, int] = {}

    def holds() -> bool:
        with suppress(NoAnswer):  # for a moment, while its partitions change hands
            totals.update(arrivals.page("/table/outcomes/")["totals"])
        assert not totals.get("dead"), f"there are dead records: {totals}"
        return sum(totals.values()) == records

    with explained(lambda: f"{records} were sent, and the table says {totals}"):
        wait_until(holds, SOON)


@contextmanager
def explained(reason: Callable[[], str]) -> Iterator[None]:
    """Add the current state to the message of an error."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{error}: {reason()}") from None


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print the name of a check and its duration."""
    began = time.monotonic()
    print(f"{what} ... ", end="", flush=True)
    try:
        yield
    except BaseException:
        print("no", flush=True)
        raise
    print(f"yes, {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main()
