"""Broken inputs among good ones: each is one dead letter that names its cause, each good record has its outcome."""

from __future__ import annotations

from collections import Counter
from itertools import chain, islice

import orjson
import pytest

from routing.outcome import Ending
from tests.integration.depot import Depot, expected

SERVICES = """
from agents import service

@service
def weigh(record):
    if record["n"] == "raises":
        raise ValueError("it cannot be weighed")
    if record["n"] == "forgets":
        return None
    if record["n"] == "odd":
        return {"n": {1, 2}}
    record["heavy"] = record["n"] % 2 == 0 if isinstance(record["n"], int) else None
    return record

@service
def crane(record):
    return record

@service
def shelf(record):
    return record
"""

RULES = """
[[rules]]
name = "routable"
after = "source"
when = 'n != "unroutable"'
to = "weigh"

[[rules]]
name = "heavy ones need the crane"
after = "weigh"
match = { heavy = true }
to = "crane"

[[rules]]
name = "some are not kept"
after = "weigh"
when = "n % 5 == 0"
drop = "not kept"

[[rules]]
name = "light ones go on the shelf"
after = "weigh"
to = "shelf"

[[rules]]
name = "and the lifted ones"
after = "crane"
to = "shelf"
"""

BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "malformed_record: the message is empty"),
    "no JSON": (b"not json at all", "malformed_record: no JSON: "),
    "a list": (b"[1, 2, 3]", "malformed_record: no JSON object but a list"),
    "invalid UTF-8": (b'{"n": "\xff\xfe"}', "malformed_record: no JSON: "),
    "beyond 64 bits": (b'{"n": 123456789012345678901234567890}', "malformed_record: the integer"),
    "cut short": (b'{"n": 12, "note": "and th', "malformed_record: no JSON: "),
    "a service raises": (
        b'{"n": "raises"}',
        "service_error: ValueError: it cannot be weighed (services.py:7 in weigh)",
    ),
    "a service returns nothing": (b'{"n": "forgets"}', "bad_return: NoneType"),
    "a rule errs": (b'{"n": "seven"}', "rule_error: some are not kept: "),
    "unroutable": (b'{"n": "unroutable"}', "unroutable: no rule after source holds"),
}


@pytest.mark.parametrize("strategy", ["conductor", "map_maker", "signpost"])
async def test_a_thousand_broken_inputs_among_ten_thousand_good_ones(depot: Depot, strategy: str) -> None:
    good, each = (10_000, 100) if depot.broker.name == "embedded" else (1_000, 10)
    depot.write(SERVICES, RULES)
    await depot.create_source()
    numbers = iter(range(good))
    share = good // each
    messages = chain.from_iterable(
        chain((raw for raw, _ in BROKEN.values()), (orjson.dumps({"n": n}) for n in islice(numbers, share)))
        for _ in range(each)
    )
    await depot.push(messages)
    depot.start(strategy)
    await depot.settled(good + each * len(BROKEN), timeout=90)

    ways = Counter(expected(number)[1] for number in range(good))
    assert await depot.counts() == {**ways, Ending.DEAD: each * len(BROKEN)}
    assert await depot.duplicates() == 0
    letters = await depot.letters()
    assert len(letters) == each * len(BROKEN)
    causes = Counter(name for name, (_, said) in BROKEN.items() for _, reason, _ in letters if reason.startswith(said))
    shared = {"no JSON", "invalid UTF-8", "cut short"}  # these three say the same
    assert causes == {name: 3 * each if name in shared else each for name in BROKEN}
    kept = Counter(orjson.loads(line).get("raw", {}).get("size") for _, _, line in letters)
    assert kept[len(b"not json at all")] == each


async def test_a_broken_line_in_a_packed_message_is_a_letter_of_its_own(depot: Depot) -> None:
    await depot.create_source()
    packs = []
    for first in range(0, 4_900, 49):
        lines = [orjson.dumps({"n": number}) for number in range(first, first + 49)]
        lines[7] = b"{broken"
        packs.append(b"\n".join(lines) + b"\n\n")
    await depot.push(packs)
    depot.start("map_maker")
    await depot.settled(4_900, timeout=60)

    good = [number for first in range(0, 4_900, 49) for number in range(first, first + 49) if number - first != 7]
    ways = Counter(expected(number)[1] for number in good)
    assert await depot.counts() == {**ways, Ending.DEAD: 100}
    letters = await depot.letters()
    assert [reason.partition(":")[0] for _, reason, _ in letters] == ["malformed_record"] * 100
    assert {orjson.loads(line)["raw"]["text"] for _, _, line in letters} == {"{broken"}
