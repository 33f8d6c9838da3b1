"""The tests of the line webhooks, in memory: no broker is needed. Run them with: python -m pytest"""

import json
from pathlib import Path

import pytest

from metroline.testing import Message

from .records import files, records
from .services import ChatIsBusy, Settings

LINE = Path(__file__).parent


def delivery(name):
    """Return a real delivery from the package opsdroid."""
    [file] = [file for file in files() if file.name == f"{name}.json" and "github" in file.parts]
    return json.loads(file.read_bytes())


class FakeChat:
    """A chat that keeps what is posted, after it has raised some errors."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.posted = []

    async def post(self, channel, text, key):
        if self.errors:
            raise self.errors.pop(0)
        self.posted.append((channel, text))
        return f"message {len(self.posted)}"


def test_a_pull_request_is_announced_when_it_has_rested(run_line):
    chat = FakeChat()

    [journey] = run_line(LINE, delivery("pr"), resources={"chat": chat, "settings": Settings(quiet=90)})

    assert journey.stops == ["read_github", "find_channel", "hold_back", "announce"]
    assert journey.waited == 90
    assert chat.posted == [
        (
            "#bot",
            "pyup-bot opened the pull request Update pytest-timeout to 1.3.3: "
            "https://github.com/opsdroid/opsdroid-audio/pull/175",
        )
    ]


def test_a_merged_pull_request_is_announced_at_once(run_line):
    [journey] = run_line(LINE, delivery("pr_merged"))

    assert journey.stops == ["read_github", "find_channel", "announce"]
    assert journey.waited == 0


def test_all_other_fields_of_a_delivery_stay_as_they_are(run_line):
    given = delivery("pr_review_submitted")

    [journey] = run_line(LINE, given)

    assert given.items() <= journey.record.items()
    assert set(journey.changes) == {"event", "repo", "channel", "message"}


def test_a_busy_chat_is_asked_again_later(run_line):
    chat = FakeChat(ChatIsBusy(30), ChatIsBusy(10))

    [journey] = run_line(LINE, delivery("check_failed"), resources={"chat": chat})

    assert journey.end == "alerts"
    assert journey.waited == 40
    assert journey.record["message"] == "message 1"


def test_a_chat_that_is_down_is_tried_six_times(run_line):
    [journey] = run_line(LINE, delivery("issue"), resources={"chat": FakeChat(*[ConnectionError("down")] * 6)})

    assert journey.cause == "service_error"
    assert len(journey.history[-1].attempts) == 6


def test_a_delivery_that_was_cut_is_a_dead_letter(run_line):
    [journey] = run_line(LINE, Message(json.dumps(delivery("pr"))[:1000]))

    assert journey.cause == "malformed_record"


@pytest.mark.parametrize("seed", [1, 2])
def test_the_strategies_agree_about_real_deliveries(run_line, seed):
    journeys = run_line(LINE, list(records(100, seed)), strategy="all")

    assert {journey.ending for journey in journeys} == {
        "delivered",
        "delivered at alerts",
        "dropped: no news",
        "dropped: no team",
        "dropped: a check without a problem",
        "dropped: not the default branch",
        "dropped: nobody asked for it",
        "dead: unroutable: no rule after source holds",
    }
