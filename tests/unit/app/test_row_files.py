"""Files for `--records`: each row is a record, and an invalid CSV is refused with its line number."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import orjson
import pytest

from metroline.agents.services.line import Line
from metroline.app.inputs.row_files import UnreadableRecords
from metroline.app.inputs.source_records import Reading, records_in, records_of

LINE = Line.load("metroline.agents.lines.metrobus")


def read(file: Path) -> list[Any]:
    return [orjson.loads(message) for message in records_of(str(file), LINE)]


def written(folder: Path, text: str, name: str = "orders.csv") -> Path:
    file = folder / name
    file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return file


def refused(file: Path) -> str:
    with pytest.raises(UnreadableRecords) as caught:
        read(file)
    return str(caught.value).removeprefix(str(file))


def test_a_row_is_a_record_with_numbers_texts_and_nulls(tmp_path: Path) -> None:
    file = written(tmp_path, "\ufeffn,share,code,note\n1,0.5,007,\n\n-2,1e-05,12e4,ä\n")
    assert read(file) == [
        {"n": 1, "share": 0.5, "code": "007", "note": None},
        {"n": -2, "share": 1e-05, "code": "12e4", "note": "ä"},
    ]


def test_a_field_may_hold_commas_lines_and_semicolons(tmp_path: Path) -> None:
    assert read(written(tmp_path, 'n,note\r\n1,"a, b\r\nc; d"\r\n')) == [{"n": 1, "note": "a, b\r\nc; d"}]
    assert read(written(tmp_path, "note\na;b\n")) == [{"note": "a;b"}]


@pytest.mark.parametrize(("separator", "shown"), [(";", "';'"), ("|", "'|'")])
def test_columns_that_no_comma_separates_are_refused(tmp_path: Path, separator: str, shown: str) -> None:
    told = refused(written(tmp_path, f"n{separator}note\n1{separator}a\n"))
    assert told.startswith(":1: the header ")
    assert told.endswith(f" is one column: separate columns with commas, not with {shown}")


def test_a_header_with_the_separator_of_another_format_says_how_to_name_that(tmp_path: Path) -> None:
    assert refused(written(tmp_path, "n\tnote\n1\ta\n")) == (
        r":1: the header 'n\tnote' is one column: is it TSV? Then use --format tsv"
    )
    assert refused(written(tmp_path, "n,note\n1,a\n", "orders.tsv")).endswith(
        "is one column: is it CSV? Then use --format csv"
    )


def test_tsv_is_read_as_csv_is(tmp_path: Path) -> None:
    rows = [{"order": 1, "sku": "a,b"}, {"order": 2, "sku": None}]
    assert read(written(tmp_path, "order\tsku\n1\ta,b\n2\t\n", "orders.tsv")) == rows
    assert read(written(tmp_path, "order\tsku\n1\ta,b\n2\t\n", "orders.tsv.gz")) == rows
    assert [orjson.loads(record) for _, record in records_in(written(tmp_path, "n\n1\n", "a.txt"), Reading("csv"))] == [
        {"n": 1}
    ]


def test_fields_stay_text_if_asked(tmp_path: Path) -> None:
    file = written(tmp_path, "version,flag,note\n1.10,true,\n")
    assert read(file) == [{"version": 1.1, "flag": "true", "note": None}]
    as_text = Reading(as_text=True)
    assert [orjson.loads(record) for _, record in records_in(file, as_text)] == [
        {"version": "1.10", "flag": "true", "note": ""}
    ]


@pytest.mark.parametrize("name", ["orders.csv", "orders.csv.gz"])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("n,note,n\n1,a,2\n", ":1: there are 2 columns 'n'"),
        ("n,note\n1,a\n2\n", ":3: 1 field, but the header names 2 columns"),
        ("n,note\n1,a,b\n", ":2: 3 fields, but the header names 2 columns"),
        ("n\n1\n2,5\n", ":3: 2 fields, but the header names 1 column"),
        ('n,note\n\n1,"a\nb"\n2,"c\nd",e\n', ":5: 3 fields, but the header names 2 columns"),
    ],
)
def test_a_row_of_another_length_than_the_header_is_refused_by_its_line(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    assert refused(written(tmp_path, text, name)) == told


def test_lines_of_json_travel_as_they_are(tmp_path: Path) -> None:
    file = written(tmp_path, '{"n": 1}\r\n\n{"n":2}', "orders.jsonl")
    assert list(records_of(str(file), LINE)) == [b'{"n": 1}', b'{"n":2}']
