"""Reads the rows of Parquet files as JSON. The library for it, pyarrow, is an optional dependency."""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any, BinaryIO, cast

import orjson

from metroline.app.inputs.csv_numbers import EXACT_DIGITS
from metroline.app.inputs.row_files import RowFile, UnreadableRecords
from metroline.routing.errors import UsageError

BATCH_ROWS = 1_000
"""Rows that are in memory at once, beside what the library reads ahead."""


class ParquetMissing(UsageError):
    """Raised when a Parquet file is to be read and pyarrow is not installed."""


def parquet_values(source: RowFile) -> Iterator[tuple[int, bytes]]:
    """Yield the rows of a Parquet file, each as a line of JSON and with its number, from 1 on.

    Times are ISO 8601, to the microsecond. A decimal is a number if a float keeps all digits of its column, and
    otherwise text. Bytes are text if they are UTF-8, and otherwise base64. Durations are seconds, and NaN is null.

    Raise `UnreadableRecords` for a file that is damaged, and `ParquetMissing` without pyarrow.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ParquetMissing(f"{source.name}: Parquet needs pyarrow: pip install 'metroline[parquet]'") from error
    try:
        with _seekable(source.content) as content, pyarrow.parquet.ParquetFile(content) as file:
            _refuse_twins(file.schema_arrow, source.name)
            number = 0
            for batch in file.iter_batches(BATCH_ROWS):
                for row in _plain(pyarrow, batch).to_pylist():
                    number += 1
                    yield number, orjson.dumps(row, default=_as_json)
    except (pyarrow.ArrowException, orjson.JSONEncodeError, ValueError) as error:
        raise UnreadableRecords(f"{source.name} cannot be read as Parquet: {error}") from error
    except OverflowError as error:
        raise UnreadableRecords(
            f"{source.name}:{number + 1}: a time in this row or in one of the next {BATCH_ROWS:,} is not between the "
            "years 1 and 9999"
        ) from error


def _refuse_twins(schema: Any, name: str) -> None:
    """Raise `UnreadableRecords` if columns have the same name: a record holds only one of them."""
    counts = Counter(one.name for one in schema)
    if twice := [column for column, times in counts.items() if times > 1]:
        raise UnreadableRecords(f"{name}: there are {counts[twice[0]]} columns {twice[0]!r}")


@contextmanager
def _seekable(content: BinaryIO) -> Iterator[BinaryIO]:
    """Yield content of which any part can be read: the directory of a Parquet file is at its end."""
    if content.seekable():
        yield content
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(content, copy)
        copy.seek(0)
        yield cast("BinaryIO", copy)


def _plain(pyarrow: Any, batch: Any) -> Any:
    """Return rows whose columns Python's types can hold: nanoseconds are cut, and short decimals are floats."""
    table = pyarrow.Table.from_batches([batch])
    for index, field in enumerate(table.schema):
        if (wanted := _plain_type(pyarrow, field.type)) != field.type:
            table = table.set_column(index, field.name, table.column(index).cast(wanted, safe=False))
    return table


def _plain_type(pyarrow: Any, type: Any) -> Any:
    """Return the type in which the values of a column are read, also those inside lists, objects and maps."""
    types, plain = pyarrow.types, partial(_plain_type, pyarrow)
    if types.is_timestamp(type) and type.unit == "ns":
        return pyarrow.timestamp("us", type.tz)
    if types.is_time64(type) and type.unit == "ns":
        return pyarrow.time64("us")
    if types.is_duration(type) and type.unit == "ns":
        return pyarrow.duration("us")
    if types.is_decimal(type) and type.precision <= EXACT_DIGITS:
        return pyarrow.float64()
    if types.is_struct(type):
        return pyarrow.struct([one.with_type(plain(one.type)) for one in type])
    if types.is_map(type):
        return pyarrow.map_(plain(type.key_type), plain(type.item_type))
    if types.is_fixed_size_list(type):
        return pyarrow.list_(plain(type.value_type), type.list_size)
    if types.is_list(type) or types.is_large_list(type):
        return (pyarrow.list_ if types.is_list(type) else pyarrow.large_list)(plain(type.value_type))
    return type


def _as_json(value: object) -> object:
    """Return a value that orjson does not know as one that it does."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    raise TypeError
