"""The metadata of an ONNX file, read without the onnx package, whose import takes as long as a server's whole start.

An ONNX file is one protobuf message. Its metadata are entries of field 14, each with a key (1) and a value (2); all
other fields are passed over by their length (https://protobuf.dev/programming-guides/encoding/).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from ..errors import BundleError

_ENTRIES, _KEY, _VALUE = 14, 1, 2
_FIXED = {1: 8, 5: 4}  # wire type → bytes
Buffer = bytes | mmap.mmap


def read_properties(graph: str | bytes) -> dict[str, str]:
    """Key → value.

    Args:
        graph: path, or content of a file.

    Raises:
        BundleError: not an ONNX file.
    """
    try:
        if isinstance(graph, bytes):
            return _properties(graph)
        with Path(graph).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _properties(content)
    except (OSError, ValueError, IndexError) as error:
        name = "the ONNX graph" if isinstance(graph, bytes) else graph
        raise BundleError(f"{name}: not an ONNX file ({error}).") from None


def _properties(content: Buffer) -> dict[str, str]:
    found = {}
    for field, value in _fields(content):
        if field == _ENTRIES:
            entry = dict(_fields(value))
            found[entry.get(_KEY, b"").decode("utf-8")] = entry.get(_VALUE, b"").decode("utf-8")
    return found


def _fields(content: Buffer) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each field that has a length; long ones but metadata are passed over."""
    place, end = 0, len(content)
    while place < end:
        key, place = _varint(content, place)
        field, kind = key >> 3, key & 7
        if kind == 0:
            _, place = _varint(content, place)
        elif kind in _FIXED:
            place += _FIXED[kind]
        elif kind == 2:
            length, place = _varint(content, place)
            if place + length > end:
                raise ValueError("it ends early")
            if field in (_ENTRIES, _KEY, _VALUE):
                yield field, content[place : place + length]
            place += length
        else:
            raise ValueError(f"a field of kind {kind}")


def _varint(content: Buffer, place: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, and the place behind it."""
    value = shift = 0
    while True:
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number too long")
