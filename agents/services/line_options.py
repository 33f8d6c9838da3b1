"""Reads `line.toml`, the options of a line: the topic of its records, its schedules, and the ends of its records.

They are read when a worker starts, and never published: rules that are changed live cannot write to another topic.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_core import PydanticCustomError

from metroline.agents.formats.names import CHOICES, PACKED, REGISTERED, Choice, is_format
from metroline.agents.services.crontab import Crontab, InvalidCrontab
from metroline.agents.services.schedule import Missed, Schedule
from metroline.routing.addresses import END, SOURCE
from metroline.routing.errors import InvalidLineOptions
from metroline.routing.records.source_messages import read_message
from metroline.routing.rules.toml_lines import line_of
from metroline.routing.rules.toml_text import InvalidToml, decode_toml
from metroline.routing.spelling import unknown_key

FILE = "line.toml"

NAME = re.compile(r"[a-z][a-z0-9_]*\Z")

Topic = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9._-]{1,249}$")]


def _known_format(name: str) -> str:
    if not is_format(name):
        raise PydanticCustomError("format", f"must be {CHOICES}")
    return name


def _known_end_format(name: str) -> str:
    if name != PACKED and not is_format(name):
        raise PydanticCustomError("format", f"must be {PACKED}, {CHOICES}")
    return name


def _known_schema(choice: Any) -> Any:
    if choice not in ("latest", "source") and (type(choice) is not int or choice < 0):
        raise PydanticCustomError("schema", "must be latest, source or the id of a schema")
    return choice


Format = Annotated[str, Field(strict=True), AfterValidator(_known_format)]
EndFormatName = Annotated[str, Field(strict=True), AfterValidator(_known_end_format)]

TABLES_OF = (("ends",), ("schedules",))
"""The keys whose tables have names."""

OWN_FIELDS = frozenset({"schedule", "scheduled_at"})
"""The fields that the record of a schedule has in any case."""

EXPLAINED = {
    "missing": "is missing",
    "model_type": "must be a table",
    "dict_type": "must be a table",
    "string_type": "must be text",
    "string_too_short": "is empty",
    "string_pattern_mismatch": "must be the name of a topic: letters, digits, dots, _ and -",
}


class _Table(BaseModel):
    """A table of `line.toml`, which has no keys but those that are named here."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceOptions(_Table):
    """The table `[source]`. A setting of the environment overrides what it says."""

    topic: Topic | None = None
    """The topic that upstream clients write to."""
    format: Format | None = None
    """The format of the messages."""
    tombstones: Literal["dead", "drop", "deliver"] | None = None
    """The outcome of a source message without a value."""


class EndOptions(_Table):
    """A table `[ends.NAME]`."""

    topic: Topic | None = None
    """The topic to which records are delivered. Only the default end may be without one."""
    key: Annotated[str, Field(strict=True, min_length=1)] | None = None
    """The field of a record that is the key of its message; None for the key of its source message."""
    format: EndFormatName | None = None
    """With `packed`, records are delivered in envelopes. With any other format, each record is a message of its own."""
    schema_choice: Annotated[Choice, Field(alias="schema"), PlainValidator(_known_schema)] = "latest"
    """The schema of the records, where the format has one."""
    message: Annotated[str, Field(strict=True, min_length=1)] | None = None
    """Name of the Protobuf message type of the records."""


class ScheduleOptions(_Table):
    """A table `[schedules.NAME]`: a record that enters the line by the clock."""

    cron: Annotated[str, Field(strict=True)]
    """A crontab expression with five fields."""
    timezone: Annotated[str, Field(strict=True)] = "UTC"
    """The time zone of the expression, by its name in the IANA database."""
    record: Annotated[dict[str, Any], Field(strict=True)] = Field(default_factory=dict)
    """The fields of the record."""
    missed: Missed = "latest"
    """The ticks that are made up for, of those at which no worker ran."""


class LineOptions(_Table):
    """The content of `line.toml`."""

    source: SourceOptions = SourceOptions()
    schedules: dict[str, ScheduleOptions] = Field(default_factory=dict)
    """The schedules by name."""
    ends: dict[str, EndOptions] = Field(default_factory=dict)
    """The ends by name. The default end is among them if something is said about it."""

    @property
    def end_names(self) -> frozenset[str]:
        """The names of all ends."""
        return frozenset((END, *self.ends))

    def made_schedules(self) -> tuple[Schedule, ...]:
        """Return the schedules of the line; raise `InvalidCrontab` if the options have not been checked."""
        return tuple(
            Schedule(name, Crontab(one.cron, one.timezone), one.record, one.missed)
            for name, one in self.schedules.items()
        )

    @classmethod
    def read(cls, folder: Path, stops: Set[str]) -> LineOptions:
        """Return the options of the line in a folder, which need not have the file.

        `stops` are those that the line serves. Raise `InvalidLineOptions` with every problem and its line.
        """
        file = folder / FILE
        if not file.is_file():
            return cls()
        try:
            text = file.read_text("utf-8-sig")
            data = decode_toml(text)
        except InvalidToml as error:
            place = f"{error.line}" if error.column is None else f"{error.line}:{error.column}"
            raise InvalidLineOptions((f"{file}:{place}: {error}{error.shown}",)) from error
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidLineOptions((f"{file}:1: it cannot be read as text in UTF-8 ({error})",)) from error
        options, problems = _validated(data)
        if options is not None:
            problems += _conflicts(options, stops)
        if options is None or problems:
            found = sorted((line_of(text, path), what) for path, what in problems)
            raise InvalidLineOptions(tuple(f"{file}:{line}: {what}" for line, what in found))
        return options


Problem = tuple[tuple[str, ...], str]
"""The keys that lead to what is wrong, and what is wrong there."""


def _validated(data: dict[str, Any]) -> tuple[LineOptions | None, list[Problem]]:
    try:
        return LineOptions.model_validate(data), []
    except ValidationError as error:
        return None, [_described(tuple(map(str, one["loc"])), one) for one in error.errors()]


def _described(path: tuple[str, ...], error: Any) -> Problem:
    what = EXPLAINED.get(error["type"], error["msg"])
    if error["type"] == "dict_type" and path in TABLES_OF:
        what = f"must be a table of {path[0]}: [{path[0]}.NAME]"
    elif error["type"] == "extra_forbidden":
        named = ScheduleOptions if path[0] == "schedules" else EndOptions
        tables: dict[int, type[_Table]] = {1: LineOptions, 2: SourceOptions, 3: named}
        table = tables[len(path)]
        what = unknown_key(path[-1], [field.alias or name for name, field in table.model_fields.items()])
    elif error["type"] == "literal_error":
        what = f"must be {error['ctx']['expected']}"
    return path, f"{'.'.join(path)}: {what}"


def _conflicts(options: LineOptions, stops: Set[str]) -> list[Problem]:
    """Return what is wrong with tables that are valid each for itself."""
    ends = [*_wrong_names(options, stops), *_wrong_combinations(options), *_shared_topics(options)]
    return [*ends, *_wrong_schedules(options)]


def _wrong_names(options: LineOptions, stops: Set[str]) -> Iterator[Problem]:
    for name in options.ends:
        if not NAME.match(name) or name == SOURCE:
            what = "a name has lower-case letters, digits and _, starts with a letter, and is not source"
            yield ("ends", name), f"an end cannot be named {name!r}: {what}"
        elif name in stops:
            yield ("ends", name), f"the end {name!r} has the name of a service: rename one of them"


def _wrong_schedules(options: LineOptions) -> Iterator[Problem]:
    for name, schedule in options.schedules.items():
        path = ("schedules", name)
        if not NAME.match(name):
            what = "a name has lower-case letters, digits and _, and starts with a letter"
            yield path, f"a schedule cannot be named {name!r}: {what}"
        try:
            Crontab(schedule.cron, schedule.timezone)
        except InvalidCrontab as error:
            key = "timezone" if "time zone" in str(error) else "cron"
            yield (*path, key), f"schedules.{name}.{key}: {error}"
        for field in OWN_FIELDS & schedule.record.keys():
            yield (*path, "record"), f"schedules.{name}.record: every tick sets the field {field}: leave it out"
        if (problem := _unsendable(schedule.record)) is not None:
            yield (*path, "record"), f"schedules.{name}.record: {problem}"


def _unsendable(record: dict[str, Any]) -> str | None:
    """Return why a record cannot be sent as JSON and read unchanged; None if it can."""
    if _has_no_number(record):
        return "nan and inf are not JSON"
    try:
        return read_message(orjson.dumps(record))[0].problem
    except TypeError as error:
        return str(error)


def _has_no_number(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(_has_no_number, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and not math.isfinite(value)


def _wrong_combinations(options: LineOptions) -> Iterator[Problem]:
    for name, end in options.ends.items():
        if end.topic is None and name != END:
            yield ("ends", name), f"ends.{name}.topic: is missing"
        if end.key is not None and end.format == "packed":
            yield ("ends", name, "key"), f"ends.{name}.key: packed records have no keys: leave out `key` or `format`"
        for key in ("schema", "message"):
            if key in end.model_dump(by_alias=True, exclude_unset=True) and end.format not in REGISTERED:
                what = f"ends.{name}.{key}: only the formats {', '.join(REGISTERED)} have one"
                yield ("ends", name, key), what


def _shared_topics(options: LineOptions) -> Iterator[Problem]:
    taken = {options.source.topic: "the source"}
    for name, end in options.ends.items():
        if end.topic is None:
            continue
        if end.topic in taken:
            what = (
                f"the end {name!r} and {taken[end.topic]} have the same topic {end.topic}: give it a topic of its own"
            )
            yield ("ends", name, "topic"), what
        taken.setdefault(end.topic, f"the end {name!r}")
