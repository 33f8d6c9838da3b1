"""`line.toml`: what it says is read, and everything that is wrong in it is listed with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from metroline.agents.services.line_options import LineOptions
from metroline.routing.errors import InvalidLineOptions

GOOD = """
[source]
topic = "orders.in"
format = "json"
tombstones = "deliver"

[dead_letters]
topics = ["warehouse.dlq", "prices.dlq"]

[ends.end]
key = "order_id"

[ends.shipped]
topic = "orders.shipped"
format = "packed"
"""


def read(folder: Path, text: str) -> LineOptions:
    (folder / "line.toml").write_text(text)
    return LineOptions.read(folder, {"ship"})


def test_a_line_without_the_file_has_no_options(tmp_path: Path) -> None:
    assert LineOptions.read(tmp_path, {"ship"}) == LineOptions()


def test_the_source_and_the_ends_are_read(tmp_path: Path) -> None:
    options = read(tmp_path, GOOD)

    assert (options.source.topic, options.source.tombstones) == ("orders.in", "deliver")
    assert options.dead_letters.topics == ("warehouse.dlq", "prices.dlq")
    assert [(name, end.topic, end.key, end.format) for name, end in options.ends.items()] == [
        ("end", None, "order_id", None),
        ("shipped", "orders.shipped", None, "packed"),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "[source]\ntopik = 'a'\n",
            "2: source.topik: unknown key; there are topic, format, tombstones, kind; did you mean 'topic'?",
        ),
        (
            "[end.shipped]\n",
            "1: end: unknown key; there are source, schedules, ends, dead_letters; did you mean 'ends'?",
        ),
        ("[sauce]\n", "1: sauce: unknown key; there are source, schedules, ends, dead_letters"),
        ("\n[ends.a]\ntopic = 'a'\nkeys = 'b'\n", "4: ends.a.keys: unknown key; there are topic, key, format"),
        ("ends = { a = { topic = 5 } }\n", "1: ends.a.topic: must be text"),
        (
            "[ends]\na.topic = 'no name'\n",
            "2: ends.a.topic: must be the name of a topic: letters, digits, dots, _ and -",
        ),
        ("# [ends.a]\n[ends . 'a']\nkey = ''\n", "3: ends.a.key: is empty"),
        ("[ends.a]\ntopic = 'a'\nformat = 'xml'\n", "3: ends.a.format: must be packed, json, avro, "),
        ("[source]\nformat = 'packed'\n", "2: source.format: must be json, avro, "),
        ("[ends.a]\ntopic = 'a'\nschema = 7\n", "3: ends.a.schema: only the formats avro, json-schema, protobuf "),
        ("[ends.a]\ntopic = 'a'\nformat = 'avro'\nschema = 'last'\n", "4: ends.a.schema: "),
        ("[source]\ntombstones = true\n", "2: source.tombstones: must be 'dead', 'drop' or 'deliver'"),
        ("[ends]\nshipped = 'orders'\n", "2: ends.shipped: must be a table"),
        ("\n[[ends]]\nnumbers = [\n1" + "0" * 15 + ",\n]\n", "2: ends: must be a table of ends: [ends.NAME]"),
        ("schedules = 5\n", "1: schedules: must be a table of schedules: [schedules.NAME]"),
        ("[schedules.a]\ncron = '0 2 * *'\n", "2: schedules.a.cron: '0 2 * *' is no crontab expression: it has"),
        (
            "[schedules.a]\ncron = '0 0 31 2 *'\n",
            "2: schedules.a.cron: '0 0 31 2 *' never comes: no month has",
        ),
        (
            "[schedules.a]\ncron = '@daily'\ntimezone = 'CEST'\n",
            "3: schedules.a.timezone: there is no time zone ",
        ),
        ("[schedules.a]\nrecord = {}\n", "1: schedules.a.cron: is missing"),
        (
            "[schedules.a]\ncron = '@daily'\nmissed = 'none'\n",
            "3: schedules.a.missed: must be 'latest', 'all' or",
        ),
        (
            "[schedules.a]\ncron = '@daily'\nmised = 'all'\n",
            "3: schedules.a.mised: unknown key; there are cron, timezone, record, missed; did you mean 'missed'?",
        ),
        ("[schedules.'A b']\ncron = '@daily'\n", "1: a schedule cannot be named 'A b'"),
        (
            "[schedules.a]\ncron = '@daily'\nrecord = { schedule = 'b' }\n",
            "3: schedules.a.record: every tick sets the field schedule: leave it out",
        ),
        ("[schedules.a]\ncron = '@daily'\nrecord = { n = nan }\n", "3: schedules.a.record: nan and inf are not JSON"),
        ("[schedules.a]\ncron = '@daily'\nrecord.n = 99999999999999999999\n", "3: schedules.a.record: "),
        ("ends = 5\n", "1: ends: must be a table of ends: [ends.NAME]"),
        ("[dead_letters]\ntopics = 'a'\n", "2: dead_letters.topics: must be a list of topics"),
        ("[dead_letters]\ntopics = ['a b']\n", "2: dead_letters.topics.0: must be the name of a topic: letters, "),
        (
            "[dead_letters]\ntopic = ['a']\n",
            "2: dead_letters.topic: unknown key; there are topics; did you mean 'topics'?",
        ),
        (
            f"[dead_letters]\ntopics = {[f't{n}' for n in range(21)]}\n",
            "2: dead_letters.topics: has more than 20 topics",
        ),
        ("[dead_letters]\ntopics = ['a', 'a']\n", "2: dead_letters.topics: a is named twice"),
        ("[dead_letters]\ntopics = ['__a']\n", "2: dead_letters.topics: __a is one of Kafka's own"),
        (
            "[dead_letters]\ntopics = ['a']\n[source]\ntopic = 'a'\n",
            "2: dead_letters.topics: a is the source or an end: it holds no dead letters",
        ),
        ("[ends.ship]\ntopic = 'a'\n", "1: the end 'ship' has the name of a service: rename one of them"),
        (
            "[ends.source]\ntopic = 'a'\n",
            "1: an end cannot be named 'source': a name has lower-case letters, digits and _, starts",
        ),
        ("[ends.'A b']\ntopic = 'a'\n", "1: an end cannot be named 'A b'"),
        (
            "[ends.a]\ntopic = 'x'\n[ends.b]\ntopic = 'x'\n",
            "4: the end 'b' and the end 'a' have the same topic x: give it a topic of its own",
        ),
        (
            "[source]\ntopic = 'x'\n[ends.b]\ntopic = 'x'\n",
            "4: the end 'b' and the source have the same topic x: give it a topic of its own",
        ),
        ("[ends.a]\nformat = 'json'\n", "1: ends.a.topic: is missing"),
        (
            "[ends.a]\ntopic = 'a'\nformat = 'packed'\nkey = 'b'\n",
            "4: ends.a.key: packed records have no keys: leave out `key` or `format`",
        ),
        ("[ends.a\n", "1:8: not valid TOML: "),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(InvalidLineOptions) as refused:
        read(tmp_path, text)

    [told] = refused.value.problems
    assert told.startswith(f"{tmp_path}/line.toml:{problem}")


def test_all_problems_are_listed_in_the_order_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidLineOptions) as refused:
        read(tmp_path, "[ends.a]\nkey = 1\n[source]\ntopic = 2\nformat = 'avroo'\n")

    assert [told.split(": ")[0].rpartition(":")[2] for told in refused.value.problems] == ["2", "4", "5"]
