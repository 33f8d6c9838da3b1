"""Dead letters of Kafka Connect, Kafka Streams and Spring are known by their headers, and lose these alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metroline.routing.journeys.foreign_letters import ForeignLetter, NotAForeignLetter, general, read_foreign

OWN: list[tuple[str, bytes | None]] = [("trace", b"\x00\xff"), ("empty", None), ("trace", b"again")]
CONNECT = [
    ("__connect.errors.topic", b"orders"),
    ("__connect.errors.partition", b"3"),
    ("__connect.errors.offset", b"1700"),
    ("__connect.errors.connector.name", b"warehouse"),
    ("__connect.errors.task.id", b"0"),
    ("__connect.errors.stage", b"VALUE_CONVERTER"),
    ("__connect.errors.class.name", b"org.apache.kafka.connect.json.JsonConverter"),
    ("__connect.errors.exception.class.name", b"org.apache.kafka.connect.errors.DataException"),
    ("__connect.errors.exception.message", b"Converting byte[] failed for 'a' at 17"),
    ("__connect.errors.exception.stacktrace", b"DataException\n\tat x"),
]
STREAMS = [
    ("__streams.errors.topic", b"orders"),
    ("__streams.errors.partition", b"1"),
    ("__streams.errors.offset", b"9"),
    ("__streams.errors.exception", b"java.lang.IllegalStateException: no stock"),
    ("__streams.errors.message", b"no stock"),
    ("__streams.errors.stacktrace", b"at y"),
]
SPRING = [
    ("kafka_dlt-original-topic", b"orders"),
    ("kafka_dlt-original-partition", (2).to_bytes(4, "big")),
    ("kafka_dlt-original-offset", (17).to_bytes(8, "big")),
    ("kafka_dlt-original-timestamp", (1_700_000_000_000).to_bytes(8, "big")),
    ("kafka_dlt-original-timestamp-type", b"CREATE_TIME"),
    ("kafka_dlt-original-consumer-group", b"billing"),
    ("kafka_dlt-exception-fqcn", b"org.springframework.kafka.listener.ListenerExecutionFailedException"),
    ("kafka_dlt-exception-cause-fqcn", b"com.shop.NoPrice"),
    ("kafka_dlt-exception-message", b"no price for 4711"),
    ("kafka_dlt-exception-stacktrace", b"at z"),
    ("retry_topic-attempts", b"\x00\x00\x00\x03"),
    ("springDeserializerExceptionValue", b"\xac\xed"),
]


@pytest.mark.parametrize(
    ("headers", "system", "place", "error", "stage"),
    [
        (
            CONNECT,
            "Kafka Connect",
            (3, 1700),
            "org.apache.kafka.connect.errors.DataException",
            "VALUE_CONVERTER of warehouse",
        ),
        (STREAMS, "Kafka Streams", (1, 9), "java.lang.IllegalStateException", ""),
        (SPRING, "Spring", (2, 17), "com.shop.NoPrice", "billing"),
    ],
)
def test_each_system_is_known_by_its_headers(
    headers: list[tuple[str, bytes | None]], system: str, place: tuple[int, int], error: str, stage: str
) -> None:
    letter = read_foreign([OWN[0], *headers, *OWN[1:]])
    assert (letter.system, letter.topic, (letter.partition, letter.offset)) == (system, "orders", place)
    assert (letter.error, letter.stage) == (error, stage)
    assert letter.headers == tuple(OWN), "its own headers stay, in their order, and no other does"


def test_letters_of_one_cause_are_in_one_group() -> None:
    def told(message: bytes, topic: bytes = b"orders") -> ForeignLetter:
        names = ("kafka_dlt-exception-message", "kafka_dlt-original-topic")
        rest = [(name, value) for name, value in SPRING if name not in names]
        return read_foreign([*rest, (names[0], message), (names[1], topic)])

    assert told(b"no price for 4711").group == told(b"no price for 12").group
    assert told(b"no price for 4711").group != told(b"no stock for 4711").group
    assert told(b"no price for 4711").group != told(b"no price for 4711", b"returns").group


def test_one_that_died_again_behind_its_dead_letter_topic_belongs_to_the_first_topic() -> None:
    again = [("kafka_dlt-original-topic", b"orders.DLT"), ("kafka_dlt-exception-message", b"the second failure")]
    letter = read_foreign([*SPRING, *again])
    assert (letter.topic, letter.message) == ("orders", "the second failure")


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ([], "has no headers"),
        ([("__connect.errors.stage", b"x")], "has no headers"),
        ([("__connect.errors.topic", b"")], "names no topic"),
        ([("__connect.errors.topic", b"../etc")], "names no topic"),
        ([("kafka_dlt-original-topic", None)], "names no topic"),
        ([*CONNECT, ("metroline-dead-letter", b"x")], "a line of Metroline"),
    ],
)
def test_other_messages_are_none(headers: list[tuple[str, bytes | None]], told: str) -> None:
    with pytest.raises(NotAForeignLetter, match=told):
        read_foreign(headers)


@pytest.mark.parametrize("value", [b"", b"-1", b"x", b"9" * 30, "٣".encode(), None])
def test_a_place_that_is_none_is_left_out(value: bytes | None) -> None:
    rest = [one for one in CONNECT if one[0] != "__connect.errors.offset"]
    assert read_foreign([*rest, ("__connect.errors.offset", value)]).offset is None


names = st.sampled_from([name for name, _ in [*CONNECT, *STREAMS, *SPRING]]) | st.text(max_size=20)


@given(st.lists(st.tuples(names, st.none() | st.binary(max_size=30)), max_size=12))
def test_whatever_the_headers_are_they_are_read_or_refused(headers: list[tuple[str, bytes | None]]) -> None:
    try:
        letter = read_foreign(headers)
    except NotAForeignLetter:
        return
    assert len(letter.group) == 6
    assert set(letter.headers) <= set(headers)


def test_details_of_a_message_are_left_out() -> None:
    assert general("no price for 4711") == general("no price for 12")
    assert general("field 'a' is missing") == general("field 'b' is missing")
    assert general("") == ""
