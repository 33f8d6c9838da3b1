"""`metroline up`: a new line runs, shows what its services write, and follows its files, without losing a record."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import psutil
import pytest

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_reader import read_topic
from metroline.app.local.ports import free_port
from tests.support.brokers import Broker
from tests.support.cli import metroline
from tests.support.project import ROOT
from tests.support.waiting import wait_until

COUNTS = re.compile(r"(?P<delivered>[\d,]+) delivered, (?P<dropped>[\d,]+) dropped, (?P<dead>[\d,]+) dead")


@dataclass
class Up:
    """A running `metroline up` and what it has printed."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, words: str, since: int = 0, timeout: float = 90.0) -> str:
        """Return the first line after the first `since` lines that has these words."""

        def has_come() -> bool:
            assert self.process.poll() is None, self.text
            return any(words in line for line in self.lines[since:])

        try:
            wait_until(has_come, timeout)
        except AssertionError as error:
            raise AssertionError(f"{words!r} is not in:\n{self.text}") from error
        return next(line for line in self.lines[since:] if words in line)

    def printed_command(self, what: str) -> str:
        return self.wait_for(f"{what}: ").partition(f"{what}: ")[2]

    def end(self) -> str:
        """End it with Ctrl-C, and return everything that it printed."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(180) == 0, self.text
        wait_until(lambda: COUNTS.search(self.lines[-1]) is not None, 10)
        return self.text


def environment(**variables: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **variables}


@contextmanager
def up(command: str, folder: Path, **variables: str) -> Iterator[Up]:
    """Run a command as a shell does."""
    process = subprocess.Popen(
        shlex.split(command),
        cwd=folder,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    running = Up(process)
    reader = Thread(target=running.read, daemon=True)
    reader.start()
    try:
        yield running
    finally:
        process.kill()
        process.wait()
        reader.join(10)
        assert process.stdout is not None
        process.stdout.close()


def typed(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Type a command into a shell that has none of our variables."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def made(folder: Path, name: str = "orders") -> tuple[Path, str]:
    """Make a line in a folder whose path has to be quoted. Return its folder, and the command that runs it."""
    done = metroline("new", f"my lines/{name}", cwd=folder)
    assert done.returncode == 0, done.stderr
    command = done.stdout.splitlines()[-1].partition("run it: ")[2].strip()
    return folder / "my lines" / name, f"{command} --port {free_port()}"


def delivered(url: str, topic: str) -> Counter[int]:
    """Return how often each order was delivered."""

    async def read() -> Counter[int]:
        return Counter([json.loads(message.value)["order"] async for message in read_topic(Cluster.at(url), topic)])

    return asyncio.run(read())


def test_a_new_line_runs_and_what_up_prints_runs_as_printed(tmp_path: Path) -> None:
    line, command = made(tmp_path)
    edit(line / "services.py", "from metroline", "import logging\nimport sys\n\nfrom metroline")
    edit(
        line / "services.py",
        '    order["total"] =',
        "    print('pricing', order['order'])\n"
        "    logging.getLogger(__name__).debug('order %d is priced', order['order'])\n"
        "    print('on stderr', file=sys.stderr)\n"
        '    order["total"] =',
    )
    with up(command, tmp_path, PREFIX="my-orders") as live:
        live.wait_for("line orders runs by signpost on kafka://127.0.0.1:")
        pushed = typed(live.printed_command("to send records"), tmp_path / "my lines")
        assert (pushed.returncode, pushed.stderr) == (0, "")
        assert pushed.stdout == "10 records were written to orders.source\n"
        live.wait_for("price | pricing 5")
        live.wait_for("price | on stderr")
        for _ in range(2):
            logged = live.wait_for("order 2 is priced", len(live.lines))
            assert re.match(r"price \| \[.*DEBUG.*\] order 2 is priced", logged)
        assert "INFO" not in live.text
        edit(line / "routes.toml", "total >= 1000", "total >= 100")
        live.wait_for("routes.toml changed: the rules are at version 2 after ")
        published = typed(live.printed_command("to publish other rules"), tmp_path)
        assert published.returncode == 0, published.stderr
        live.wait_for("records/s", timeout=30)
        shown = live.end()
    counts = COUNTS.search(shown.splitlines()[-1])
    assert counts is not None
    assert all(int(counts[name].replace(",", "")) > 0 for name in ("delivered", "dropped"))
    assert counts["dead"] == "0"


def test_programs_get_each_event_as_json(tmp_path: Path) -> None:
    line, command = made(tmp_path)
    edit(line / "services.py", '    order["total"] =', '    print("pricing")\n    order["total"] =')
    with up(f"{command} --json -", tmp_path) as live:
        live.wait_for('"event": "started"')
        live.wait_for('"event": "output", "stop": "price", "text": "pricing"')
        edit(line / "routes.toml", "total >= 1000", "total >= 100")
        live.wait_for('"event": "changed", "files": ["routes.toml"]')
        live.wait_for('"event": "counts"')
        live.process.send_signal(signal.SIGINT)
        assert live.process.wait(60) == 0, live.text
        wait_until(lambda: '"event": "ended"' in live.lines[-1], 10)
    events = [json.loads(event) for event in live.lines]
    [started] = [event for event in events if event["event"] == "started"]
    assert started["push"].endswith("--records 10")
    [changed] = [event for event in events if event["event"] == "changed"]
    assert (changed["rules_version"], changed["workers"]) == (2, None)
    assert events[-1]["delivered"] > 0
    assert events[-1]["error"] is None


PUSHED, BATCHES = 1_500, 3


def change_services(line: Path, number: int) -> None:
    with (line / "services.py").open("a") as file:
        file.write(f"# change {number}\n")


def change_rules(line: Path, number: int) -> None:
    file = line / "routes.toml"
    file.write_text(re.sub(r"total >= \d+", f"total >= {1_000 + number}", file.read_text()))


def change_both(line: Path, number: int) -> None:
    change_services(line, number)
    change_rules(line, number)


CHANGES = (change_services, change_rules, change_both)


@pytest.fixture(params=["embedded", "kafka"])
def broker_variables(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the variables under which a line runs on each broker."""
    if request.param == "embedded":
        return {}
    broker: Broker = request.getfixturevalue("kafka_broker")
    return {"BROKER_URL": broker.url}


@pytest.mark.long
def test_no_record_is_lost_or_counted_twice_while_the_files_change(
    tmp_path: Path, prefix: str, broker_variables: dict[str, str]
) -> None:
    line, command = made(tmp_path)
    edit(line / "services.py", "from metroline", "import time\n\nfrom metroline")
    edit(line / "services.py", '    order["total"] =', '    time.sleep(0.002)\n    order["total"] =')
    records = tmp_path / "records.jsonl"
    variables = broker_variables | {"PREFIX": prefix, "SOURCE": f"{prefix}.in", "END_TOPICS": "delivered"}
    with up(f"{command} --rate 0", tmp_path, **variables) as live:
        live.wait_for("Ctrl-C ends it")
        push = live.printed_command("to send records").replace("--records 10", f"--records {records}")
        for batch in range(BATCHES):
            size = PUSHED // BATCHES
            first = batch * size
            records.write_text("".join(map(order, range(first, first + size))))
            assert typed(push, tmp_path).returncode == 0
            seen = len(live.lines)
            CHANGES[batch % len(CHANGES)](line, batch)
            live.wait_for(" changed: ", seen)
        wait_until(lambda: ended(live) >= PUSHED, 60)
        url = variables.get("BROKER_URL") or live.lines[0].split(" on ")[1].split(";")[0]
        found = delivered(url, f"{prefix}.delivered")
        shown = live.end()
    last = COUNTS.search(shown.splitlines()[-1])
    assert last is not None
    assert last[0] == f"{PUSHED:,} delivered, 0 dropped, 0 dead"
    assert found == Counter(range(PUSHED))
    assert "cannot be used" not in shown


def order(number: int) -> str:
    text = {"order": number, "country": "US", "quantity": 1, "unit_price": number, "address": "1 Main St"}
    return json.dumps(text) + "\n"


def ended(live: Up) -> int:
    found = [COUNTS.search(line) for line in live.lines]
    counts = [one for one in found if one is not None]
    return sum(int(counts[-1][name].replace(",", "")) for name in ("delivered", "dropped", "dead")) if counts else 0


@pytest.mark.long
def test_an_error_keeps_what_runs_and_says_where_and_the_last_one_keeps_the_logs(tmp_path: Path) -> None:
    line, command = made(tmp_path)
    with up(command, tmp_path) as live:
        live.wait_for("Ctrl-C ends it")
        for name, old, new, problem in (
            ("services.py", "return order", "return order)", "unmatched ')' (services.py, line 9)"),
            ("services.py", "def review", "def inspect", "no service serves the stop 'review'"),
            ("routes.toml", 'to = "review"\n', 'to = "reviw"\n', "did you mean 'review'?"),
            ("line.toml", "[source]", "[sauce]", "line.toml:3: "),
        ):
            text = (line / name).read_text()
            seen = len(live.lines)
            edit(line / name, old, new)
            live.wait_for(f"{name} changed, but cannot be used: what ran before goes on", seen)
            assert problem in "\n".join(live.lines[seen:])
            (line / name).write_text(text)
        seen = len(live.lines)
        beside = tmp_path / "beside.py"
        beside.write_text("def")
        imported = f"import sys\nsys.path.append({str(tmp_path)!r})\nimport beside\n\nfrom metroline"
        edit(line / "services.py", "from metroline", imported)
        edit(line / "services.py", "return order", "print(beside.WORDS)\n    return order")
        live.wait_for("services.py changed, but cannot be used: what ran before goes on", seen)
        for words in ("still here", "and there"):
            seen = len(live.lines)
            beside.write_text(f"WORDS = {words!r}")
            live.wait_for("changed: new workers run after", seen)
            live.wait_for(f"review | {words}", seen)
        workers = [child for child in psutil.Process(live.process.pid).children() if "worker" in child.cmdline()]
        for worker in workers:
            worker.kill()
        wait_until(lambda: "error: a worker ended: SIGKILL" in live.text, 60)
        assert live.process.wait(60) == 1
    folder = Path(next(one for one in live.lines if one.startswith("the logs are kept in ")).split()[-1])
    assert any("review | and there" in log.read_text() for log in folder.rglob("log"))
    shutil.rmtree(folder)


RESOURCE = """
from metroline import resource


def note(event):
    with open({book!r}, "a") as book:
        book.write(event + "\\n")


@resource
async def scales():
    note("open")
    yield None
    note("close")


@service(no_retry"""


@pytest.mark.long
def test_what_services_hold_is_closed_before_other_workers_open_it(tmp_path: Path) -> None:
    line, command = made(tmp_path)
    book = tmp_path / "book"
    edit(line / "services.py", "@service(no_retry", RESOURCE.format(book=str(book)))
    edit(line / "services.py", "def price(order):", "def price(order, scales):")
    with up(command, tmp_path) as live:
        live.wait_for("Ctrl-C ends it")
        for number in range(2):
            seen = len(live.lines)
            change_services(line, number)
            live.wait_for("services.py changed: new workers run after", seen)
        live.end()
    assert book.read_text().split() == ["open", "close"] * 3
