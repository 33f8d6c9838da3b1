"""The live rules: the newest valid version decides, and refused versions are reported."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import orjson
import pytest

from metroline.agents.rules_agent import RulesAgent, publish_first
from metroline.agents.tables.live_rules import LARGE_CHARACTERS, LiveRules
from metroline.agents.tables.publication import Publication
from metroline.routing.rules.table import RulesTable
from metroline.routing.strategies import strategy_named
from tests.support.bench import RULES, Bench, until

INVALID = '[[rules]]\nafter = "source"\n'
TO_B = RULES.replace('to = "c"', 'to = "b"')
TO_D = RULES.replace('to = "c"', 'to = "d"')


async def test_a_worker_without_a_table_has_no_books_and_version_0() -> None:
    bench = Bench.make()
    bench.rules.data.clear()

    assert bench.rule_tables.current is None
    assert bench.rule_tables.version == 0


async def test_a_table_that_is_yet_to_be_read_has_no_version_even_if_some_of_it_is_there(bench: Bench) -> None:
    is_read = False
    rules = LiveRules(
        RulesTable.parse(RULES, 0, "the file"),
        bench.rules,
        lambda: bench.served,
        strategy_named("signpost"),
        lambda: is_read,
    )
    assert rules.version == 0

    bench.publish(TO_B, replaces=1)
    is_read = True
    assert rules.version == 2


async def test_the_newest_version_decides_and_the_file_stays_beside_it(bench: Bench) -> None:
    bench.publish(TO_B, replaces=1)

    assert bench.rule_tables.rule_tables.live.text == TO_B
    assert bench.rule_tables.rule_tables.from_file.text == RULES
    assert bench.rule_tables.version == 2


async def test_a_large_table_is_read_in_a_thread_and_the_old_one_decides_until_then(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    parse = RulesTable.parse

    def parsed(text: str, version: int, file: str, **kwargs: Any) -> RulesTable:
        threads.append(threading.current_thread().name)
        return parse(text, version, file, **kwargs)

    assert bench.rule_tables.version == 1
    monkeypatch.setattr(RulesTable, "parse", parsed)
    large = TO_B + "#" * LARGE_CHARACTERS
    bench.publish(large, replaces=1)
    bench.publish(INVALID + "#" * LARGE_CHARACTERS, replaces=2)

    assert bench.rule_tables.version == 1
    await until(lambda: bench.rule_tables.version == 2)
    assert bench.rule_tables.rule_tables.live.text == large
    assert list(bench.rule_tables.refused()) == [3]
    assert threads
    assert threading.current_thread().name not in threads


async def test_a_worker_that_is_idle_tells_the_version_that_it_would_go_by(bench: Bench) -> None:
    assert bench.rule_tables.version == 1

    bench.publish(TO_B, replaces=1)

    assert bench.rule_tables.version == 2


async def test_an_invalid_version_is_refused_by_its_problem_and_the_old_one_stays(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.publish(TO_B, replaces=1)
    bench.publish(INVALID, replaces=2)

    assert bench.rule_tables.rule_tables.live.version == 2
    assert list(bench.rule_tables.refused()) == [3]
    [told] = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "version 3 of the rules table is not used" in told
    assert "rules 3:1" in told


@pytest.mark.parametrize(
    "text",
    [
        "rules = " + "[" * 5_000,
        "\x00",
        "rules = 1",
        '[[rules]]\nafter = "source"\nwhen = "' + "(" * 900 + '"\nto = "a"',
    ],
)
async def test_no_text_that_is_published_makes_a_worker_fail(bench: Bench, text: str) -> None:
    bench.publish(text, replaces=1)

    assert bench.rule_tables.rule_tables.live.version == 1
    assert list(bench.rule_tables.refused()) == [2]


async def test_a_version_after_a_refused_one_is_taken(bench: Bench) -> None:
    bench.publish(INVALID, replaces=1)
    assert bench.rule_tables.rule_tables.live.version == 1

    bench.publish(TO_B, replaces=2)

    assert bench.rule_tables.rule_tables.live.version == 3
    assert bench.rule_tables.latest == 3


async def test_a_worker_that_starts_later_takes_the_newest_valid_version_at_once(bench: Bench) -> None:
    for replaces, text in enumerate([TO_B, RULES, TO_B, INVALID], start=1):
        bench.publish(text, replaces)

    assert bench.rule_tables.rule_tables.live.version == 4
    assert list(bench.rule_tables.publications) == [5, 4, 3, 2, 1]


async def test_a_version_that_names_a_stop_without_a_worker_is_refused_until_there_is_one(bench: Bench) -> None:
    bench.publish(TO_D, replaces=1)
    assert bench.rule_tables.rule_tables.live.version == 1

    bench.served.add("d")

    assert bench.rule_tables.rule_tables.live.version == 2
    assert not bench.rule_tables.refused()


async def test_a_stop_that_lost_its_workers_does_not_turn_the_table_back(bench: Bench) -> None:
    bench.publish(TO_B, replaces=1)
    assert bench.rule_tables.rule_tables.live.version == 2

    bench.served.discard("b")

    assert bench.rule_tables.rule_tables.live.version == 2


@pytest.mark.parametrize(("strategy", "warns"), [("hard_wired", True), ("signpost", False), ("conductor", False)])
async def test_only_hard_wired_says_that_a_publication_needs_another_file_and_a_restart(
    caplog: pytest.LogCaptureFixture, strategy: str, warns: bool
) -> None:
    bench = Bench.make(strategy=strategy)
    bench.publish(TO_B, replaces=1)

    assert bench.rule_tables.rule_tables.live.version == 2
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == warns
    if warns:
        assert "hard_wired keep to the line's file" in told[0]
        assert "version 2" in told[0]
        assert "restart" in told[0]


async def test_hard_wired_does_not_warn_of_the_table_that_is_its_file(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench.make(strategy="hard_wired")

    assert bench.rule_tables.rule_tables.live.version == 1
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def publication(text: str, replaces: int) -> bytes:
    return orjson.dumps(Publication(text, replaces, "somebody", 1.0).as_json())


async def applied(bench: Bench, *values: bytes | None) -> None:
    """Let the rules agent read a topic with these messages, and check that each of them is acknowledged."""
    mailbox = bench.mailbox("rules")
    for value in values:
        mailbox.put(value)
    mailbox.close()
    await RulesAgent(bench.agent_loop, bench.rules, bench.rule_tables).run(mailbox.stream)
    await until(lambda: mailbox.acknowledged == {0: list(range(len(values)))})


async def test_a_version_is_the_offset_of_its_message_plus_one_and_reaches_the_changelog(bench: Bench) -> None:
    bench.rules.data.clear()

    await applied(bench, publication(RULES, 0), publication(TO_B, 1))

    assert bench.rule_tables.rule_tables.live.version == 2
    assert [(sent.key, sent.partition) for sent in bench.producer.to("test.table.rules")] == [(b"1", 0), (b"2", 0)]


async def test_of_two_that_replace_one_version_the_first_counts_and_the_second_is_told_of(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.rules.data.clear()

    await applied(bench, publication(RULES, 0), publication(TO_B, 1), publication(TO_D, 1), publication(RULES, 2))

    assert list(bench.rule_tables.publications) == [4, 2, 1]
    assert bench.rule_tables.rule_tables.live.version == 4
    assert "version 3 of the rules table is ignored: it replaces version 1, but version 2 is current" in caplog.text


async def test_workers_that_start_together_and_publish_the_same_file_are_no_warning(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.rules.data.clear()
    caplog.set_level(logging.INFO)

    await applied(bench, publication(RULES, 0), publication(RULES, 0), publication(TO_B, 0))

    ignored = [record.levelno for record in caplog.records if "is ignored" in record.message]
    assert ignored == [logging.INFO, logging.WARNING], "a file that differs is one"


async def test_an_invalid_version_takes_its_place_in_the_chain(bench: Bench) -> None:
    bench.rules.data.clear()

    await applied(bench, publication(RULES, 0), publication(INVALID, 1), publication(TO_D, 1), publication(TO_B, 2))

    assert list(bench.rule_tables.publications) == [4, 2, 1]
    assert bench.rule_tables.rule_tables.live.version == 4


NO_PUBLICATIONS = [
    *(None, b"", b"{", b"[]", b"7", b'"x"', b"{}", b"\xff"),
    b'{"rules":"","replaces":"x","by":"","at":0}',
    b'{"rules":"","replaces":1e999,"by":"","at":0}',
    b'{"rules":"","replaces":1e308,"by":"","at":0}',
    b'{"rules":null,"replaces":[],"by":{},"at":0}',
    b'{"rules":"","replaces":1,"by":"","at":"nan"}',
    b'{"rules":"","replaces":1,"by":"","at":1e18}',
    b'{"rules":"","replaces":1,"by":"","at":-1}',
    b'{"rules":"","replaces":"1","by":"","at":0}',
    b'{"rules":"","replaces":true,"by":"","at":0}',
    b'{"rules":7,"replaces":1,"by":"","at":0}',
]


@pytest.mark.parametrize("value", NO_PUBLICATIONS)
async def test_a_message_that_is_no_publication_is_told_of_and_passed_by(
    bench: Bench, caplog: pytest.LogCaptureFixture, value: bytes | None
) -> None:
    bench.rules.data.clear()

    await applied(bench, publication(RULES, 0), value, publication(TO_B, 1))

    assert bench.rule_tables.rule_tables.live.version == 3
    assert any(record.levelno >= logging.WARNING for record in caplog.records)


async def test_what_was_applied_before_a_restart_is_not_applied_again(bench: Bench) -> None:
    bench.rules.data.clear()
    await applied(bench, publication(RULES, 0), publication(TO_B, 1))
    before = len(bench.producer.sent)

    await applied(bench, publication(RULES, 0), publication(TO_B, 1))

    assert len(bench.producer.sent) == before


async def test_the_lines_file_is_the_first_version_and_of_two_workers_that_publish_it_one_counts(bench: Bench) -> None:
    bench.rules.data.clear()
    for _ in range(2):
        await publish_first(bench.bus, RULES, lambda: 5.0)
    published = bench.producer.to("test.rules")
    assert len({sent.key for sent in published}) == 2, "compaction keeps every version"

    await applied(bench, *(sent.value for sent in published))

    assert list(bench.rule_tables.publications) == [1]
    assert bench.rule_tables.publications[1].by == "the line's file"


async def test_a_publication_that_was_open_at_a_rebalance_does_not_hold_up_those_after_it(bench: Bench) -> None:
    mailbox = bench.mailbox("rules")
    task = asyncio.create_task(RulesAgent(bench.agent_loop, bench.rules, bench.rule_tables).run(mailbox.stream))
    bench.producer.holds = True
    mailbox.put(b"no publication")
    publication = Publication(TO_B, 1, "somebody", 0.0)
    open_at = mailbox.put(orjson.dumps(publication.as_json()))
    await until(lambda: len(bench.producer.sent) == 1)
    bench.agent_loop.reset()
    bench.producer.holds = False
    after = mailbox.put(b"no publication")
    mailbox.close()
    await task

    assert open_at not in mailbox.acknowledged[0]
    assert mailbox.acknowledged[0][-1] == after


async def test_a_table_that_leads_to_an_end_is_used_if_the_line_has_the_end(bench: Bench) -> None:
    bench.publish(RULES.replace('to = "c"', 'to = "end"'), replaces=1)
    assert bench.rule_tables.version == 2

    bench.publish(RULES.replace('to = "c"', 'to = "shipped"'), replaces=2)
    assert bench.rule_tables.version == 2
    assert "no service serves the stop 'shipped'" in bench.rule_tables.refused()[3]
