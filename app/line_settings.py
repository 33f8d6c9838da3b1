"""The settings that `line.toml` may have, too: the environment overrides the file of the line."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from metroline.agents.formats.names import CHOICES, JSON, PACKED, Choice, EndFormat, is_format
from metroline.agents.kafka.topics import Topics
from metroline.agents.services.line import Line
from metroline.agents.services.line_options import EndOptions
from metroline.routing.addresses import END
from metroline.routing.errors import UsageError
from metroline.routing.journeys.ends import End, Ends
from metroline.routing.journeys.tombstones import Tombstones


class InvalidSettings(UsageError):
    """Raised when an environment variable has a value that cannot be used; it names the variable."""


class LineSettings(BaseSettings):
    """The topics of a line, and the formats of its source and its ends."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # it may be a password
    )

    prefix: str = Field("", pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$|^$", max_length=100)
    """Prefix of the names of the line's topics and consumer groups. Default: the line's name."""
    source: str = ""
    """Topic that upstream clients write to. Default: the one in the line's `line.toml`, or `{prefix}.source`."""
    source_tombstones: Literal["dead", "drop", "deliver"] = "dead"
    """Outcome of a source message without a value, which in a compacted topic deletes its key: with `dead` a dead
    letter, with `drop` dropped under the reason `tombstone`, with `deliver` delivered past all stops. It overrides
    `line.toml`."""
    source_format: str = "json"
    """Format of the source messages: `json`, or with a schema registry `avro`, `json-schema` or `protobuf`, or a
    function of your own, `package.module:function`, which takes bytes and returns a record. It overrides
    `line.toml`."""
    delivered_format: str = "plain"
    """Format of the records at the default end. With `plain`, each is a Kafka message of its own in JSON, with the key,
    headers and timestamp of its source message. `json` is another name for it. With `avro`, `json-schema`, `protobuf`
    or `package.module:function`, which takes a record and returns bytes, so is each message, in this format. With
    `packed`, records are delivered in envelopes, which the on-ramp of another line takes apart. It overrides
    `line.toml`."""
    delivered_schema: str = Field("latest", pattern=r"^(latest|source|[0-9]{1,10})$")
    """Schema of the records at the default end: `latest`, the latest version of the subject `{TOPIC}-value`; `source`,
    that of each record's source message if the record still fits it, otherwise the latest; or the id of a schema. It
    overrides `line.toml`."""
    delivered_message: str = ""
    """Name of the Protobuf message type of the records at the default end, with its package. Default: the first of the
    schema. It overrides `line.toml`."""
    end_topics: Literal["named", "delivered"] = "named"
    """With `named`, records are delivered to the topics that `line.toml` names for their ends. With `delivered`, all
    go to `{prefix}.delivered`, in the format of the default end, and nothing is written to topics of others or to other
    systems. So a line
    can be tried out."""

    schedules: Literal["on", "off"] = "on"
    """With `off`, no record enters the line by the [schedules](schedules.md) of its `line.toml`: to try the line out,
    or to have maintenance rest. What is missed meanwhile is treated as if no worker had run. Give all workers the same
    value."""

    rules_file: str = ""
    """File with the rules table that takes the place of the line's `routes.toml`, so that a table can be tried out.
    Default: `routes.toml`."""

    @field_validator("source_format")
    @classmethod
    def _known_format(cls, name: str) -> str:
        if not is_format(name):
            raise ValueError(f"use {CHOICES}")
        return name

    @field_validator("delivered_format")
    @classmethod
    def _known_delivered_format(cls, name: str) -> str:
        return name if name in ("plain", PACKED) else cls._known_format(name)

    def prefix_of(self, line: Line) -> str:
        """Return the prefix of the names of a line's topics."""
        return self.prefix or line.name

    def topics(self, line: Line) -> Topics:
        prefix = self.prefix_of(line)
        ends = {name: end.topic for name, end in line.options.ends.items() if end.topic}
        source = self.source or line.options.source.topic or f"{prefix}.source"
        has_schedules = bool(line.options.schedules) and self.schedules == "on"
        topics = Topics(prefix, source, ends if self.end_topics == "named" else {}, has_schedules)
        _check_ends(topics, line)
        return topics

    def as_run(self, line: Line) -> Line:
        """Return a line as workers run it under these settings, by their rules and with ends that write or do not."""
        run = line.with_prefix(self.prefix_of(line)) if self.end_topics == "named" else line.for_trials()
        if not self.rules_file:
            return run
        try:
            return run.with_rules(Path(self.rules_file).read_text("utf-8-sig"), self.rules_file)
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidSettings(f"RULES_FILE: {self.rules_file} cannot be read: {error}") from error

    def ends(self, line: Line) -> Ends:
        """Return the ends of a line, and the messages that records become at each of them."""
        options, is_named = line.options.ends, self.end_topics == "named"
        made = {}
        for name, chosen in self.end_formats(line).items():
            own = options.get(name if is_named else END)
            is_packed = chosen.name == PACKED
            made[name] = End(None if own is None or is_packed else own.key, is_packed)
        return made | (dict.fromkeys(line.options.outside, End(is_outside=True)) if is_named else {})

    def end_formats(self, line: Line) -> dict[str, EndFormat]:
        """Return the format of the records at each end of a line."""
        default = self._default_format(line.options.ends.get(END, EndOptions()))
        if self.end_topics == "delivered":
            return dict.fromkeys((*line.ends, *line.options.outside), default)
        own = {
            name: EndFormat(end.format or JSON, end.schema_choice, end.message, f"ends.{name}.format in line.toml")
            for name, end in line.options.ends.items()
        }
        return own | {END: default}

    def _default_format(self, options: EndOptions) -> EndFormat:
        """Return the format of the default end: by the environment or else by `line.toml`."""
        given = self.model_fields_set
        is_own = "delivered_format" in given or options.format is None
        name = self.delivered_format if is_own else options.format or JSON
        schema = self._schema_choice if "delivered_schema" in given else options.schema_choice
        return EndFormat(
            JSON if name == "plain" else name,
            schema,
            self.delivered_message or options.message,
            "DELIVERED_FORMAT" if is_own else f"ends.{END}.format in line.toml",
        )

    @property
    def _schema_choice(self) -> Choice:
        chosen = self.delivered_schema
        return cast(Choice, chosen) if chosen in ("latest", "source") else int(chosen)

    def format_of_source(self, line: Line) -> tuple[str, str]:
        """Return the name of the source's format, and the place where it can be changed."""
        if "source_format" in self.model_fields_set or line.options.source.format is None:
            return self.source_format, "SOURCE_FORMAT"
        return line.options.source.format, "source.format in line.toml"

    def tombstones(self, line: Line) -> Tombstones:
        """Return the outcome of tombstones: that of the environment, if it has one, or else that of `line.toml`."""
        if "source_tombstones" in self.model_fields_set:
            return Tombstones(self.source_tombstones)
        return Tombstones(line.options.source.tombstones or self.source_tombstones)


def _check_ends(topics: Topics, line: Line) -> None:
    """Raise `InvalidSettings` if an end of the line has a topic that the line uses otherwise."""
    own = {topics.source, *(plan.name for plan in topics.plans(1, line.stops, 0) if not plan.is_shared)}
    for name, topic in topics.ends.items():
        if topic in own:
            raise InvalidSettings(
                f"line.toml: the line itself uses the topic {topic} of the end {name!r}: give it another one"
            )
    for topic in line.options.dead_letters.topics:
        if topic in own:
            raise InvalidSettings(f"line.toml: the line itself uses the topic {topic} of [dead_letters]: leave it out")
