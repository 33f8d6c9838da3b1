"""Files for `--records`: each row is a record, and an invalid CSV is refused with its line number."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from backports import zstd

from metroline.agents.services.line import Line
from metroline.app.inputs.csv_numbers import is_number
from metroline.app.inputs.row_files import Reading, UnclearFile, UnreadableRecords
from metroline.app.inputs.source_records import records_in, records_of

LINE = Line.load("metroline.agents.lines.metrobus")


def read(file: Path) -> list[Any]:
    return [orjson.loads(message) for message in records_of(str(file), LINE)]


def rows(file: Path, reading: Reading) -> list[Any]:
    return [orjson.loads(record) for _, record in records_in(file, reading)]


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


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
def test_the_delimiter_of_a_csv_is_found_in_its_header(tmp_path: Path, delimiter: str) -> None:
    file = written(tmp_path, f'n{delimiter}"note; | , all"\n1{delimiter}a\n')
    assert read(file) == [{"n": 1, "note; | , all": "a"}]


def test_a_first_line_as_excel_writes_it_names_the_delimiter_and_is_no_row(tmp_path: Path) -> None:
    file = written(tmp_path, "\ufeffsep=|\r\nn|a,b\r\n1|2,3\r\n4\r\n")
    assert refused(file) == ":4: 1 field, but the header names 2 columns"
    assert read(written(tmp_path, "sep=|\nn|a,b\n1|2,3\n")) == [{"n": 1, "a,b": "2,3"}]


def test_of_several_delimiters_in_a_header_the_one_that_fits_the_rows_is_taken(tmp_path: Path) -> None:
    assert read(written(tmp_path, "n;price, net\n1;2,5\n2;30\n")) == [
        {"n": 1, "price, net": "2,5"},
        {"n": 2, "price, net": "30"},
    ]


def test_a_header_that_can_be_separated_in_several_ways_says_what_to_write(tmp_path: Path) -> None:
    file = written(tmp_path, "n;a,b\n1;2,3\n")
    with pytest.raises(UnclearFile) as caught:
        read(file)
    assert str(caught.value) == (
        f"{file}: its columns may be separated in several ways: write --delimiter ',' or --delimiter ';'"
    )
    assert rows(file, Reading(delimiter=";")) == [{"n": 1, "a,b": "2,3"}]
    assert rows(file, Reading(delimiter=",", as_text=True)) == [{"n;a": "1;2", "b": "3"}]


def test_a_header_without_the_delimiter_that_is_expected_names_the_one_that_it_has(tmp_path: Path) -> None:
    assert refused(written(tmp_path, "n,note\n1,a\n", "orders.tsv")) == (
        ":1: the header 'n,note' is one column: if ',' separates its columns, write --delimiter ','"
    )
    with pytest.raises(UnreadableRecords, match="if tab separates its columns, write --delimiter tab"):
        rows(written(tmp_path, "n\tnote\n1\ta\n"), Reading(delimiter=";"))


def test_tsv_is_read_as_csv_is(tmp_path: Path) -> None:
    expected = [{"order": 1, "sku": "a,b"}, {"order": 2, "sku": None}]
    assert read(written(tmp_path, "order\tsku\n1\ta,b\n2\t\n", "orders.tsv")) == expected
    assert read(written(tmp_path, "order\tsku\n1\ta,b\n2\t\n", "orders.tsv.gz")) == expected
    assert rows(written(tmp_path, "n\n1\n", "a.txt"), Reading("csv")) == [{"n": 1}]


def test_fields_stay_text_if_asked(tmp_path: Path) -> None:
    file = written(tmp_path, "n,version,flag,note\n1,1.10,true,\n")
    assert rows(file, Reading(as_text=True)) == [{"n": "1", "version": "1.10", "flag": "true", "note": ""}]
    some = rows(file, Reading(as_text=True, numbers=("n",)))
    assert some == [{"n": 1, "version": "1.10", "flag": "true", "note": ""}]


def test_a_column_holds_numbers_only_if_all_of_its_fields_stay_as_they_are_written(tmp_path: Path) -> None:
    text = "zip,version,price,n,share,all\n01234,1.10,9.99,1,.5,1\n99999,2.1,10.00,,1e-05,x\n"
    notes: list[str] = []
    file = written(tmp_path, text)
    assert rows(file, Reading(note=notes.append)) == [
        {"zip": "01234", "version": "1.10", "price": "9.99", "n": 1, "share": 0.5, "all": "1"},
        {"zip": "99999", "version": "2.1", "price": "10.00", "n": None, "share": 1e-05, "all": "x"},
    ]
    assert notes == [
        f"{file}: text, since as numbers they would not stay as they are written: zip ('01234' in line 2), version "
        "('1.10' in line 2), price ('10.00' in line 3); --numbers zip reads a column as numbers"
    ]


def test_a_column_of_numbers_can_be_named(tmp_path: Path) -> None:
    notes: list[str] = []
    file = written(tmp_path, "zip,price\n01234,9.90\n1,n/a\n2,\n")
    assert rows(file, Reading(numbers=("price",), note=notes.append)) == [
        {"zip": "01234", "price": 9.9},
        {"zip": "1", "price": "n/a"},
        {"zip": "2", "price": None},
    ]
    assert len(notes) == 1
    with pytest.raises(UnreadableRecords, match="--numbers: there is no column 'prise'; there are zip, price; did you"):
        rows(file, Reading(numbers=("prise",)))


@pytest.mark.parametrize("text", ["0", "-2", "100", "0.5", "-.5", "100.0", "1e-05", "1.5E+300", "0.30000000000000004"])
def test_numbers_as_programs_write_them_are_numbers(text: str) -> None:
    assert is_number(text)


@pytest.mark.parametrize(
    "text", ["007", "1.10", "1.", "+5", "12e4", "-0", "0x1", "1,5", "nan", "9" * 19, "3.14159265358979323846"]
)
def test_what_would_not_stay_as_it_is_written_is_no_number(text: str) -> None:
    assert not is_number(text)


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress])
@pytest.mark.parametrize("name", ["orders.csv", "orders.csv.zst", "orders"])
def test_a_compressed_file_is_known_by_its_content(
    tmp_path: Path, compress: Callable[[bytes], bytes], name: str
) -> None:
    file = tmp_path / name
    file.write_bytes(compress(b'{"n": 1}\n' if name == "orders" else b"n\n1\n"))
    assert read(file) == [{"n": 1}]


def test_a_compressed_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl.zst"
    file.write_bytes(zstd.compress(b'{"n": 1}\n' * 100_000)[:-20])
    assert refused(file).startswith(" cannot be read: ")
    file.write_bytes(b'{"n": 1}\n')
    assert refused(file).startswith(" cannot be read: ")


def test_a_file_that_may_be_anything_says_what_to_write(tmp_path: Path) -> None:
    file = written(tmp_path, "n,note\n1,a\n", "orders.txt")
    with pytest.raises(UnclearFile) as caught:
        read(file)
    assert str(caught.value) == (
        f"{file}: its first line is not JSON: 'n,note'; write --format csv or tsv, or --format json to take each line "
        "as it is"
    )
    assert rows(file, Reading("csv")) == rows(file, Reading(delimiter=",")) == [{"n": 1, "note": "a"}]
    lines = [line for _, line in records_in(file, Reading("json"))]
    assert lines == [line for _, line in records_in(file, Reading(takes_any_line=True))] == [b"n,note", b"1,a"]


@pytest.mark.parametrize("reading", [Reading(delimiter=";"), Reading(as_text=True), Reading(numbers=("n",))])
def test_options_of_tables_are_refused_for_other_files(tmp_path: Path, reading: Reading) -> None:
    with pytest.raises(UnclearFile, match="is read as json, and --delimiter, --numbers and --text are for CSV and TSV"):
        rows(written(tmp_path, '{"n": 1}', "orders.json"), reading)


@pytest.mark.parametrize("text", ['\ufeff {"n": 1}', '[{"n": 1}]', '[\n{"n": 1}\n]', '{\n"n": 1\n}'])
def test_json_is_known_by_its_first_bracket(tmp_path: Path, text: str) -> None:
    assert read(written(tmp_path, text, "orders.txt")) == [{"n": 1}]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("n\n1\n".encode("utf-16"), "it is UTF-16: convert it, as with `iconv -f UTF-16 -t UTF-8`"),
        (b"PK\x03\x04...", "it is a ZIP archive, as Excel workbooks are: unpack it, or save the sheet as CSV"),
    ],
)
def test_files_that_are_not_read_say_what_to_do(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "orders.csv"
    file.write_bytes(content)
    assert refused(file) == f" cannot be read: {told}"
    file.write_bytes(b"n\n\xe9\n")
    assert refused(file) == " is not UTF-8 (byte 0xe9): convert it, as with `iconv -f WINDOWS-1252 -t UTF-8`"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_table_may_come_out_of_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "orders.csv"
    os.mkfifo(pipe)
    writing = threading.Thread(target=pipe.write_text, args=("n,code\n1,007\n",))
    writing.start()
    assert read(pipe) == [{"n": 1, "code": "007"}]
    writing.join()


@pytest.mark.parametrize("name", ["orders.csv", "orders.csv.gz"])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("n,note,n\n1,a,2\n", ":1: there are 2 columns 'n'"),
        ("n,,\n1,a,2\n", ":1: there are 2 columns without a name"),
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


def test_a_field_may_be_as_long_as_a_message_and_longer(tmp_path: Path) -> None:
    page = "x" * 1_000_000
    assert read(written(tmp_path, f"n,page\n1,{page}\n", "pages.csv")) == [{"n": 1, "page": page}]
    assert read(written(tmp_path, f"n;page,{page}\n1;a\n", "pages.csv")) == [{"n": 1, f"page,{page}": "a"}]


@pytest.mark.parametrize("name", ["orders.jsonl.gz", "orders.csv.zst"])
def test_a_compressed_file_without_content_is_refused_since_it_is_cut_off(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(UnreadableRecords, match="it is empty, and compressed files never are"):
        read(tmp_path / name)


def test_lines_of_json_travel_as_they_are(tmp_path: Path) -> None:
    file = written(tmp_path, '{"n": 1}\r\n\n{"n":2}', "orders.jsonl")
    assert list(records_of(str(file), LINE)) == [b'{"n": 1}', b'{"n":2}']
