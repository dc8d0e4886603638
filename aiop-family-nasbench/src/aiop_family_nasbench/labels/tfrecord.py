"""TFRecord files: records one after the other, each between a length and a checksum."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import google_crc32c

from aiop_core.errors import DataError

_HEADER, _FOOTER = struct.Struct("<QI"), struct.Struct("<I")
_LENGTH_BYTES = 8

_MASK_DELTA = 0xA282EAD8

MAX_BYTES = 2**24
"""Of one record; those of NAS-Bench-101 have under a thousand."""


def records(path: Path) -> Iterator[tuple[bytes, int]]:
    """Each record, and how many bytes of the file are behind it.

    Raises:
        DataError: if the file is missing or cut short, or a checksum is wrong.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; give a .tfrecord file") from None
    with file:
        end = 0
        while header := file.read(_HEADER.size):
            where = f"{path}, byte {end}"
            if len(header) < _HEADER.size:
                raise DataError(f"{where}: the file is cut short; download it again")
            length, checksum = _HEADER.unpack(header)
            if _masked(header[:_LENGTH_BYTES]) != checksum or length > MAX_BYTES:
                raise DataError(f"{where}: the checksum of a record's length is wrong; is this a TFRecord file?")
            body = file.read(length + _FOOTER.size)
            if len(body) < length + _FOOTER.size:
                raise DataError(f"{where}: the file is cut short; download it again")
            record = body[:length]
            if _masked(record) != _FOOTER.unpack(body[length:])[0]:
                raise DataError(f"{where}: a record's checksum is wrong; download the file again")
            end = file.tell()
            yield record, end


def _masked(data: bytes) -> int:
    """CRC-32C, rotated and shifted, as the format stores it."""
    crc = int(google_crc32c.value(data))
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF
