"""Dead letters of other systems are written to their topics, noted once they are, and never to a topic of the line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError

from metroline.agents.kafka import topic_survey
from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.kafka.topic_survey import Survey
from metroline.agents.kafka.topic_tail import Place
from metroline.agents.kafka.topics import Topics
from metroline.agents.services.line import Line
from metroline.agents.services.line_options import LineOptions
from metroline.app.operations import foreign_letters as module
from metroline.app.operations.foreign_letters import ForeignDesk, ForeignNote, Found
from metroline.app.operations.journal import entries_of
from metroline.app.operations.letter import DeadLetterError
from metroline.app.operations.permission import NotPermitted, Permission
from metroline.routing.journeys.foreign_letters import ForeignLetter
from metroline.routing.journeys.replay_job_board import Jobs
from metroline.routing.journeys.replay_job_messages import Taken, encode, encoded_offsets, offsets_in

OPTIONS = {"ends": {"shipped": {"topic": "shipped"}}, "dead_letters": {"topics": ["dlq", "other.dlq"]}}
LINE = cast(Line, SimpleNamespace(options=LineOptions.model_validate(OPTIONS)))
TOPICS = Topics("line", "line.source", {"shipped": "shipped"})
ADA = Permission.granted("ada")


class Brokers:
    """A cluster that refuses some of the values that are written to it."""

    bootstrap = "nowhere"

    def __init__(self, refused: dict[bytes, Exception]) -> None:
        self.refused = refused
        self.written: list[bytes] = []
        self.unanswered: list[asyncio.Future[Any]] = []
        """Confirmations that come when the producer is closed."""
        self.is_slow = False

    @asynccontextmanager
    async def producer(self, **_: Any) -> AsyncIterator[Brokers]:
        try:
            yield self
        finally:
            for number, answer in enumerate(self.unanswered, 101):
                answer.set_result(SimpleNamespace(partition=1, offset=number))

    async def send(self, topic: str, value: bytes | None, key: bytes | None = None, **_: Any) -> asyncio.Future[Any]:
        if value is None and key is None:
            raise AssertionError("Need at least one: key or value")  # as aiokafka does
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if (error := self.refused.get(value or b"")) is not None:
            answer.set_exception(error)
        else:
            self.written.append(value or b"")
            if self.is_slow:
                self.unanswered.append(answer)
                return answer
            answer.set_result(SimpleNamespace(partition=1, offset=100 + len(self.written)))
        return answer


def found(number: int, topic: str = "orders") -> Found:
    letter = ForeignLetter("Spring", topic, 0, number, "NoPrice", "no price", "", "", ())
    return Found((0, number), letter, None, b"%d" % number, 1.0)


def desk(monkeypatch: pytest.MonkeyPatch, refused: dict[bytes, Exception]) -> tuple[ForeignDesk, Brokers, list[Taken]]:
    noted: list[Taken] = []

    async def partitions(_: TopicAdmin, topics: list[str]) -> dict[str, int]:
        return dict.fromkeys(set(topics) - {"gone", "closed"}, 4)

    async def note(cluster: object, topics: object, taken: Taken, permission: Permission) -> None:
        permission.demand()
        noted.append(taken)

    async def survey(*_: object) -> Survey:
        return Survey(hidden=frozenset({"closed"}))

    monkeypatch.setattr(TopicAdmin, "partitions", partitions)
    monkeypatch.setattr(topic_survey, "survey", survey)
    monkeypatch.setattr(module, "note_taken", note)
    brokers = Brokers(refused)
    return ForeignDesk(cast(Cluster, brokers), TOPICS, "dlq", LINE), brokers, noted


async def test_one_that_its_topic_never_takes_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    made, brokers, noted = desk(monkeypatch, {b"1": MessageSizeTooLargeError()})
    note = ForeignNote("a" * 32, job="0123456789")
    problems = await made.send([found(number) for number in range(3)], ADA, note)
    assert (list(problems), brokers.written) == ([(0, 1)], [b"0", b"2"])
    assert problems[0, 1].startswith("orders does not take it")
    [taken] = noted
    assert (taken.places, taken.sent, taken.job, taken.by) == (
        {"0": encoded_offsets([0, 2])},
        {"orders": {"1": encoded_offsets([101, 102])}},
        "0123456789",
        "ada",
    )


async def test_what_was_written_is_noted_also_if_the_brokers_go_away(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, noted = desk(monkeypatch, {b"1": KafkaConnectionError()})
    with pytest.raises(ClusterError, match="0-1 cannot be written to orders"):
        await made.send([found(number) for number in range(2)], ADA, ForeignNote("a" * 32))
    assert [taken.places for taken in noted] == [{"0": encoded_offsets([0])}]


async def test_a_replay_that_breaks_off_is_one_entry_of_the_journal_with_those_that_went(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, brokers, noted = desk(monkeypatch, {b"250": KafkaConnectionError()})

    async def fetched(_: object, places: Sequence[Place]) -> list[Found]:
        return [found(offset) for _, offset in places]

    monkeypatch.setattr(ForeignDesk, "fetched", fetched)
    with pytest.raises(ClusterError, match="0-250 cannot be written to orders"):
        async for _ in made.replay([(0, number) for number in range(400)], 1e9, ADA):
            pass
    jobs = Jobs()
    for offset, taken in enumerate(noted):
        assert jobs.add(offset, *encode(taken)) is None
    assert len(noted) == 3, "each portion is noted, so that none is sent again"
    [entry] = entries_of([], jobs)
    assert len(brokers.written) == 299
    assert entry.sentence == "299 dead letters on dlq were replayed by ada"


async def test_letters_that_cannot_be_sent_stay_and_hold_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    made, brokers, noted = desk(monkeypatch, {b"250": MessageSizeTooLargeError("too large")})

    async def fetched(_: object, places: Sequence[Place]) -> list[Found]:
        letters = [found(offset, "gone" if offset == 120 else "orders") for _, offset in places]
        return [one._replace(value=None) if one.place[1] in (7, 9) else one for one in letters]

    monkeypatch.setattr(ForeignDesk, "fetched", fetched)
    done = list[int]()

    async def replay() -> None:
        async for count in made.replay([(0, number) for number in range(400)], 1e9, ADA):
            done.append(count)

    with pytest.raises(DeadLetterError) as told:
        await replay()
    assert (done, len(brokers.written)) == ([98, 197, 296, 396], 396)
    assert sum(len(offsets_in(taken.places["0"])) for taken in noted) == 396
    assert str(told.value) == (
        "396 replayed, but 4 dead letters stay as they are: 0-7, 0-9: orders does not take it: Need at least one: "
        "key or value; 0-120: a dead letter belongs to gone: there is no topic gone; 0-250: orders does not take it: "
        "[Error 10] MessageSizeTooLargeError: too large"
    )


async def test_whoever_stops_a_replay_learns_what_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    made, brokers, noted = desk(monkeypatch, {})
    brokers.is_slow = True
    sending = asyncio.create_task(made.send([found(number) for number in range(3)], ADA, ForeignNote("a" * 32)))
    while len(brokers.unanswered) < 3:
        await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert [taken.places for taken in noted] == [{"0": encoded_offsets([0, 1, 2])}], "none of them is sent again"


async def test_nobody_writes_without_a_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    made, brokers, noted = desk(monkeypatch, {})
    with pytest.raises(NotPermitted):
        await made.send([found(1)], Permission.refused(NotPermitted("nobody is logged in")), ForeignNote("a" * 32))
    assert (brokers.written, noted) == ([], [])


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("line.arrivals", "to which nothing is replayed"),
        ("line.table.outcomes", "to which nothing is replayed"),
        ("dlq", "to which nothing is replayed"),
        ("other.dlq", "to which nothing is replayed"),
        ("shipped", "which is an end of the line"),
        ("__consumer_offsets", "which is one of Kafka's own"),
        ("gone", "there is no topic gone"),
        ("closed", "the user has no right on the topic closed, or it does not exist"),
        ("orders", None),
        ("line.source", None),
    ],
)
async def test_the_topics_to_which_letters_may_go(
    monkeypatch: pytest.MonkeyPatch, topic: str, reason: str | None
) -> None:
    made, _, _ = desk(monkeypatch, {})
    refused = await made.refusals({topic})
    assert (reason or "") in refused.get(topic, "")
    assert (topic in refused) is (reason is not None)

    async def fetched(_: object) -> list[Found]:
        return [found(1, topic)]

    monkeypatch.setattr(made, "fetched", fetched)
    if reason is not None:
        with pytest.raises(DeadLetterError, match=r"a dead letter|there is no topic"):
            await anext(made.replay([(0, 1)], 100.0, ADA))


async def test_a_topic_that_the_user_may_not_read_is_not_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    desk(monkeypatch, {})
    for topic, reason in (("gone", "there is no topic gone"), ("closed", "the user has no right on the topic closed")):
        made = ForeignDesk(cast(Cluster, None), TOPICS, topic, LINE)
        with pytest.raises(DeadLetterError, match=reason):
            await made.look(Jobs())


async def test_letters_are_neither_listed_nor_replayed_while_notes_about_them_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, brokers, _ = desk(monkeypatch, {})

    async def jobs(_: object) -> Jobs:
        return Jobs(is_full=True)

    monkeypatch.setattr(ForeignDesk, "_jobs", jobs)
    for question in (made.groups(), made.chosen(["0-1"], None)):
        with pytest.raises(DeadLetterError, match=r"line\.replay-jobs has more notes"):
            await question
    assert brokers.written == []
