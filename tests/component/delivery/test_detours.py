"""Detours: waiting envelopes are remembered up to a bound; beyond it, the brokers are asked."""

from __future__ import annotations

import pytest

from metroline.agents.delivery import detours as module
from metroline.agents.delivery.detours import Detours
from tests.support.bench import envelope

HERE = ("service.a", 0)


@pytest.fixture
def detours(monkeypatch: pytest.MonkeyPatch) -> Detours:
    monkeypatch.setattr(module, "MAX_SENT", 3)
    detours = Detours()
    detours.assign({HERE: 0})
    detours.found({HERE: 0})
    return detours


def test_a_place_is_clear_when_all_that_was_sent_there_is_handled(detours: Detours) -> None:
    sent = [envelope({"n": number}, first=number) for number in range(2)]
    for one in sent:
        detours.sent("service.a", one)
    assert not detours.is_clear(HERE)
    detours.handled(HERE, 1, sent[:1])
    assert not detours.is_clear(HERE)
    detours.handled(HERE, 2, sent[1:])
    assert detours.is_clear(HERE)


def test_where_more_is_sent_than_is_remembered_the_end_of_the_topic_decides(detours: Detours) -> None:
    sent = [envelope({"n": number}, first=number) for number in range(4)]
    for one in sent:
        detours.sent("service.a", one)
    assert detours.lost == {HERE}
    detours.handled(HERE, 4, sent)
    assert not detours.is_clear(HERE)
    assert detours.recount() == {HERE}
    assert detours.recount() == set()
    late = envelope({"n": 9}, first=9)
    detours.sent("service.a", late)
    detours.found({HERE: 4})
    assert not detours.is_clear(HERE)
    detours.handled(HERE, 5, [late])
    assert detours.is_clear(HERE)


def test_a_place_that_is_lost_and_revoked_is_not_asked_for(detours: Detours) -> None:
    for number in range(3):
        detours.sent("service.a", envelope({"n": number}, first=number))
    detours.revoke()
    assert detours.recount() == set()
