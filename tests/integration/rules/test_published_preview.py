"""A table is published over HTTP on the embedded broker, and the records then go as its preview has said."""

from __future__ import annotations

import asyncio
import json
import signal
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from metroline.agents.services.line import Line
from metroline.app.local.ports import free_port
from metroline.app.preview.reading import read_remembered
from metroline.app.preview.seen import Seen
from metroline.app.settings import Settings
from tests.support.cli import metroline, running
from tests.support.waiting import wait_until

TOKEN = "open sesame"

SERVICES = """
from pathlib import Path

from metroline import Wait, service

GATE = Path(__file__).parent / "open"

@service
def price(record):
    record["total"] = record["n"] * 10
    return record

@service
def gate(record):
    return record if GATE.exists() else Wait(seconds=0.5)

@service
def ship(record):
    return record
"""

OLD = """
[[rules]]
name = "orders"
after = "source"
when = "kind == 'order'"
to = "price"

[[rules]]
name = "no order"
after = "source"
when = "kind == 'note'"
drop = "no order"

[[rules]]
name = "slow ones"
after = "source"
when = "kind == 'slow'"
to = "gate"

[[rules]]
name = "large"
after = "price"
when = "total >= 30"
to = "ship"

[[rules]]
name = "small"
after = "price"
drop = "too small"

[[rules]]
name = "let through"
after = "gate"
when = "n >= 4"
to = "ship"

[[rules]]
name = "kept out"
after = "gate"
drop = "kept out"
"""

NEW = (
    OLD.replace("total >= 30", "total >= 50")
    .replace("kind == 'note'", "kind == 'note' && n > 1")
    .replace("n >= 4", "n >= 2")
)

QUICK: list[dict[str, Any]] = [{"n": n, "kind": kind} for n in range(6) for kind in ("order", "note")]
SLOW: list[dict[str, Any]] = [{"n": n, "kind": "slow"} for n in range(6)]


@dataclass(frozen=True, slots=True)
class Running:
    """A running line with its pages, its broker and its folder."""

    port: int
    broker: str
    folder: Path

    def post(self, path: str, body: object) -> tuple[int, dict[str, Any]]:
        """Send a request as a program does."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", f"Bearer {TOKEN}")
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def page(self, path: str = "/rules/") -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}?format=json", timeout=60) as answer:
            return json.load(answer)

    def totals(self) -> Counter[str]:
        """Return the number of records by outcome."""
        return Counter(self.page("/table/outcomes/")["totals"])

    def push(self, *records: dict[str, Any]) -> None:
        file = self.folder.parent / "records.jsonl"
        file.write_text("".join(json.dumps(one) + "\n" for one in records))
        words = ("push", "--line", str(self.folder), "--records", str(file), "--rate", "6")
        pushed = metroline(*words, cwd=self.folder.parent, BROKER_URL=self.broker)
        assert pushed.returncode == 0, pushed.stderr

    def remembered(self) -> tuple[list[Seen], int]:
        """Return the journeys that the line remembers, and the number of records under way."""
        settings = Settings(broker_url=self.broker, line=str(self.folder))
        line = Line.load(settings.line)
        found = asyncio.run(read_remembered(settings, line, settings.topics(line)))
        return found.journeys, len(found.under_way)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Running]:
    folder = tmp_path / "parcels"
    folder.mkdir()
    (folder / "services.py").write_text(SERVICES)
    (folder / "routes.toml").write_text(OLD)
    port = free_port()
    words = ("up", "--line", str(folder), "--port", str(port), "--rate", "0")
    with running(*words, cwd=tmp_path, METROLINE_TOKEN=TOKEN) as process:
        assert process.stdout is not None
        told = process.stdout.readline()
        assert " on kafka://" in told, told
        yield Running(port, told.split(" on ")[1].split(";")[0], folder)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=90)
    assert process.returncode == 0


Way = tuple[tuple[str, ...], str]
"""The stops and the outcome of a journey."""


def ways(journeys: list[Seen], since: float = 0.0) -> list[tuple[tuple[str, int], Way]]:
    """Return the fields of the record and the way of the journeys that entered after a time."""
    found = []
    for one in journeys:
        if one.entered >= since:
            assert one.line is not None
            record = json.loads(one.line)
            found.append(((record["kind"], record["n"]), (one.shape.stops, one.shape.outcome)))
    return found


def send(live: Running, records: list[dict[str, Any]], since: float) -> None:
    """Push records until the line remembers a journey of each: of many in one second it keeps a few."""
    deadline = time.monotonic() + 240
    while missing := unknown(live, records, since):
        assert time.monotonic() < deadline, missing
        in_all = sum(live.totals().values()) + len(missing)
        live.push(*missing)
        wait_until(partial(has_ended, live, in_all), timeout=120)
        with suppress(AssertionError):  # what is shown a little later
            wait_until(lambda: not unknown(live, records, since), timeout=10)


def has_ended(live: Running, count: int) -> bool:
    return sum(live.totals().values()) == count


def unknown(live: Running, records: list[dict[str, Any]], since: float) -> list[dict[str, Any]]:
    """Return the records of which the line remembers no journey."""
    known = dict(ways(live.remembered()[0], since))
    return [one for one in records if (one["kind"], one["n"]) not in known]


@pytest.mark.long
def test_what_is_published_on_the_page_does_what_its_preview_said(live: Running) -> None:
    send(live, QUICK, 0.0)
    live.push(*SLOW)
    wait_until(lambda: live.remembered()[1] == len(SLOW), timeout=120)
    before = ways(live.remembered()[0])

    status, answer = live.post("/rules/", {"table": NEW})
    assert status == 200
    told = answer["preview"]
    assert (told["journeys"]["seen"], told["journeys"]["not_decided"]) == (len(before), 0)
    assert (told["under_way"]["seen"], told["under_way"]["not_decided"]) == (len(SLOW), 0)

    status, answer = live.post("/rules/publish/", {"table": NEW + 'x = "', "reason": "a typing error"})
    assert status == 400
    assert answer["problems"][0]["line"] == NEW.count("\n") + 1

    def publish(mark: str) -> tuple[int, dict[str, Any]]:
        asked = {"table": f"{NEW}# {mark}\n", "reason": f"{mark} was here", "replaces": 1}
        return live.post("/rules/publish/", asked)

    with ThreadPoolExecutor(2) as both:  # at the same moment
        answers = dict(zip("ab", both.map(publish, "ab"), strict=True))
    assert sorted(status for status, _ in answers.values()) == [200, 409]
    [won] = [mark for mark, (status, _) in answers.items() if status == 200]
    [lost] = {*"ab"} - {won}
    assert f"version {answers[won][1]['version']} by over HTTP" in answers[lost][1]["error"]
    wait_until(lambda: live.page()["versions"][0]["why"] == f"{won} was here", timeout=60)
    forecast = live.page()["forecast"]["forecast"]
    assert forecast["outcomes"] == {one["outcome"]: one["after"] for one in told["outcomes"]}

    totals = live.totals()
    (live.folder / "open").touch()
    wait_until(lambda: live.remembered()[1] == 0, timeout=120)
    ended = live.totals() - totals
    by_old = Counter("delivered" if one["n"] >= 4 else "dropped" for one in SLOW)
    assert sum(ended.values()) == len(SLOW)
    assert ended["delivered"] - by_old["delivered"] == told["under_way"]["delivered"] == 2
    assert sum(move["count"] for move in told["under_way_moves"]) == told["under_way"]["changed"] == 2

    published = time.time()
    send(live, QUICK, published)
    by_new = dict(ways(live.remembered()[0], published))
    after = [by_new[record] for record, _ in before]
    assert Counter(outcome for _, outcome in after) == {
        one["outcome"]: one["after"] for one in told["outcomes"] if one["after"]
    }
    visits = Counter(stop for stops, _ in after for stop in stops)
    assert {one["stop"]: one["after"] for one in told["load"]} == {
        one["stop"]: visits[one["stop"]] for one in told["load"]
    }
    changed = sum(old != new for (_, old), new in zip(before, after, strict=True))
    assert sum(move["count"] for move in told["moves"]) == told["journeys"]["changed"] == changed > 0

    status, answer = live.post("/rules/1/rollback/", {"reason": "as it was"})
    assert (status, answer["published"]) == (200, True)
    wait_until(lambda: live.page()["text"] == OLD, timeout=60)
    assert live.page()["versions"][0]["same_as"] == 1
    assert live.post("/rules/1/rollback/", {})[1]["published"] is False
