"""Tensors as the protocol sends them: datatypes, shapes, and elements in their three forms.

It does not know what a tensor means, or how its bytes came.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, get_args

import numpy as np
import orjson

from service.errors import InvalidArgument

Datatype = Literal["BYTES", "UINT8", "FP32"]
"""Those that this service takes or gives."""
_DTYPES: Mapping[str, np.dtype[Any]] = {"UINT8": np.dtype(np.uint8), "FP32": np.dtype("<f4")}
_MOST_DIMENSIONS = 8
_LENGTH = struct.Struct("<I")
"""Stands before each element of BYTES in raw form."""

Elements = np.ndarray | Sequence[bytes]
"""Flat: an array of numbers, or the elements of BYTES."""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One input, its elements already of its datatype and as many as its shape says."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    elements: Elements


def tensor_of(name: str, datatype: str, shape: Sequence[object], elements: Elements) -> Tensor:
    """Put a tensor together.

    Raises:
        InvalidArgument: The shape is none, or promises another number of elements.
    """
    sizes = tuple(size for size in shape if type(size) is int and size > 0)
    if not 0 < len(sizes) == len(shape) <= _MOST_DIMENSIONS:
        said = ", ".join(repr(size)[:20] for size in shape[:_MOST_DIMENSIONS])
        raise InvalidArgument(f"input {name!r} has shape [{said}]; expected 1 to 8 positive whole numbers")
    if len(elements) != prod(sizes):
        raise InvalidArgument(
            f"input {name!r} has {len(elements)} elements; expected {prod(sizes)} for its shape {list(sizes)}"
        )
    return Tensor(name=name, datatype=known(name, datatype), shape=sizes, elements=elements)


def known(name: str, datatype: object) -> Datatype:
    """Return a datatype that this service takes.

    Raises:
        InvalidArgument: It is none of them.
    """
    found: Datatype | None = next((each for each in get_args(Datatype) if each == datatype), None)
    if found is None:
        expected = ", ".join(get_args(Datatype))
        raise InvalidArgument(
            f"input {name!r} is of datatype {str(datatype)[:20]!r}; expected one of {expected}"
        )
    return found


def from_raw(name: str, datatype: str, raw: bytes | memoryview) -> Elements:
    """Read a tensor's bytes: little-endian numbers, or elements behind their lengths.

    Raises:
        InvalidArgument: They are cut short, or do not come out even.
    """
    if known(name, datatype) == "BYTES":
        return _split(name, memoryview(raw))
    dtype = _DTYPES[datatype]
    if len(raw) % dtype.itemsize:
        raise InvalidArgument(
            f"input {name!r} has {len(raw)} bytes; expected a multiple of {dtype.itemsize}, as {datatype} has"
        )
    return np.frombuffer(raw, dtype)


def from_numbers(name: str, datatype: str, numbers: object) -> np.ndarray:
    """Read a flat or nested list of numbers.

    Raises:
        InvalidArgument: Some are none, the lists are uneven, or a number does not fit the datatype.
    """
    dtype = _DTYPES[known(name, datatype)]
    try:
        values = np.asarray(numbers)
    except ValueError:
        raise InvalidArgument(f"the data of input {name!r} is an uneven list; expected numbers") from None
    if values.dtype.kind not in ("iu" if datatype == "UINT8" else "iuf"):
        raise InvalidArgument(
            f"the data of input {name!r} does not fit its datatype; expected {datatype} numbers"
        )
    if datatype == "UINT8" and values.size and not 0 <= values.min() <= values.max() <= 255:
        raise InvalidArgument(
            f"the data of input {name!r} does not fit UINT8; expected numbers from 0 to 255"
        )
    return values.astype(dtype).reshape(-1)


def to_numbers(values: np.ndarray) -> orjson.Fragment:
    """Write numbers as a flat JSON list."""
    return orjson.Fragment(orjson.dumps(values.reshape(-1), option=orjson.OPT_SERIALIZE_NUMPY))


def _split(name: str, raw: memoryview) -> list[bytes]:
    elements = []
    start = 0
    while start < len(raw):
        begin = start + _LENGTH.size
        end = begin + _LENGTH.unpack_from(raw, start)[0] if begin <= len(raw) else len(raw) + 1
        if end > len(raw):
            raise InvalidArgument(
                f"input {name!r} is cut short; expected elements, each behind its length as a uint32"
            )
        elements.append(bytes(raw[begin:end]))
        start = end
    return elements
