"""The footer of a lookup's file: what the lookup contains, where it came from, and the checksum of its entries.

A file is an LMDB database, the footer as JSON, and a tail of fixed size. LMDB has no checksums and trusts what it
maps: a missing page would end the process. So a file is mapped only after it was checked against its footer.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import asdict, dataclass
from typing import IO, Self

import orjson

from metroline.agents.lookups.errors import LookupDamaged

TAIL = struct.Struct("<8sII")
"""The magic bytes, the length of the footer in bytes, and the footer's CRC-32."""
MAGIC = b"METROLK1"
BLOCK_BYTES = 1 << 20
"""Bytes that are read at a time for a checksum."""


@dataclass(frozen=True, slots=True)
class Footer:
    """The metadata of a lookup."""

    entries: int
    """Number of entries."""
    key: str
    """The column of the keys."""
    value: str | None
    """The column of the values; None if a value is a record of all other columns."""
    source: str
    """The file that the lookup was built from, or the line that built it."""
    built_at: str
    """Time in UTC, in ISO 8601."""
    maker: str
    """The line that built the lookup; empty if it was built from a file."""
    digest: str
    """Digest of the code and data that the line built it from."""
    size: int
    """Size of the database, in bytes."""
    checksum: int
    """CRC-32 of the database."""

    def encode(self) -> bytes:
        """Return the footer and the tail of the file."""
        encoded = orjson.dumps(asdict(self))
        return encoded + TAIL.pack(MAGIC, len(encoded), zlib.crc32(encoded))

    @classmethod
    def read(cls, file: IO[bytes]) -> Self:
        """Return the footer of an open file; raise `LookupDamaged` if it has none."""
        length = os.fstat(file.fileno()).st_size
        if length < TAIL.size:
            raise LookupDamaged("it is cut off")
        file.seek(length - TAIL.size)
        magic, footer_bytes, checksum = TAIL.unpack(file.read(TAIL.size))
        if magic != MAGIC or footer_bytes > length - TAIL.size:
            raise LookupDamaged("its end is missing, or it is no lookup of this version of Metroline")
        file.seek(length - TAIL.size - footer_bytes)
        encoded = file.read(footer_bytes)
        if zlib.crc32(encoded) != checksum:
            raise LookupDamaged("its footer does not match its checksum")
        try:
            footer = cls(**orjson.loads(encoded))
        except (TypeError, ValueError) as error:
            raise LookupDamaged("its footer is not one of this version of Metroline") from error
        if footer.size != length - TAIL.size - footer_bytes:
            raise LookupDamaged(
                f"it holds {length - TAIL.size - footer_bytes} bytes of entries, {footer.size} were written"
            )
        return footer

    def check(self, file: IO[bytes]) -> None:
        """Read the whole database (7 GB/s from memory); raise `LookupDamaged` if it does not match its checksum."""
        if checksum_of(file, self.size) != self.checksum:
            raise LookupDamaged("its entries do not match their checksum")


def checksum_of(file: IO[bytes], size: int) -> int:
    """Return the CRC-32 of the first `size` bytes."""
    file.seek(0)
    checksum, left = 0, size
    while left and (block := file.read(min(BLOCK_BYTES, left))):
        checksum = zlib.crc32(block, checksum)
        left -= len(block)
    return checksum
