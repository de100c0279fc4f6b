"""TFRecord files of `tf.train.Example`, read without TensorFlow and without holding their images.

A file is a chain of records: length (uint64), masked CRC-32C of the length, the example, masked CRC-32C of the example
(little endian). The first checksum is checked, the second is not: that would read every image. An example is a message
of protocol buffers: Example {1: Features {1: map<string, Feature>}}, Feature {1: bytes_list | 2: float_list |
3: int64_list}, each list {1: values}; floats and integers packed or not.

References:
    TensorFlow, `tensorflow/core/lib/io/record_writer.h` and `tensorflow/core/example/{example,feature}.proto`;
    CRC-32C: RFC 3720, appendix B.4.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ImageError

IMAGE = "image"
_MASK_DELTA = 0xA282EAD8
_HEADER, _FOOTER = 12, 4
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT = 10
_KINDS = {1: "bytes", 2: "float", 3: "int"}
Span = tuple[int, int]


class _Damaged(Exception):
    """What is wrong, and at which byte."""


def read_examples(path: str | Path) -> Iterator[dict[str, list[Any]]]:
    """The features of each example, without the bytes of `image`.

    Yields:
        Feature name → list of values: bytes, float or int.

    Raises:
        ImageError: the file is missing, torn or no TFRecord file; names the record and the byte position.
    """
    for content, features in _iterate(path):
        yield {
            name: [content[start:end] for start, end in values] if kind == "bytes" else values
            for name, (kind, values) in features.items()
            if name != IMAGE
        }


def image_offsets(path: str | Path) -> np.ndarray:
    """Where the encoded image of each example lies in the file.

    Returns:
        (n, 2) int64: first byte and length, in the order of the records.

    Raises:
        ImageError: as for `read_examples`, or an example without exactly one `image`.
    """
    found: list[Span] = []
    for _, features in _iterate(path):
        kind, values = features.get(IMAGE, ("bytes", []))
        if kind != "bytes" or len(values) != 1:
            raise ImageError(
                f"{path}: record {len(found)} has {len(values)} values of feature {IMAGE!r} ({kind}); expected the "
                f"bytes of one image. Its features: {', '.join(sorted(features)) or 'none'}."
            )
        start, end = values[0]
        found.append((start, end - start))
    return np.array(found, dtype="int64").reshape(-1, 2)


def _iterate(path: str | Path) -> Iterator[tuple[mmap.mmap, dict[str, tuple[str, list[Any]]]]]:
    """The mapped file, and the features of one record after another; byte values are spans of the file."""
    record = 0
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            position = 0
            while position < len(content):
                start, end = _payload(content, position)
                yield content, _features(content, start, end)
                position = end + _FOOTER
                record += 1
    except FileNotFoundError:
        raise ImageError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except ValueError:  # nothing to map
        raise ImageError(f"{path}: the file is empty; expected TFRecords. Download it anew.") from None
    except _Damaged as error:
        raise ImageError(f"{path}: record {record}: {error} Download the file anew.") from None


def _payload(content: mmap.mmap, position: int) -> Span:
    """Where the example of the record that begins at `position` lies, its length checked against the checksum."""
    header = content[position : position + _HEADER]
    if len(header) < _HEADER:
        raise _Damaged(f"the file ends within a header, at byte {len(content):,}.")
    length, checksum = struct.unpack("<QI", header)
    if _masked_crc32c(header[:8]) != checksum:
        packed = " (it is compressed with gzip: unpack it)" if position == 0 and header[:2] == b"\x1f\x8b" else ""
        raise _Damaged(f"no TFRecord header at byte {position:,}{packed}: the checksum of its length is wrong.")
    start = position + _HEADER
    if start + length + _FOOTER > len(content):
        missing = start + length + _FOOTER - len(content)
        raise _Damaged(
            f"begins at byte {position:,} and is torn: {missing:,} bytes are missing at the end of the file."
        )
    return start, start + length


def _features(content: mmap.mmap, start: int, end: int) -> dict[str, tuple[str, list[Any]]]:
    """Feature name → (kind, values) of one example."""
    found: dict[str, tuple[str, list[Any]]] = {}
    for features in _messages(content, (start, end), 1):
        for entry in _messages(content, features, 1):
            name, kind = "", ""
            values: list[Any] = []
            for number, wire, value in _fields(content, *entry):
                if (number, wire) == (1, _BYTES):
                    name = _text(content, value)
                elif (number, wire) == (2, _BYTES):
                    kind, values = _feature(content, value)
            found[name] = kind, values
    return found


def _feature(content: mmap.mmap, span: Span) -> tuple[str, list[Any]]:
    kind = ""
    values: list[Any] = []
    for number, wire, lists in _fields(content, *span):
        if wire != _BYTES or number not in _KINDS:
            continue
        if _KINDS[number] != kind:  # one of: the last kind counts
            kind, values = _KINDS[number], []
        for field, form, value in _fields(content, *lists):
            if field == 1:
                values += _values(content, kind, form, value)
    return kind, values


def _values(content: mmap.mmap, kind: str, wire: int, value: Any) -> list[Any]:
    """The values of one field of a list: a span, one number, or packed numbers."""
    if kind == "bytes" and wire == _BYTES:
        return [value]
    if kind == "float" and wire == _FIXED32:
        return list(struct.unpack("<f", content[value[0] : value[1]]))
    if kind == "float" and wire == _BYTES and (value[1] - value[0]) % 4 == 0:
        return list(struct.unpack(f"<{(value[1] - value[0]) // 4}f", content[value[0] : value[1]]))
    if kind == "int" and wire == _VARINT:
        return [_signed(value)]
    if kind == "int" and wire == _BYTES:
        numbers, (position, end) = [], value
        while position < end:
            number, position = _varint(content, position, end)
            numbers.append(_signed(number))
        return numbers
    raise _Damaged(f"a list of {kind} holds something else; the example is damaged.")


def _messages(content: mmap.mmap, span: Span, wanted: int) -> Iterator[Span]:
    for number, wire, value in _fields(content, *span):
        if (number, wire) == (wanted, _BYTES):
            yield value


def _fields(content: mmap.mmap, position: int, end: int) -> Iterator[tuple[int, int, Any]]:
    """(field number, wire type, value) of a message: an integer for varints, otherwise a span of the file."""
    while position < end:
        begin = position
        key, position = _varint(content, position, end)
        wire = key & 7
        if wire == _VARINT:
            value, position = _varint(content, position, end)
            yield key >> 3, wire, value
            continue
        if wire == _BYTES:
            length, position = _varint(content, position, end)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise _Damaged(f"no field of an example at byte {begin:,} (wire type {wire}).")
        if position + length > end:
            raise _Damaged(f"the field at byte {begin:,} is longer than what holds it.")
        yield key >> 3, wire, (position, position + length)
        position += length


def _varint(content: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(_MAX_VARINT):
        if position + shift >= end:
            break
        byte = content[position + shift]
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position + shift + 1
    raise _Damaged(f"the number at byte {position:,} does not end.")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _text(content: mmap.mmap, span: Span) -> str:
    try:
        return content[span[0] : span[1]].decode()
    except UnicodeDecodeError:
        raise _Damaged(f"the feature name at byte {span[0]:,} is no text.") from None


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC = _crc_table()


def _masked_crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), rotated and shifted as TFRecord files store it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF
