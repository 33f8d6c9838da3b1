"""Records that cannot be delivered at their end are dead letters, and the others of their segment are not."""

from __future__ import annotations

from metroline.routing.journeys.dead_letters import kept
from metroline.routing.journeys.ends import End, deliverable
from metroline.routing.messages.metadata import Metadata
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import DELIVERED, Cause, Outcome

ENDS = {"end": End(), "shipped": End("order")}
SHIPPED = Outcome.delivered("shipped", "the rule")


def of(*lines: bytes, outcome: Outcome | None = SHIPPED, keys: tuple[bytes | None, ...] | None = None) -> Segment:
    return Segment(tuple(range(len(lines))), lines, 0.0, outcome=outcome, metadata=Metadata(keys, None, None))


def test_a_segment_that_can_be_delivered_stays_as_it_is() -> None:
    for segment in (
        of(b'{"order":1}', b'{"order":"a"}'),
        of(b"{}", outcome=DELIVERED),
        of(b"{}", outcome=Outcome.dropped("not wanted")),
        of(b"{}", outcome=None),
    ):
        assert [*deliverable(segment, ENDS)] == [segment]
        assert next(deliverable(segment, ENDS)) is segment


def test_records_without_the_key_of_their_end_are_dead_letters_of_the_rule_that_led_there() -> None:
    delivered, dead = deliverable(of(b'{"order":1}', b"{}", b'{"order":null}'), ENDS)
    assert (delivered.ids, delivered.outcome) == ((0,), SHIPPED)
    assert dead.ids == (1, 2)
    assert dead.outcome == Outcome.dead(
        Cause.UNROUTABLE,
        "the end 'shipped' takes its keys from the field 'order', which the record does not have",
        "the rule",
    )


def test_a_tombstone_needs_the_key_of_its_source_message_where_an_end_has_keys() -> None:
    ends = {"end": End("order")}
    tombstones = of(b"null", b"null", outcome=DELIVERED, keys=(b"k", None))
    delivered, dead = deliverable(tombstones, ends)
    assert (delivered.ids, delivered.lines) == ((0,), (b"null",))
    assert (dead.ids, dead.lines) == ((1,), (kept(b""),))


def test_what_came_for_an_end_that_is_not_known_is_dead() -> None:
    [dead] = deliverable(of(b"{}", outcome=Outcome.delivered("closed")), ENDS)
    assert dead.outcome is not None
    assert dead.outcome.reason == (
        "unroutable: there is no end 'closed' in the line.toml of the worker that should deliver there"
    )
