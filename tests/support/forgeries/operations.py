"""Messages that no operation wrote: of replay jobs, the journal, comparisons and schedules."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec
import orjson
from pyroaring import BitMap

from metroline.app.operations.journal_notes import Deed, Note
from metroline.routing.journeys.replay_job_messages import (
    Act,
    Ask,
    Claim,
    Done,
    JobState,
    Members,
    Message,
    Progress,
    Start,
    StartDiscard,
    StartForeign,
    Taken,
    Tally,
    Wish,
    encode,
    encoded_offsets,
)
from tests.support.forgeries.forgery import Forgery, dressed, garbage
from tests.support.kept_comparisons import FIRST, SECOND, done
from tests.support.mutants import ODD, mutated

HUGE: Sequence[Any] = (2**31, 2**53 - 1, 2**53, 2**63, 2**64 - 1, 1e300, -1, [], None)
BY = "a stranger\x1b[2J<script>"
LISTED = base64.b64encode(BitMap([1, 2]).serialize()).decode()
MANY = base64.b64encode(BitMap(range(2**24)).serialize()).decode()
BLOCKS = (
    *(("0/source/0", 0, LISTED), ("0/source/0", 0, MANY), ("0/source/0", 2**53 - 1, LISTED)),
    *(("0/source/x", 0, LISTED), ("", 0, LISTED), ("x/foreign:dlq/y", 0, MANY), ("0/source/9" * 500, 1, LISTED)),
)
PLACES = (encoded_offsets([1]), encoded_offsets([2**63, 2**64 - 1]), encoded_offsets(range(2**24)), "AAAA", "%")
"""Offsets; the fourth and fifth are none."""


def job_message(random: Random) -> Message:
    """Return a message about replay jobs that a worker or a command could have written, but for some of its values."""
    job, order = f"{random.randrange(30):010x}", f"{random.randrange(2**128):032x}"
    at = random.choice((0.0, time.time(), 253_402_300_799.0))
    blocks = tuple(random.choices(BLOCKS, k=random.choice((0, 1, 3))))
    epoch = random.choice((0, 1, 5, 2**53 - 1))
    places = {random.choice(("0", "9", "999999999")): random.choice(PLACES[:3])}
    makers: Sequence[Callable[[], Message]] = (
        lambda: Start(job=job, at=at, by=BY, group="4be3b2", fields={"a": [[{}]] * 9}, stop_at=1.0),
        lambda: Start(job=job, at=at, by=BY, ids=("source-7-1", "x", "", "source-7-" + "9" * 99), to="nowhere"),
        lambda: StartDiscard(job=job, at=at, by=BY, group="x" * 200, reason="r" * 500),
        lambda: StartForeign(job=job, at=at, by=BY, topic="no such topic", ids=("0-1", "0-x")),
        lambda: Ask(order=order, job=job, wish=random.choice(list(Wish)), at=at, by=BY, reason="r" * 500),
        lambda: Claim(owner=order, worker=BY, at=at),
        lambda: Members(job=job, epoch=epoch, part=random.choice((0, 1)), parts=random.choice((1, 2)), blocks=blocks),
        lambda: Progress(
            job=job,
            epoch=epoch,
            seen=random.choice((0, 2**53 - 1)),
            at=at,
            state=random.choice(list(JobState)),
            tally=Tally(2**53 - 1, random.choice((0, 2**53 - 1)), 2**53 - 1),
            left_out={"x" * 900: 2**53 - 1},
            number=random.choice((0, 2**53 - 1)),
        ),
        lambda: Taken(order=order, topic="dlq", at=at, by=BY, places=places, sent={"x": places}, job=job),
        lambda: Taken(order=order, topic="dlq", at=at, by=BY, places=places, reason=BY),
        lambda: Done(order=order, act=Act.DISCARD, at=at, by=BY, count=2**53 - 1, blocks=blocks, record=BY),
        lambda: Done(order=order, act=Act.REPLAY, at=at, by=BY, count=1, blocks=blocks, to=BY, is_edited=True),
    )
    return random.choice(makers)()


def forged_job(random: Random, _: int = 0) -> Forgery:
    """Return a message for the topic of replay jobs. None starts a job with dead letters that there are."""
    key, value = encode(job_message(random))
    kind = random.randrange(6)
    if kind == 0:
        return dressed(random, garbage(random), random.choice((key, b"owner", b"done/x", b"")))
    if kind == 1:
        return dressed(random, mutated(random, value), key)
    if kind == 2:
        return dressed(random, value, mutated(random, key))
    return dressed(random, value if kind > 3 else None, key)


def forged_note(random: Random, _: int = 0) -> Forgery:
    """Return a message for the topic of the journal."""
    texts = {name: random.choice(("", BY, "x" * 500)) for name in ("worker", "roles", "reason", "code", "run")}
    note = Note(deed=random.choice(list(Deed)), at=random.choice((0.0, time.time(), 253_402_300_799.0)), **texts)
    odd = orjson.loads(note.encode()) | {random.choice(("deed", "at", "by", "run")): random.choice((*ODD, *HUGE))}
    return _disguised(random, note.encode(), orjson.dumps(odd), b"")


def forged_comparison(random: Random, _: int = 0) -> Forgery:
    """Return a message for the topic of comparisons."""
    name = random.choice((FIRST, SECOND, f"{random.randrange(2**40):010x}"))
    run = msgspec.json.encode(done(name, by=BY, at=random.choice((0.0, 253_402_300_799.0))))
    told = orjson.loads(run)
    odd = told | {random.choice(list(told)): random.choice((*ODD, *HUGE, {"runs": [{}]}, {"runs": 1}))}
    forged = _disguised(random, run, orjson.dumps(odd), name.encode())
    if random.random() < 0.8:
        return forged
    wish = orjson.dumps({"by": BY, "at": random.choice((0.0, *HUGE))})
    return Forgery(wish, name.encode() + b".cancel", forged.headers)


def forged_tick(random: Random, schedule: str = "nightly") -> Forgery:
    """Return a message for the topic of schedules. None declares a tick done that has come or will come soon."""
    tick = random.choice((0, 1, 2**40, *HUGE))
    value = orjson.dumps({"tick": tick})
    name = random.choice((schedule, f"no such {random.randrange(10**6)}", "")).encode()
    return _disguised(random, value, orjson.dumps({"tick": random.choice((*ODD[8:], *HUGE[2:]))}), name)


def _disguised(random: Random, good: bytes, odd: bytes, key: bytes) -> Forgery:
    """Return garbage, a message that looks good, one with a value of another type, or one with defects."""
    kind = random.randrange(5)
    if kind == 0:
        return dressed(random, garbage(random), key)
    if kind == 1:
        return dressed(random, mutated(random, good), key)
    if kind == 2:
        return dressed(random, good, mutated(random, key))
    return dressed(random, good if kind == 3 else odd, key)
