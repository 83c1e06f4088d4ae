"""Tensors as the protocol sends them: datatypes, shapes, and elements in their three forms."""

import base64
import binascii
import struct
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any, Literal, get_args

import numpy as np
import orjson

from service.contract.errors import InvalidArgument
from service.transports.shared_memory import Place

Datatype = Literal["BYTES", "UINT8", "FP32"]
"""Those that this service takes or gives."""
_DTYPES: Mapping[str, np.dtype[Any]] = {"UINT8": np.dtype(np.uint8), "FP32": np.dtype("<f4")}
SHARED_REGION, SHARED_SIZE, SHARED_OFFSET = (
    "shared_memory_region",
    "shared_memory_byte_size",
    "shared_memory_offset",
)
SHARED = (SHARED_REGION, SHARED_SIZE, SHARED_OFFSET)
"""Parameters of a tensor that lies in shared memory, or is to be written there."""
BINARY_SIZE = "binary_data_size"
CONTENT_TYPE = "content_type"
_CODECS = {"BYTES": ("base64", "raw"), "numbers": ("np",)}
"""MLServer's names of ways to write a tensor."""
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


@dataclass(frozen=True, kw_only=True)
class SharedTensor:
    """One input whose elements lie in shared memory, and are not read yet."""

    name: str
    datatype: Datatype
    shape: Sequence[object]
    place: Place


def shared_place(whose: str, parameters: Mapping[str, object]) -> tuple[Place | None, Mapping[str, object]]:
    """Take the place in shared memory out of a tensor's parameters, where there is one.

    Raises:
        InvalidArgument: It is not said whole.
    """
    left = {name: value for name, value in parameters.items() if name not in SHARED}
    if len(left) == len(parameters):
        return None, left
    region = parameters.get(SHARED_REGION)
    size, offset = parameters.get(SHARED_SIZE), parameters.get(SHARED_OFFSET, 0)
    if not isinstance(region, str) or type(size) is not int or type(offset) is not int:
        raise InvalidArgument(
            f"{whose} has {SHARED_REGION} {str(region)[:40]!r}, {SHARED_SIZE} {str(size)[:20]} and "
            f"{SHARED_OFFSET} {str(offset)[:20]}; expected a name and whole numbers"
        )
    return Place(region=region, offset=offset, byte_size=size), left


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


def read_hints(name: str, datatype: str, parameters: Mapping[str, object]) -> bool:
    """Read an input's own parameters; return whether its files may be packed as base64.

    KServe's client sends `binary_data_size` over gRPC too, where it says nothing new; MLServer's says which
    codec wrote an input.

    Raises:
        InvalidArgument: One is none of these, or asks for something that the service does not do.
    """
    for hint, value in parameters.items():
        if hint == BINARY_SIZE:
            continue
        if hint != CONTENT_TYPE:
            raise InvalidArgument(
                f"input {name[:40]!r} has the parameter {hint[:40]!r}; expected none, {BINARY_SIZE!r} "
                f"or {CONTENT_TYPE!r}"
            )
        codecs = _CODECS["BYTES" if datatype == "BYTES" else "numbers"]
        if value not in codecs:
            raise InvalidArgument(
                f"input {name[:40]!r} has {CONTENT_TYPE} {str(value)[:40]!r}; expected {' or '.join(codecs)} "
                f"for {datatype[:20]}"
            )
    return parameters.get(CONTENT_TYPE) == "base64"


def unpacked(files: Sequence[bytes]) -> Sequence[bytes]:
    """Return files that may be base64, as MLServer's codec reads them: what is none is taken as it is."""
    return [_unpacked(file) for file in files]


def _unpacked(file: bytes) -> bytes:
    try:
        return base64.b64decode(file, validate=True)
    except (binascii.Error, ValueError):
        return file


def from_raw(name: str, datatype: str, raw: bytes | memoryview, *, most_images: int) -> Elements:
    """Read a tensor's bytes: little-endian numbers, or at most so many elements behind their lengths.

    Raises:
        InvalidArgument: They are cut short, do not come out even, or are too many.
    """
    if known(name, datatype) == "BYTES":
        return _split(name, memoryview(raw), most_images)
    dtype = _DTYPES[datatype]
    if len(raw) % dtype.itemsize:
        raise InvalidArgument(
            f"input {name!r} has {len(raw)} bytes; expected a multiple of {dtype.itemsize}, as {datatype} has"
        )
    return np.frombuffer(raw, dtype)


def check_images(name: str, count: int, most: int) -> None:
    """Refuse a tensor of more files than a request may bring.

    Raises:
        InvalidArgument: There are more.
    """
    if count > most:
        raise InvalidArgument(
            f"input {name!r} has {count} images; expected at most {most} (DEPTH_MAX_IMAGES_PER_CALL)"
        )


def from_numbers(name: str, datatype: str, numbers: Sequence[Any]) -> np.ndarray:
    """Read a flat or nested list of numbers.

    Raises:
        InvalidArgument: Some are none, the lists are uneven, or a number does not fit the datatype.
    """
    dtype = _DTYPES[known(name, datatype)]
    flat = _flat(name, numbers)
    if bool not in set(map(type, flat)):  # the next line would take true for 1
        try:
            return np.frombuffer(bytes(flat) if datatype == "UINT8" else array("f", flat), dtype)
        except (TypeError, OverflowError):
            pass
        except ValueError:  # by `bytes`
            raise InvalidArgument(
                f"the data of input {name!r} does not fit UINT8; expected numbers from 0 to 255"
            ) from None
    raise InvalidArgument(
        f"the data of input {name!r} does not fit its datatype; expected {datatype} numbers"
    )


def _flat(name: str, numbers: Sequence[Any]) -> Sequence[Any]:
    """Take lists of lists apart, level by level; each level's are of one length."""
    for _ in range(_MOST_DIMENSIONS):
        if not numbers or not isinstance(numbers[0], list):
            return numbers
        length = len(numbers[0])
        if not all(isinstance(each, list) and len(each) == length for each in numbers):
            break
        numbers = list(chain.from_iterable(numbers))
    raise InvalidArgument(f"the data of input {name!r} is an uneven list; expected numbers")


def to_numbers(values: np.ndarray) -> orjson.Fragment:
    """Write numbers as a flat JSON list."""
    return orjson.Fragment(orjson.dumps(values.reshape(-1), option=orjson.OPT_SERIALIZE_NUMPY))


def _split(name: str, raw: memoryview, most: int) -> list[bytes]:
    elements: list[bytes] = []
    start = 0
    while start < len(raw):
        check_images(name, len(elements) + 1, most)
        begin = start + _LENGTH.size
        end = begin + _LENGTH.unpack_from(raw, start)[0] if begin <= len(raw) else len(raw) + 1
        if end > len(raw):
            raise InvalidArgument(
                f"input {name!r} is cut short; expected elements, each behind its length as a uint32"
            )
        elements.append(bytes(raw[begin:end]))
        start = end
    return elements
