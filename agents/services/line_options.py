"""Reads `line.toml`, the options of a line: the topics of its records, its schedules, its ends, and foreign letters.

They are read when a worker starts, and never published: rules that are changed live cannot write to another topic.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, PrivateAttr, ValidationError
from pydantic_core import PydanticCustomError

from metroline.agents.formats.names import CHOICES, PACKED, REGISTERED, Choice, is_format
from metroline.agents.gateways.kinds import END_KINDS, KAFKA, SOURCE_KINDS
from metroline.agents.gateways.outside_end import OutsideEnd
from metroline.agents.gateways.sqs.options import SqsSource
from metroline.agents.services.crontab import Crontab, InvalidCrontab
from metroline.agents.services.schedule import Missed, Schedule
from metroline.routing.addresses import END, SOURCE
from metroline.routing.errors import InvalidLineOptions
from metroline.routing.records.source_messages import read_message
from metroline.routing.rules.toml_lines import line_of
from metroline.routing.rules.toml_text import InvalidToml, decode_toml
from metroline.routing.spelling import unknown_key

FILE = "line.toml"

MAX_FOREIGN = 20
"""Number of topics with dead letters of other systems."""

NAME = re.compile(r"[a-z][a-z0-9_]*\Z")

RESERVED = frozenset({END, "record", "all"})
"""Names that an end in another system than Kafka cannot have: to the rules it is a stop."""

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
    "tuple_type": "must be a list of topics",
    "too_long": f"has more than {MAX_FOREIGN} topics",
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
    kind: Literal["kafka"] = "kafka"
    """The system from which the messages come. Those of other kinds have options of their own."""


SOURCE_KEYS = frozenset(SourceOptions.model_fields) - {"kind"}
"""The keys of `[source]` that say something about the source topic, whoever writes to it."""


class EndOptions(_Table):
    """A table `[ends.NAME]` of an end in Kafka."""

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
    kind: Literal["kafka"] = "kafka"
    """The system to which records are delivered. Those of other kinds have options of their own."""


class DeadLetterOptions(_Table):
    """The table `[dead_letters]`."""

    topics: Annotated[tuple[Topic, ...], Field(max_length=MAX_FOREIGN)] = ()
    """The topics with dead letters of other systems that the pages show, and from which jobs replay."""


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
    """The ends in Kafka by name. The default end is among them if something is said about it."""
    dead_letters: DeadLetterOptions = DeadLetterOptions()
    _outside: Mapping[str, OutsideEnd] = PrivateAttr(default_factory=dict)
    _queue: SqsSource | None = PrivateAttr(default=None)

    @property
    def queue(self) -> SqsSource | None:
        """The queue from which the messages of the source topic come; None if others write to the topic."""
        return self._queue

    @property
    def outside(self) -> Mapping[str, OutsideEnd]:
        """The ends in other systems by name. To the rules, each is a stop."""
        return self._outside

    @property
    def end_names(self) -> frozenset[str]:
        """The names of all ends in Kafka."""
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
        options, problems = _validated(data, folder)
        if options is not None:
            problems += _conflicts(options, stops)
        if options is None or problems:
            found = sorted((line_of(text, path), what) for path, what in problems)
            raise InvalidLineOptions(tuple(f"{file}:{line}: {what}" for line, what in found))
        return options


Problem = tuple[tuple[str, ...], str]
"""The keys that lead to what is wrong, and what is wrong there."""


def _validated(data: dict[str, Any], folder: Path) -> tuple[LineOptions | None, list[Problem]]:
    """Return the options, and what is wrong with those that are not valid each for itself.

    Files that ends name are in `folder`.
    """
    queue, problems = _queue(data)
    if queue is not None or problems:
        data = data | {"source": {key: value for key, value in data["source"].items() if key in SOURCE_KEYS}}
    given = data.get("ends")
    ends = given if isinstance(given, dict) else {}
    outside: dict[str, OutsideEnd] = {}
    for name, table in ends.items():
        kind = table.get("kind", KAFKA) if isinstance(table, dict) else KAFKA
        if kind == KAFKA:
            continue
        if not isinstance(kind, str) or kind not in END_KINDS:
            known = ", ".join((KAFKA, *END_KINDS))
            problems.append((("ends", name, "kind"), f"ends.{name}.kind: must be one of {known}"))
            continue
        try:
            outside[name] = END_KINDS[kind].model_validate(table, context={"folder": folder})
        except ValidationError as error:
            problems += [_described(("ends", name, *_path(one)), one, END_KINDS[kind]) for one in error.errors()]
    in_kafka = {name: table for name, table in ends.items() if _is_in_kafka(table)}
    try:
        options = LineOptions.model_validate(data | {"ends": in_kafka} if ends else data)
    except ValidationError as error:
        return None, [*problems, *(_described(_path(one), one) for one in error.errors())]
    options._outside = outside
    options._queue = queue
    return options, problems


def _queue(data: dict[str, Any]) -> tuple[SqsSource | None, list[Problem]]:
    """Return the queue that `[source]` names, if it has another kind than Kafka."""
    table = data.get("source")
    kind = table.get("kind") if isinstance(table, dict) else None
    if not isinstance(table, dict) or kind is None:
        return None, []
    if not isinstance(kind, str) or kind not in SOURCE_KINDS:
        return None, [(("source", "kind"), f"source.kind: must be one of {', '.join(SOURCE_KINDS)}")]
    if SOURCE_KINDS[kind] is None:
        return None, []
    own = {key: value for key, value in table.items() if key not in SOURCE_KEYS}
    try:
        return SqsSource.model_validate(own), []
    except ValidationError as error:
        return None, [_described(("source", *_path(one)), one, SqsSource) for one in error.errors()]


def _is_in_kafka(table: Any) -> bool:
    return not isinstance(table, dict) or table.get("kind", KAFKA) == KAFKA


def _path(error: Any) -> tuple[str, ...]:
    return tuple(map(str, error["loc"]))


def _described(path: tuple[str, ...], error: Any, table: type[BaseModel] | None = None) -> Problem:
    """Return an error of pydantic as a problem; `table` is the model of an end of another kind than Kafka."""
    what = EXPLAINED.get(error["type"], error["msg"].removeprefix("Value error, "))
    if error["type"] == "dict_type" and path in TABLES_OF:
        what = f"must be a table of {path[0]}: [{path[0]}.NAME]"
    elif error["type"] == "extra_forbidden":
        named = ScheduleOptions if path[0] == "schedules" else EndOptions
        tables: dict[int, type[BaseModel]] = {1: LineOptions, 2: SourceOptions, 3: named}
        if path[0] == "dead_letters" and len(path) > 1:
            tables[len(path)] = DeadLetterOptions
        known = (table or tables[len(path)]).model_fields
        what = unknown_key(path[-1], [field.alias or name for name, field in known.items()])
    elif error["type"] == "literal_error":
        what = f"must be {error['ctx']['expected']}"
    return path, f"{'.'.join(path)}: {what}"


def _conflicts(options: LineOptions, stops: Set[str]) -> list[Problem]:
    """Return what is wrong with tables that are valid each for itself."""
    return [
        *_wrong_names(options, stops),
        *_wrong_combinations(options),
        *_shared_topics(options),
        *_wrong_letters(options),
        *_wrong_schedules(options),
    ]


def _wrong_names(options: LineOptions, stops: Set[str]) -> Iterator[Problem]:
    for name in (*options.ends, *options.outside):
        if not NAME.match(name) or name == SOURCE:
            what = "a name has lower-case letters, digits and _, starts with a letter, and is not source"
            yield ("ends", name), f"an end cannot be named {name!r}: {what}"
        elif name in stops:
            yield ("ends", name), f"the end {name!r} has the name of a service: rename one of them"
        elif name in options.outside and name in RESERVED:
            what = "the default end is a topic: give it a name of its own"
            yield ("ends", name), f"the end {name!r} cannot be of the kind {options.outside[name].kind}: {what}"


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


def _wrong_letters(options: LineOptions) -> Iterator[Problem]:
    own = {options.source.topic, *(end.topic for end in options.ends.values())}
    path, topics = ("dead_letters", "topics"), options.dead_letters.topics
    for topic in dict.fromkeys(topics):
        if topic in own:
            yield path, f"dead_letters.topics: {topic} is the source or an end: it holds no dead letters"
        if topic.startswith("__"):
            yield path, f"dead_letters.topics: {topic} is one of Kafka's own"
        if topics.count(topic) > 1:
            yield path, f"dead_letters.topics: {topic} is named twice"
