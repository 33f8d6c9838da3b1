"""Broken inputs: each becomes a dead letter that names its cause, and every other record reaches its outcome."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator

import orjson
import pytest

from metroline.routing.outcome import Ending
from tests.support.depot import RULES, Depot, check_ways, numbered

PICKY = RULES.replace(
    '[[rules]]\nname = "all are weighed"\nafter = "source"\n',
    '[[rules]]\nname = "only the allowed"\nafter = "source"\nwhen = "limit < 10"\nto = "shelf"\n\n'
    '[[rules]]\nname = "those with a number are weighed"\nafter = "source"\nwhen = "n != null"\n',
)
"""A record whose `limit` is a text cannot be evaluated; no rule matches one without `n`."""

BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "malformed_record: the message is empty"),
    "not JSON": (b"hello", "malformed_record: not valid JSON: "),
    "a list": (b'[{"n":1}]', "malformed_record: not a JSON object but a list"),
    "a number": (b"42", "malformed_record: not a JSON object but a number"),
    "invalid UTF-8": (b'{"n":"\xff\xfe"}', "malformed_record: not valid JSON: "),
    "an integer beyond 64 bits": (
        b'{"n":123456789012345678901}',
        "malformed_record: the integer 123456789012345678901",
    ),
    "truncated": (b'{"n":1,"text":"abc', "malformed_record: not valid JSON: "),
    "a record for which a service raises": (b'{"n":"refused"}', "service_error: ValueError: it cannot be weighed"),
    "a record for which a rule errs": (b'{"n":1,"limit":"high"}', "rule_error: only the allowed: "),
    "a record without a way": (b'{"other":1}', "unroutable: no rule after source holds"),
}


def mixed(good: int, each: int) -> Iterator[bytes]:
    """Yield good records interspersed with broken ones of ten kinds; one pack in fifty holds both."""
    broken = [message for message, _ in BROKEN.values() for _ in range(each)]
    every = good // len(broken)
    for number, message in enumerate(numbered(range(good))):
        if number % every or number // every >= len(broken):
            yield message
        elif number // every % 5 == 0 and broken[number // every].strip():
            yield message + b"\n" + broken[number // every] + b"\n"
        else:
            yield message
            yield broken[number // every]


def kept(line: bytes) -> bytes:
    """Return the original bytes that a dead letter preserves, or its line if it holds the record itself."""
    raw = orjson.loads(line).get("raw")
    if raw is None:
        return line
    return base64.b64decode(raw["base64"]) if "base64" in raw else str(raw["text"]).encode()


@pytest.mark.long
async def test_a_thousand_broken_among_ten_thousand_good_are_a_thousand_letters_each_with_its_cause(
    depot: Depot,
) -> None:
    good, each = (10_000, 100) if depot.broker.name == "embedded" else (1_000, 10)
    depot.write((depot.folder / "services.py").read_text(), PICKY)
    depot.start("conductor")
    await depot.push(mixed(good, each))
    await depot.settled(good + 10 * each)

    assert (await depot.counts())[Ending.DEAD] == 10 * each
    letters = await depot.letters()
    assert Counter(kept(line) for _, _, line in letters) == {message: each for message, _ in BROKEN.values()}
    reasons = dict(BROKEN.values())
    wrong = [(reason, line) for _, reason, line in letters if not reason.startswith(reasons[kept(line)])]
    assert not wrong
    check_ways(
        (one for one in (await depot.journeys()).values() if one.ending is not Ending.DEAD),
        range(good),
    )
    assert await depot.duplicates() == 0


async def test_lines_of_one_message_are_records_and_strangers_on_an_inner_topic_are_letters(depot: Depot) -> None:
    depot.start("map_maker")
    await depot.ready()
    await depot.push([b"\xff no envelope"], depot.topics.at("service.crane"))
    await depot.push([b"", b'{"metroline":1}'], depot.topics.at("switch"))
    packs = [b"\n".join(numbered(range(first, first + 49))) for first in range(0, 49 * 40, 49)]
    await depot.push(packs)
    await depot.settled(49 * 40)

    check_ways((await depot.journeys()).values(), range(49 * 40))
    assert Ending.DEAD not in await depot.counts()
    await depot.until(lambda: depot.has_letters(3))
    assert sorted((origin, reason.partition(":")[0], kept(line)) for origin, reason, line in await depot.letters()) == [
        ("stray:service.crane", "malformed_envelope", b"\xff no envelope"),
        ("stray:switch", "malformed_envelope", b""),
        ("stray:switch", "malformed_envelope", b'{"metroline":1}'),
    ]
