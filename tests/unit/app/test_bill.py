"""The bill of a month: the sums of the story that this project comes from, and files of prices."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from metroline.app.cli import cli
from metroline.app.operations.bill import PRICES, Bill, InvalidPrices, Prices, bill, price_of_calls

RECORD = b'{"a":"' + b"x" * 1_292 + b'"}'  # 1,300 bytes
RATE = 4.3e9 / 3 / (30 * 24 * 3600)
"""Records per second of which each is sent, received and deleted by a call of its own: 4.3 billion a month."""


def of(records: int = 980, rate: float = RATE, gather: float = 60.0) -> Bill:
    return bill([RECORD] * records, rate, Prices.read(), gather=gather, partitions=4, fifo=False)


def test_the_bill_that_batching_would_have_spared() -> None:
    assert round(price_of_calls(4.3e9, 0.40), 2) == 1_720.00
    assert round(price_of_calls(4.3e9 / 49, 0.40), 2) == 35.10


def test_the_same_sums_come_of_records_that_are_packed() -> None:
    alone, alone_by_ten, packed, packed_by_ten = of().sqs

    assert (round(alone.calls), round(alone.dollars, 2)) == (4_300_000_000, 1_720.00)
    assert packed.records_per_message == 49
    assert (round(packed.calls / 1e6, 1), round(packed.dollars, 2)) == (87.8, 35.10)
    assert alone_by_ten.calls == pytest.approx(430_000_000)
    assert packed_by_ten.dollars < packed.dollars


def test_a_call_is_billed_by_its_chunks() -> None:
    packed_by_ten = of().sqs[3]

    assert packed_by_ten.sends == pytest.approx(packed_by_ten.receives)  # ten chunks received at once are ten calls
    assert packed_by_ten.deletes == pytest.approx(packed_by_ten.receives / 10)


def test_records_that_come_far_apart_share_no_message() -> None:
    alone, _, packed, _ = of(rate=0.5, gather=1.0).sqs

    assert packed.records_per_message == 1
    assert packed.dollars == pytest.approx(alone.dollars)


def test_kafka_is_billed_by_bytes_and_hours() -> None:
    made = of(rate=1_000_000_000 / 1_300 / (30 * 24 * 3600)).kafka  # a GB a month

    assert made.gb_in == pytest.approx(1.0)
    assert made.dollars == pytest.approx(720 * (0.75 + 4 * 0.0015) + 0.10 + 0.05 + 0.10 / 30)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[sqs", "not valid TOML"),
        ("", "sqs: Field required"),
        (PRICES.read_text().replace("0.40", "-1"), "sqs.million_calls: "),
    ],
)
def test_a_file_of_prices_that_cannot_be_used_is_named(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text)

    with pytest.raises(InvalidPrices) as refused:
        Prices.read(file)

    assert str(refused.value).startswith(f"{file}: {problem}")


def test_the_command_shows_the_bills_with_the_dates_of_the_prices(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_bytes(b"\n".join([RECORD] * 98))
    told = ["--records", str(tmp_path / "records.jsonl"), "--rate", "553", "--gather", "60"]

    done = CliRunner().invoke(cli, ["cost", "--line", "metroline.agents.lines.metrobus", *told])

    assert done.exit_code == 0, done.stderr
    assert "SQS, packed, a message a call" in done.stdout
    prices = Prices.read()
    assert done.stdout.splitlines()[-1] == (
        f"prices: SQS of {prices.sqs.date} ({prices.sqs.source}), Kafka of {prices.kafka.date}, an assumption: "
        f"compare it with {prices.kafka.source}, and see --prices"
    )


def test_a_file_of_prices_of_ones_own_takes_the_place_of_the_assumption(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_bytes(RECORD)
    (tmp_path / "prices.toml").write_text(
        '[sqs]\ndate = "today"\nsource = "a"\nmillion_calls = 1\nmillion_fifo_calls = 1\n'
        '[kafka]\nname = "Ours"\ndate = "now"\nsource = "b"\ncluster_hour = 1\npartition_hour = 0\n'
        "gb_in = 0\ngb_out = 0\ngb_month = 0\n"
    )
    told = ["--records", str(tmp_path / "records.jsonl"), "--rate", "1", "--prices", str(tmp_path / "prices.toml")]

    done = CliRunner().invoke(cli, ["cost", "--line", "metroline.agents.lines.metrobus", *told])

    assert done.exit_code == 0, done.stderr
    assert "720.00" in done.stdout
    assert done.stdout.splitlines()[-1] == "prices: SQS of today (a), Kafka of now (b)"


@pytest.mark.parametrize("rate", [[], ["--rate", "7"]])
def test_a_source_whose_messages_are_not_json_asks_for_records(
    monkeypatch: pytest.MonkeyPatch, rate: list[str]
) -> None:
    monkeypatch.setenv("SOURCE_FORMAT", "avro")
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", "http://127.0.0.1:1")

    done = CliRunner().invoke(cli, ["cost", "--line", "metroline.agents.lines.metrobus", *rate])

    assert done.exit_code == 1
    assert done.stderr.strip().endswith(
        "the source has the format avro (SOURCE_FORMAT), and its messages do not show the size of its records as JSON: "
        "write --records FILE and --rate R"
    )


@pytest.mark.parametrize("option", ["--rate", "--gather"])
@pytest.mark.parametrize("value", ["inf", "nan", "-inf", "1e308"])
def test_a_rate_that_is_no_number_is_refused_in_a_line(tmp_path: Path, option: str, value: str) -> None:
    (tmp_path / "records.jsonl").write_bytes(RECORD)
    told = ["--records", str(tmp_path / "records.jsonl"), "--rate", "553", option, value]

    done = CliRunner().invoke(cli, ["cost", "--line", "metroline.agents.lines.metrobus", *told])

    assert done.exit_code == 2
    assert f"Invalid value for '{option}': " in done.stderr
