"""`metroline trace` tells the journey of a record from what the line keeps, or why there is nothing to tell."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result
from pyroaring import BitMap

from metroline.agents.tables.publication import Publication
from metroline.app.cli import cli, trace
from metroline.app.operations.journeys.whereabouts import Whereabouts
from metroline.app.operations.rules_topic import PublishedRules
from metroline.routing.journeys.replay_job_messages import Act, Done, encode
from metroline.routing.messages.itinerary import Provenance
from metroline.routing.messages.segment import Attempts, Replan, Segment, Visit, Waits
from metroline.routing.outcome import DELIVERED, Cause, Outcome
from tests.support.dead_letter_topic import TopicMessage, dead_letters_of
from tests.support.journey_topics import kept_message, serve_topics

RULES = """
[[rules]]
name = "paid ones"
after = "source"
when = "paid == true"
to = "ship"

[[rules]]
name = "all"
after = "source"
to = "price"

[[rules]]
name = "priced ones"
after = "price"
to = "ship"
"""
AT = 1_700_000_000.0
SEGMENT = Segment(
    (7,),
    (b'{"paid":false,"amount":12}',),
    AT,
    (
        Visit("price", AT + 2, "all", "on-ramp", 1, 1.5),
        Visit("ship", AT + 60.5, "priced ones", "switch", 1, 0.25),
    ),
    Provenance(None, "ship", 1),
    outcome=DELIVERED,
    hops=3,
    retried=(Attempts("price", ("OSError: no",), AT, (), (AT + 0.25,)),),
    waited=(Waits("ship", AT + 3, 2),),
    replans=(Replan("price", ("amount",)),),
)
BLOCK, MARKS = ("0/source/0", 0), base64.b64encode(BitMap([8]).serialize()).decode()
SOURCE = [TopicMessage((0, 7), None, b'{"paid":false}')]


@pytest.fixture(autouse=True)
def line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve the topics of a line without a broker."""
    dead = Segment(
        (8,),
        (b"{}",),
        AT,
        (Visit("price", AT + 9, "all", "on-ramp", 1),),
        outcome=Outcome.dead(Cause.SERVICE_ERROR, "\x1b[31mValueError: no"),
        attempts=Attempts("price", ("ValueError: no",), AT, ("services.py:5 in price\nlib.py:7 in put",), (AT + 9,)),
    )
    kept = [kept_message((SEGMENT, AT + 61), count=5)]
    done = Done(
        order="a" * 32, act=Act.DISCARD, at=AT + 70, by="anna", reason="\x1b[31ma test", blocks=((*BLOCK, MARKS),)
    )
    topics = {".journeys": kept, ".dead-letters": dead_letters_of([dead]), ".source": SOURCE}
    serve_topics(monkeypatch, topics | {".replay-jobs": [TopicMessage((0, 0), *encode(done))]})

    async def versions(*_: Any) -> AsyncIterator[PublishedRules]:
        yield PublishedRules(1, Publication(RULES, 0, "me", 1.0))

    async def somewhere(*_: Any) -> Whereabouts:
        return Whereabouts("under_way", "it waits at the stop ship, or its service works on it", "ship", AT)

    monkeypatch.setattr(trace, "published_versions", versions)
    monkeypatch.setattr(trace, "whereabouts", somewhere)


def traced(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["trace", *arguments, "--line", "metroline.agents.lines.metrobus"])


def test_a_journey_is_told_place_by_place() -> None:
    result = traced("source-0-7")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[:24] == [
        "source-0-7 was delivered after 61.000 s",
        "  entered 2023-11-14 22:13:20.000 UTC, ended 2023-11-14 22:14:21.000 UTC",
        "  signpost, 3 hops on the bus",
        "",
        "source: left +0.000 s",
        "  · paid ones: paid == true does not hold  (paid=false)",
        "  ✔ all: holds",
        "  → price by the rule 'all' of version 1, decided by on-ramp",
        "",
        "price: came +0.000 s, waited 0.500 s, worked 1.500 s, left +2.000 s",
        "  attempt 1 failed at +0.250 s: OSError: no",
        "  made its plan stale: it changed amount",
        "  ✔ priced ones: holds",
        "  (the values did not change between the source and the end)",
        "  → ship by the rule 'priced ones' of version 1, decided by switch",
        "",
        "ship: came +2.000 s, waited 58.250 s, worked 0.250 s, left +60.500 s",
        "  asked to wait, 2 times, first at +3.000 s",
        "  → delivered, by version 1 of the rules, decided by ship",
        "",
        "record",
        "  {",
        '    "paid": false,',
        '    "amount": 12',
    ]


def test_a_dead_letter_is_told_with_its_attempts_and_nothing_that_a_terminal_obeys() -> None:
    result = traced("source-0-8")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "  attempt 1 failed at +9.000 s: ValueError: no" in result.stdout
    assert "      lib.py:7 in put" in result.stdout
    assert "\\x1b[31mValueError: no" in result.stdout


def test_a_record_without_a_kept_journey_is_told_by_where_it_is() -> None:
    result = traced("source-0-9")
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout == "source-0-9: it waits at the stop ship, or its service works on it\n"


def test_programs_get_the_same() -> None:
    found = json.loads(traced("source-0-7", "--json", "-").stdout)
    assert [place["place"] for place in found["journeys"][0]["places"]] == ["source", "price", "ship"]
    assert found["journeys"][0]["places"][1]["attempts"][0]["cause"] == "OSError: no"
    assert found["whereabouts"] is None
    missing = traced("source-0-9", "--json", "-")
    assert missing.exit_code == 1
    nothing = orjson.loads(missing.stdout)
    assert (nothing["journeys"], nothing["whereabouts"]["stop"]) == ([], "ship")


def test_what_is_no_id_is_wrong_use() -> None:
    result = traced("nonsense")
    assert result.exit_code == 2
    assert "'nonsense' is not the id of a record" in result.stderr


def test_what_was_done_to_a_dead_letter_is_told_behind_its_journey() -> None:
    assert "discarded by anna: \\x1b[31ma test" in traced("source-0-8").stdout
    told = json.loads(traced("source-0-8", "--json", "-").stdout)
    assert [(entry["what"], entry["by"]) for entry in told["done"]] == [("discard", "anna")]
    assert json.loads(traced("source-0-7", "--json", "-").stdout)["done"] == []
