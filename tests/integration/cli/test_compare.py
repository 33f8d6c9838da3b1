"""The command compares strategies on real workers: its figures, its files, and its behaviour when a part fails."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from metroline.app.local.ports import free_port
from metroline.app.local.worker_process import LOCAL
from tests.support.brokers import EMBEDDED_FIRST, Broker
from tests.support.cli import metroline, running
from tests.support.waiting import is_running, wait_until

LINE = """
from collections import Counter

from metroline import Drop, service

tried = Counter()

@service
def price(record, id):
    tried[id] += 1
    if record["kind"] == "loan" and tried[id] < 3:
        raise OSError("the bank is closed")
    if record["amount"] is None:
        raise ValueError("no amount")
    record["total"] = record["amount"] * 2
    return record

@service
def ship(record):
    return Drop("gift") if record["kind"] == "gift" else record
"""

RULES = """
[[rules]]
after = "source"
to = "price"

[[rules]]
after = "price"
when = "total >= 100"
to = "ship"

[[rules]]
after = "price"
drop = "too small"
"""


@pytest.fixture
def line(tmp_path: Path) -> Path:
    folder = tmp_path / "orders"
    folder.mkdir()
    (folder / "services.py").write_text(LINE)
    (folder / "routes.toml").write_text(RULES)
    return folder


@EMBEDDED_FIRST
def test_every_strategy_makes_the_messages_of_the_table_and_the_same_outcomes(tmp_path: Path, broker: Broker) -> None:
    ended = metroline(
        "compare",
        "--records",
        "500",
        "--json",
        "f.json",
        "--html",
        "f.html",
        "--broker",
        broker.url,
        cwd=tmp_path,
        **(LOCAL if broker.name == "embedded" else {}),
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found: dict[str, Any] = json.loads((tmp_path / "f.json").read_text())
    assert (found["line"], found["records"], found["same_outcome"]) == ("metrobus", 500, True)
    stops = (360 * 3 + 40 * 2 + 100) / 500
    hops = {run["strategy"]: run["hops_per_record"] for run in found["runs"]}
    assert hops == {
        "hard_wired": pytest.approx(stops + 1),
        "conductor": pytest.approx(2 * stops + 2),
        "map_maker": pytest.approx(stops + 2 + 140 / 500),
        "signpost": pytest.approx(stops + 1),
    }
    for run in found["runs"]:
        assert (run["sent"], run["delivered"], run["dropped"], run["dead"]) == (500, 360, 140, 0)
        assert run["routes"]["contact_point>allow_list>log"] == {"delivered": 360, "dropped": 0, "dead": 0}
        assert run["cpu_seconds_per_10k"] > 0
        assert run["bus_bytes_per_record"] > 1_200 * run["hops_per_record"] * 0.9
        assert run["latency_ms"] is None
    assert "same outcome" in ended.stdout
    assert "map_maker" in (tmp_path / "f.html").read_text()


@pytest.mark.long
def test_records_of_ones_own_come_to_their_outcomes_and_the_results_say_how(tmp_path: Path, line: Path) -> None:
    rows = ["amount,kind,note", "60,sale,a", "3,sale,b", "70,gift,c", ",sale,d", "80,sale,007"]
    with gzip.open(tmp_path / "orders.csv.gz", "wt") as file:
        file.write("\n".join(rows))
    arguments = ["--line", str(line), "--records", "orders.csv.gz", "--strategies", "map_maker,conductor"]
    arguments += ["--results", "results", "--json", "-", "--rate", "5", "--seconds", "2"]
    ended = metroline("compare", *arguments, cwd=tmp_path, SERVICE_ATTEMPTS="1")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    runs = {run["strategy"]: run for run in json.loads(ended.stdout)["runs"]}
    assert {name: (run["delivered"], run["dropped"], run["dead"]) for name, run in runs.items()} == {
        "map_maker": (2, 2, 1),
        "conductor": (2, 2, 1),
    }
    assert all(0 < run["latency_ms"]["p50"] <= run["latency_ms"]["p99"] for run in runs.values())
    assert all(run["pace"]["share"] == 1 for run in runs.values())
    for name in runs:
        results = [json.loads(row) for row in (tmp_path / "results" / f"{name}.jsonl").read_text().splitlines()]
        assert [row["index"] for row in results] == [0, 1, 2, 3, 4]
        assert [row["outcome"] for row in results] == ["delivered", "dropped", "dropped", "dead", "delivered"]
        assert [row["stops"] for row in results] == [
            ["price", "ship"],
            ["price"],
            ["price", "ship"],
            ["price"],
            ["price", "ship"],
        ]
        assert results[1]["reason"] == "too small"
        assert results[2]["reason"] == "gift"
        assert results[3]["reason"].startswith("service_error: ValueError: no amount (services.py:14 in price)")
        assert results[4]["record"] == {"amount": 80, "kind": "sale", "note": "007", "total": 160}


@pytest.mark.long
def test_a_service_that_writes_the_time_is_named_and_is_no_difference(tmp_path: Path, line: Path) -> None:
    (line / "services.py").write_text(
        LINE.replace('record["total"] =', 'record["by"] = getpid()\n    record["at"] = time()\n    record["total"] =')
    )
    with (line / "services.py").open("a") as file:
        file.write("from os import getpid\nfrom time import time\n")
    rows = [{"amount": 60, "kind": "sale"}, {"amount": 3, "kind": "sale"}]
    (tmp_path / "orders.json").write_text(json.dumps(rows, indent=2))
    arguments = ["--line", str(line), "--records", "orders.json", "--strategies", "signpost,conductor"]
    ended = metroline("compare", *arguments, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    finding = (
        "the service price is not deterministic: it sets by, at to other values when it is called again (2 records)"
    )
    assert f"not compared: {finding}" in ended.stdout
    assert "same outcome: every record went the same way under 2 strategies, apart from what is not" in ended.stdout


@pytest.mark.long
def test_records_that_come_packed_are_told_apart_by_their_place_in_the_input(tmp_path: Path, line: Path) -> None:
    rows = [{"amount": number, "kind": "sale"} for number in range(101)]
    (tmp_path / "orders.jsonl").write_text("\n".join(map(json.dumps, rows)))
    arguments = ["--line", str(line), "--records", "orders.jsonl", "--pack", "7", "--partitions", "2"]
    arguments += ["--strategies", "signpost", "--results", "results", "--json", "-", "--rate", "50", "--seconds", "2"]
    ended = metroline("compare", *arguments, "--chaining", cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for file in ("signpost.jsonl", "signpost-chained.jsonl"):
        results = [json.loads(row) for row in (tmp_path / "results" / file).read_text().splitlines()]
        assert [(row["index"], row["record"]["amount"]) for row in results] == [(at, at) for at in range(101)]
        assert results[8]["id"] == "source-1-0.1", "the second record of the second message, which went to partition 1"
    runs = json.loads(ended.stdout)["runs"]
    assert [(run["strategy"], run["chaining"], run["sent"]) for run in runs] == [
        ("signpost", False, 101),
        ("signpost", True, 101),
    ]
    assert all(run["latency_ms"] is not None for run in runs)


SLOW = """
import time

from metroline import service

@service
def price(record):
    time.sleep(0.05)
    return record
"""


@pytest.mark.long
def test_a_strategy_that_does_not_keep_up_is_a_finding_in_words_and_no_failure(tmp_path: Path) -> None:
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "services.py").write_text(SLOW)
    (folder / "routes.toml").write_text('[[rules]]\nafter = "source"\nto = "price"\n')
    (tmp_path / "orders.jsonl").write_text("\n".join(json.dumps({"amount": number}) for number in range(20)))
    arguments = ["--line", str(folder), "--records", "orders.jsonl", "--strategies", "signpost", "--json", "f.json"]
    ended = metroline("compare", *arguments, "--rate", "100", "--seconds", "3", "--html", "f.html", cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said = "signpost did not keep up with 100 records/s"
    assert said in ended.stdout
    assert said in (tmp_path / "f.html").read_text()
    (run,) = json.loads((tmp_path / "f.json").read_text())["runs"]
    assert 0 < run["pace"]["share"] < 0.6, "100 of the 300 records are as many as it can do within 5 s"
    assert run["pace"]["behind_seconds"] > 1
    assert run["pace"]["growing"]


@pytest.mark.long
def test_what_fails_at_first_has_the_same_outcome_under_every_strategy(tmp_path: Path, line: Path) -> None:
    rows = [{"amount": number, "kind": "loan" if number % 10 < 3 else "sale"} for number in range(200)]
    (tmp_path / "orders.jsonl").write_text("\n".join(map(json.dumps, rows)))
    arguments = ["--line", str(line), "--records", "orders.jsonl", "--json", "-"]
    ended = metroline("compare", *arguments, cwd=tmp_path, SERVICE_BACKOFF="0.2", SERVICE_BACKOFF_MAX="0.2")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(ended.stdout)
    assert found["same_outcome"]
    assert len(found["runs"]) == 4
    for run in found["runs"]:
        assert (run["sent"], run["delivered"], run["dropped"], run["dead"]) == (200, 150, 50, 0)
        assert run["hops_per_record"] > 3, "60 of the records came to their stop three times"


def test_ctrl_c_ends_a_comparison_with_all_that_it_started(tmp_path: Path) -> None:
    with running("compare", "--records", "20000", cwd=tmp_path) as process:
        wait_until(lambda: any("worker" in child.cmdline() for child in started_by(process)), timeout=150)
        started = [child.pid for child in started_by(process)]
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=90)
    assert process.returncode == 1
    assert "Traceback" not in output
    wait_until(lambda: not any(map(is_running, started)), timeout=60)


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["--line", "no.such.line"], "there is no line 'no.such.line'", 2),
        (["--records", "nothing.jsonl"], "neither a number nor a file", 2),
        (["--strategies", "zigzag"], "there is no strategy 'zigzag'; there are hard_wired, conductor", 2),
        (["--broker", "kafka://127.0.0.1:1"], "no Kafka broker answers at 127.0.0.1:1", 1),
    ],
)
def test_what_cannot_be_compared_is_one_line_that_says_what_to_do(
    tmp_path: Path, arguments: list[str], said: str, code: int
) -> None:
    ended = metroline("compare", *arguments, cwd=tmp_path)
    assert ended.returncode == code
    assert said in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


@pytest.mark.long
def test_a_broker_that_dies_is_reported_as_that(tmp_path: Path) -> None:
    with running("up", "--port", str(free_port()), cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("line metrobus runs by signpost on kafka://127.0.0.1:")
        broker = next(child for child in started_by(process) if "tansu" in child.name())
        broker.kill()
        output, _ = process.communicate(timeout=90)
    assert process.returncode == 1
    assert "the broker died: SIGKILL" in output
    assert "Traceback" not in output


def started_by(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the running descendants of a process."""
    return psutil.Process(process.pid).children(recursive=True)
