"""The log of a worker has one line for each fact, in a form that people or programs read."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest

from metroline.agents.kafka.complaints import library_log
from metroline.app import logs
from metroline.app.logs import GRACE_SECONDS, REPEAT_SECONDS, JsonFormatter, NewsFilter


class Log:
    """A log with a clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.written = io.StringIO()
        self.handler = logging.StreamHandler(self.written)
        self.handler.addFilter(NewsFilter(lambda: self.now))

    @property
    def lines(self) -> list[str]:
        return self.written.getvalue().splitlines()

    def line(self, message: str, *args: object, name: str = "metroline.agents", level: int = logging.WARNING) -> None:
        self.handler.handle(logging.LogRecord(name, level, __file__, 1, message, args, None))


@pytest.fixture
def log() -> Log:
    return Log()


def test_a_line_that_repeats_is_logged_once_in_a_while_with_the_number_of_those_left_out(log: Log) -> None:
    for attempt in range(100):
        log.line("not written to %s; attempt %d", "orders.arrivals", attempt)
    log.line("not written to %s; attempt %d", "orders.source", 1)
    log.now += REPEAT_SECONDS
    log.line("not written to %s; attempt %d", "orders.arrivals", 100)
    assert log.lines == [
        "not written to orders.arrivals; attempt 0",
        "not written to orders.source; attempt 1",
        "not written to orders.arrivals; attempt 100 (99 more like this were left out)",
    ]


def test_what_happens_to_another_version_of_the_rules_table_is_news(log: Log) -> None:
    ignored = "version %d of the rules table is ignored: it replaces version %d, but version %d is current"
    log.line(ignored, 2, 0, 1)
    log.line(ignored, 13, 0, 11)
    log.line(ignored, 13, 0, 11)
    assert log.lines == [ignored % (2, 0, 1), ignored % (13, 0, 11)]


def test_what_is_critical_is_always_logged(log: Log) -> None:
    for _ in range(3):
        log.line("the worker ends", level=logging.CRITICAL)
    assert len(log.lines) == 3


def test_what_is_said_of_an_offset_is_never_left_out(log: Log) -> None:
    for partition in range(3):
        told = {"name": "metroline", "levelno": logging.ERROR, "levelname": "ERROR", "offset": 7}
        log.handler.handle(logging.makeLogRecord(told | {"msg": f"orders.in[{partition}]: lost at offset 7"}))
    assert len(log.lines) == 3


def test_the_steps_and_the_tables_of_faust_are_not_logged_but_its_warnings_are(log: Log) -> None:
    log.line("[^---Recovery]: Highwater:\n+Highwater+\n| topic |", name="faust.tables.recovery", level=logging.INFO)
    log.line("[^--OnRamp]: Starting...", name="metroline.agents.on_ramp", level=logging.INFO)
    log.line("[^--Server]: Cleanup", name="metroline.app.web_server.server", level=logging.INFO)
    log.line("Heartbeat failed", name="aiokafka.consumer.group_coordinator", level=logging.INFO)
    log.line("the rules table is at version %d", 1, level=logging.INFO)
    log.line("Heartbeat failed: coordinator is either not started or not valid", name="aiokafka.consumer")
    assert log.lines == [
        "the rules table is at version 1",
        "Heartbeat failed: coordinator is either not started or not valid",
    ]


def test_what_libraries_warn_of_as_a_matter_of_routine_is_not_logged(log: Log) -> None:
    log.line("Heartbeat failed for group a@all because it is rebalancing", name="aiokafka.consumer.group_coordinator")
    log.line("Timer commit is overlapping (interval=2.8 runtime=3.49)", name="mode.timers")
    log.line("[^---Recovery]: No event received for active tp TP(topic='t', partition=1)", name="faust.tables.recovery")
    log.line("Missing sensor state for rebalance end #%d", 17, name="faust.sensors.monitor")
    log.line("[^--Thread]: Thread keepalive is not responding...", name="metroline.agents.kafka", level=logging.ERROR)
    assert log.lines == []


def test_a_line_has_no_mark_of_the_service_that_logs_it(log: Log) -> None:
    log.line("[^--PartitionWatch]: the line's topics have %d partitions now, instead of %d", 5, 3, level=logging.INFO)
    assert log.lines == ["the line's topics have 5 partitions now, instead of 3"]


def test_an_error_that_clients_mend_is_logged_as_a_warning_once_it_lasts(log: Log) -> None:
    error = "Failed fetch offsets from %d: [Error 6] NotLeaderForPartitionError"
    log.handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    for _ in range(int(GRACE_SECONDS)):
        log.line(error, 1, name="aiokafka.consumer.fetcher", level=logging.ERROR)
        log.now += 1.0
    assert log.lines == []
    log.line(error, 1, name="aiokafka.consumer.fetcher", level=logging.ERROR)
    assert log.lines == ["WARNING Failed fetch offsets from 1: [Error 6] NotLeaderForPartitionError"]
    log.now += 2 * REPEAT_SECONDS
    log.line(error, 1, name="aiokafka.consumer.fetcher", level=logging.ERROR)
    assert len(log.lines) == 1, "after a pause its time begins anew"


def test_what_librdkafka_mends_while_a_coordinator_starts_is_logged_once_it_lasts(log: Log) -> None:
    told = "GETPID [rdkafka#producer-2] Failed to acquire idempotence PID from broker 127.0.0.1:%d/1: "
    told += "Broker: Coordinator load in progress: retrying"
    for port in (9092, 9093):
        log.line(told, port, name=library_log.name)
    assert log.lines == []
    log.now += GRACE_SECONDS
    log.line(told, 9092, name=library_log.name)
    assert log.lines == [told % 9092]


def test_lines_that_never_repeat_take_no_memory_for_ever(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_KINDS", 2)
    for name in ("a", "b", "c", "a"):
        log.line(f"the topic {name} is gone")
    assert len(log.lines) == 4


@pytest.fixture
def as_json() -> JsonFormatter:
    return JsonFormatter()


def formatted(as_json: JsonFormatter, message: str, *args: object, error: Any = None) -> dict[str, str]:
    record = logging.LogRecord("metroline.app", logging.ERROR, __file__, 1, message, args, error)
    record.created = 1_790_000_000.1234
    text = as_json.format(record)
    assert "\n" not in text
    return dict(json.loads(text))


def test_a_line_as_json_has_time_level_logger_and_message(as_json: JsonFormatter) -> None:
    assert formatted(as_json, "two %s\nof text \ud800", "lines") == {
        "time": "2026-09-21T14:13:20.123Z",
        "level": "error",
        "logger": "metroline.app",
        "message": "two lines\nof text ?",
    }


def test_an_error_as_json_has_its_traceback(as_json: JsonFormatter) -> None:
    try:
        raise OSError("the disk is full")
    except OSError as error:
        found = formatted(as_json, "not written", error=(OSError, error, error.__traceback__))
    assert found["message"] == "not written"
    assert found["traceback"].startswith("Traceback (most recent call last):\n")
    assert found["traceback"].endswith("OSError: the disk is full")
