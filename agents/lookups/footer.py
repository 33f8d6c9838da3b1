"""The label at the end of a lookup's file: what is in it, where it came from, and a checksum of all before it.

A file is an LMDB database, the label as JSON, and a tail of fixed size. LMDB has no checksums and trusts what it maps:
a page that is missing would end the process, so a file is only mapped once its label fits it.
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
"""What the file is, how long the label is, and the label's CRC-32."""
KIND = b"METROLK1"
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Label:
    """What a lookup's file says of itself."""

    entries: int
    key: str
    """The column that it is looked up by."""
    value: str | None
    """The one column that is given for a key; None for all others together."""
    source: str
    """The file that it was made from, or the line that made it."""
    built_at: str
    """UTC, in the form of ISO 8601."""
    maker: str
    """The line whose own code made it; empty for one that was made from a file."""
    digest: str
    """Of the code and data that the line made it from."""
    size: int
    """Bytes of the database."""
    checksum: int
    """The CRC-32 of the database."""

    def encode(self) -> bytes:
        told = orjson.dumps(asdict(self))
        return told + TAIL.pack(KIND, len(told), zlib.crc32(told))

    @classmethod
    def read(cls, file: IO[bytes]) -> Self:
        """The label of an open file; raises `LookupDamaged` for one that has none, or is cut off."""
        length = os.fstat(file.fileno()).st_size
        if length < TAIL.size:
            raise LookupDamaged("it is cut off")
        file.seek(length - TAIL.size)
        kind, told_bytes, checksum = TAIL.unpack(file.read(TAIL.size))
        if kind != KIND or told_bytes > length - TAIL.size:
            raise LookupDamaged("its end is missing, or it is no lookup of this version of Metroline")
        file.seek(length - TAIL.size - told_bytes)
        told = file.read(told_bytes)
        if zlib.crc32(told) != checksum:
            raise LookupDamaged("its label does not fit its checksum")
        try:
            label = cls(**orjson.loads(told))
        except (TypeError, ValueError) as error:
            raise LookupDamaged("its label is not one of this version of Metroline") from error
        if label.size != length - TAIL.size - told_bytes:
            raise LookupDamaged(
                f"it holds {length - TAIL.size - told_bytes} bytes of entries, {label.size} were written"
            )
        return label

    def check(self, file: IO[bytes]) -> None:
        """Reads the whole database (7 GB/s from memory) and raises `LookupDamaged` if it does not fit its checksum."""
        if checksum_of(file, self.size) != self.checksum:
            raise LookupDamaged("its entries do not fit their checksum")


def checksum_of(file: IO[bytes], size: int) -> int:
    """The CRC-32 of the first `size` bytes."""
    file.seek(0)
    checksum, left = 0, size
    while left and (block := file.read(min(BLOCK, left))):
        checksum = zlib.crc32(block, checksum)
        left -= len(block)
    return checksum
