"""The lines that services print and log are shown with the name of their stop, at every level."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from metroline.agents.stops.bounded_calls import BoundedCalls
from metroline.agents.stops.containment import SERVICE, plain_calls
from metroline.app.service_output import NamedOutput, log_services_at_every_level

HERE = Path(__file__).parent


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


async def test_lines_of_a_service_begin_with_its_stop(stream: io.StringIO) -> None:
    output = NamedOutput(stream)
    print("starting", file=output)
    with plain_calls("price"):
        print("order", 17, "\nhas no price", file=output)
    assert stream.getvalue() == "starting\nprice | order 17 \nprice | has no price\n"


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "blocking"])
async def test_so_do_those_of_async_and_blocking_services(stream: io.StringIO, is_async: bool) -> None:
    output = NamedOutput(stream)

    async def wait(record: str) -> None:
        await asyncio.sleep(0)
        print(record, file=output)

    def block(record: str) -> None:
        print(record, file=output)

    calls = BoundedCalls("ship", is_async=is_async, max_given_up=1)
    await calls.call(wait if is_async else block, "shipped", 5.0)
    assert stream.getvalue() == "ship | shipped\n"


def test_lines_that_are_written_bit_by_bit_do_not_mix(stream: io.StringIO) -> None:
    output = NamedOutput(stream)
    for stop, text in (("a", "one "), ("b", "two "), ("a", "three\n"), ("b", "four\n"), ("a", "rest")):
        token = SERVICE.set(stop)
        output.write(text)
        SERVICE.reset(token)
    assert stream.getvalue() == "a | one three\nb | two four\n"
    output.finish()
    assert stream.getvalue().endswith("a | rest\n")


@pytest.fixture
def root(stream: io.StringIO) -> Iterator[logging.Logger]:
    """Yield a root logger that writes warnings, and then lines of services at every level."""
    logger = logging.Logger("test_service_output")  # one that nobody else adds handlers to
    handler = logging.StreamHandler(stream)
    handler.addFilter(lambda record: "routine" not in record.getMessage())
    logger.addHandler(handler)
    levels = {name: logging.getLogger(name).level for name in ("metroline", "asyncio", "aiokafka", "faust", "mode")}
    log_services_at_every_level(logger, HERE, logging.WARNING)
    yield logger
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    logger.handlers.clear()


def record_of(level: int, text: str, file: Path) -> logging.LogRecord:
    return logging.LogRecord("test_service_output", level, str(file), 1, text, None, None)


def test_files_of_the_line_log_at_every_level_and_others_as_before(root: logging.Logger, stream: io.StringIO) -> None:
    library = Path("/usr/lib/library.py")
    for where, level, text in (
        (HERE / "services.py", logging.DEBUG, "own, routine"),
        (library, logging.INFO, "of a library"),
        (library, logging.WARNING, "warning of a library"),
        (library, logging.WARNING, "routine"),
    ):
        root.handle(record_of(level, text, where))
    assert stream.getvalue() == "own, routine\nwarning of a library\n"
    assert root.isEnabledFor(logging.DEBUG)
    assert not logging.getLogger("aiokafka.consumer").isEnabledFor(logging.INFO)


def test_libraries_that_a_service_calls_are_shown_from_info_on(root: logging.Logger, stream: io.StringIO) -> None:
    token = SERVICE.set("price")
    for level in (logging.DEBUG, logging.INFO):
        root.handle(record_of(level, logging.getLevelName(level), Path("/usr/lib/library.py")))
    SERVICE.reset(token)
    assert stream.getvalue() == "INFO\n"
