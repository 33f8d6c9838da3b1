"""Decompresses users' files, which may be compressed by gzip or by Zstandard."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdError, ZstdFile
else:
    from backports.zstd import ZstdError, ZstdFile

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

COMPRESSED_SUFFIXES = {".gz", ".zst", ".zstd"}


@contextmanager
def decompressed(raw: io.BufferedReader, file: Path, name: str) -> Iterator[io.BufferedReader]:
    """Yield the content of a file, decompressed if it begins as gzip or Zstandard does or its name says so.

    Raise OSError, EOFError or zlib.error for compressed data that is damaged or cut off.
    """
    begin, suffix = raw.peek(len(ZSTD_MAGIC)), file.suffix.lower()
    if not begin and suffix in COMPRESSED_SUFFIXES:
        raise EOFError("it is empty, and compressed files never are")
    try:
        if begin.startswith(GZIP_MAGIC) or suffix == ".gz":
            with gzip.GzipFile(fileobj=raw) as content:
                yield _buffered(content)
        elif begin.startswith(ZSTD_MAGIC) or suffix in COMPRESSED_SUFFIXES:
            with ZstdFile(raw) as content:
                yield _buffered(content)
        else:
            yield raw
    except ZstdError as error:
        raise OSError(str(error)) from error


def _buffered(content: object) -> io.BufferedReader:
    """Return decompressed content so that one can look at it before reading it."""
    return io.BufferedReader(cast("io.RawIOBase", content))
