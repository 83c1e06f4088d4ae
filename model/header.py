"""The header of a safetensors file: which tensors it holds, where, and the text beside them.

Read with the standard library alone, every claim checked against the file's size, so that a service can look
at a file without torch and a damaged file is refused before anything is allocated. It does not know what a
checkpoint is.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

MAX_HEADER_BYTES = 100_000_000
"""What the safetensors format allows."""

ITEM_BYTES: Mapping[str, int] = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
"""Bytes of one element by the format's own names."""


@dataclass(frozen=True, kw_only=True)
class TensorEntry:
    """What the header says of one tensor."""

    dtype: str
    """One of :data:`ITEM_BYTES`."""
    shape: tuple[int, ...]
    begin: int
    """Offset of its first byte in the data that follows the header."""
    end: int


@dataclass(frozen=True, kw_only=True)
class Header:
    """A checked header: its tensors fill the file without gap, overlap or remainder."""

    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]


def read_header(file: BinaryIO) -> Header:
    """Read and check the header of a safetensors file, opened at its beginning.

    Raises:
        ValueError: It is not a whole safetensors file; the message says why.
    """
    file_bytes = os.fstat(file.fileno()).st_size
    if file_bytes == 0:
        raise ValueError("the file is empty")
    if file_bytes < 8:
        raise ValueError(f"truncated, or not a safetensors file: it has {file_bytes} bytes")
    header_bytes = int.from_bytes(file.read(8), "little")
    if header_bytes > MAX_HEADER_BYTES:
        raise ValueError(f"not a safetensors file: it announces a header of {header_bytes} bytes")
    if header_bytes > file_bytes - 8:
        raise ValueError(
            f"truncated, or not a safetensors file: it announces a header of {header_bytes} bytes "
            f"and has {file_bytes} bytes in all"
        )
    text = file.read(header_bytes)
    fields = _parse(text)
    metadata = _texts(fields.pop("__metadata__", {}))
    tensors = {name: _entry(name, fields[name]) for name in fields}
    _check_layout(tensors, data_bytes=file_bytes - 8 - header_bytes)
    return Header(tensors=tensors, metadata=metadata)


def _parse(text: bytes) -> dict[str, Any]:
    if not text.startswith(b"{"):
        raise ValueError(f"not a safetensors file: its header begins with {text[:8]!r} instead of '{{'")
    try:
        fields = json.loads(text.decode("utf-8"), object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its header is not valid JSON ({error})") from error
    if not isinstance(fields, dict):
        raise ValueError(f"its header is a JSON {type(fields).__name__} instead of an object")
    return fields


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a repeated name: readers would disagree on which of its values counts."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {repeated!r} stands twice")
    return fields


def _texts(metadata: object) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its __metadata__ is not an object of texts")
    return metadata


def _entry(name: str, field: object) -> TensorEntry:
    """Check one tensor's own claims; where it lies among the others is checked afterwards."""
    if not isinstance(field, dict) or set(field) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = field["dtype"], field["shape"], field["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise ValueError(f"tensor {name!r} has the unknown dtype {dtype!r}")
    if not _naturals(shape):
        raise ValueError(f"tensor {name!r} has the shape {shape!r}; expected a list of natural numbers")
    if not _naturals(offsets) or len(offsets) != 2:
        raise ValueError(f"tensor {name!r} has the offsets {offsets!r}; expected two natural numbers")
    expected = math.prod(shape) * ITEM_BYTES[dtype]
    if offsets[1] - offsets[0] != expected:
        raise ValueError(
            f"tensor {name!r} of dtype {dtype} and shape {tuple(shape)} takes {expected} bytes; "
            f"its offsets span {offsets[1] - offsets[0]}"
        )
    return TensorEntry(dtype=dtype, shape=tuple(shape), begin=offsets[0], end=offsets[1])


def _naturals(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _check_layout(tensors: Mapping[str, TensorEntry], data_bytes: int) -> None:
    end = 0
    for name, entry in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != end:
            raise ValueError(f"tensor {name!r} begins at byte {entry.begin} of the data instead of {end}")
        end = entry.end
    if end > data_bytes:
        raise ValueError(f"truncated: its tensors need {end} bytes of data and it has {data_bytes}")
    if end < data_bytes:
        raise ValueError(f"its tensors end after {end} bytes of data and {data_bytes - end} more follow")
