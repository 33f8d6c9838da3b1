"""Parquet files of records: every type becomes JSON, and what cannot be read says what to do."""

from __future__ import annotations

import datetime
import gzip
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from metroline.agents.lookups.reader import Lookup
from metroline.app.inputs.lookup_builds import build_from_file
from metroline.app.inputs.parquet_files import ParquetMissing
from metroline.app.inputs.row_files import UnreadableRecords
from metroline.app.inputs.source_records import records_in

NOON = datetime.datetime(2024, 2, 29, 12, 0, 0, 250_000, datetime.UTC)


def written(file: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), file)
    return file


def read(file: Path) -> list[Any]:
    return [orjson.loads(line) for _, line in records_in(file)]


def test_a_row_is_a_record_with_the_values_of_its_columns(tmp_path: Path) -> None:
    file = written(
        tmp_path / "orders.parquet",
        n=pa.array([1, None], pa.int32()),
        big=pa.array([2**64 - 1, 0], pa.uint64()),
        share=[0.5, float("nan")],
        code=["007", ""],
        paid=[True, None],
        items=[[{"sku": "a"}], []],
    )
    assert read(file) == [
        {"n": 1, "big": 2**64 - 1, "share": 0.5, "code": "007", "paid": True, "items": [{"sku": "a"}]},
        {"n": None, "big": 0, "share": None, "code": "", "paid": None, "items": []},
    ]


def test_times_decimals_and_bytes_become_what_json_has(tmp_path: Path) -> None:
    file = written(
        tmp_path / "orders.pq",
        at=pa.array([NOON.replace(tzinfo=None)], pa.timestamp("us")),
        zoned=pa.array([NOON], pa.timestamp("ms", "UTC")),
        fine=pa.array([1], pa.timestamp("ns")),
        day=[NOON.date()],
        price=pa.array([Decimal("1.10")], pa.decimal128(9, 2)),
        exact=pa.array([Decimal("0.12345678901234567890")], pa.decimal128(30, 20)),
        took=pa.array([datetime.timedelta(seconds=1.5)], pa.duration("us")),
        text=[b"caf\xc3\xa9"],
        raw=[b"\xff"],
    )
    assert read(file) == [
        {
            "at": "2024-02-29T12:00:00.250000",
            "zoned": "2024-02-29T12:00:00.250000+00:00",
            "fine": "1970-01-01T00:00:00",
            "day": "2024-02-29",
            "price": 1.1,
            "exact": "0.12345678901234567890",
            "took": 1.5,
            "text": "caf\u00e9",
            "raw": "/w==",
        }
    ]


def test_values_inside_others_are_read_as_those_of_columns(tmp_path: Path) -> None:
    fine, price = pa.timestamp("ns", "UTC"), pa.decimal128(9, 2)
    inner = pa.struct([("at", fine), ("price", price), ("of_day", pa.time64("ns"))])
    parts = [{"at": 1_700_000_000_123_456_789, "price": Decimal("1.10"), "of_day": 1_234_567}]
    whole = {"at": "2023-11-14T22:13:20.123456+00:00", "price": 1.1, "of_day": "00:00:00.001234"}
    file = written(
        tmp_path / "orders.parquet",
        parts=pa.array([parts, None], pa.list_(inner)),
        large=pa.array([[parts[0]["at"]], []], pa.large_list(fine)),
        two=pa.array([[Decimal("1.10"), None], None], pa.list_(price, 2)),
        by_name=pa.array([[("a", Decimal("1.10"))], None], pa.map_(pa.string(), price)),
        took=pa.array([1_234_567, None], pa.duration("ns")),
    )
    assert read(file) == [
        {"parts": [whole], "large": [whole["at"]], "two": [1.1, None], "by_name": [["a", 1.1]], "took": 0.001234},
        {"parts": None, "large": [], "two": None, "by_name": None, "took": None},
    ]


def test_a_time_that_no_date_holds_is_refused_with_its_row(tmp_path: Path) -> None:
    file = written(tmp_path / "orders.parquet", at=pa.array([0] * 1_000 + [10**12], pa.timestamp("s")))
    with pytest.raises(UnreadableRecords, match=r"orders\.parquet:1001: a time in this row or in one of the next"):
        read(file)


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "orders.parquet"
    pq.write_table(pa.table([pa.array([1]), pa.array([2])], names=["n", "n"]), file)
    with pytest.raises(UnreadableRecords, match=r"orders\.parquet: there are 2 columns 'n'"):
        read(file)


def test_many_rows_are_numbered_and_in_order_also_out_of_a_compressed_file_of_any_name(tmp_path: Path) -> None:
    file = written(tmp_path / "orders.parquet", n=list(range(2_500)))
    packed = tmp_path / "orders"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    for one in (file, packed):
        assert [(number, orjson.loads(line)["n"] + 1) for number, line in records_in(one)] == [
            (number, number) for number in range(1, 2_501)
        ]


def test_a_lookup_is_built_from_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKUP_DIR", str(tmp_path / "kept"))
    file = written(tmp_path / "accounts.parquet", account=[1000, 1001], email=["a@b", None])
    build_from_file("accounts", file, "account", None)
    assert Lookup("accounts").get("1000") == {"email": "a@b"}


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path / "orders.parquet", n=[1])
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(UnreadableRecords, match=r"orders\.parquet cannot be read as Parquet: "):
        read(file)


def test_without_pyarrow_the_error_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path / "orders.parquet", n=[1])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ParquetMissing) as caught:
        read(file)
    assert str(caught.value) == f"{file}: Parquet needs pyarrow: pip install 'metroline[parquet]'"
