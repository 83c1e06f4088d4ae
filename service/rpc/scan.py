"""What a message holds, counted in its bytes before any of it is made an object.

A field costs a sender two bytes and the receiver a hundred, and reading it holds up everybody else. So
fields and packed numbers are counted first, and counting stops at the first that is too many. Wire format:
https://protobuf.dev/programming-guides/encoding.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor

from service.contract.errors import InvalidArgument

MOST_FIELDS = 4096
"""In one message with all that lies in it. Those of 64 images with options are some 200."""
_MOST_VARINT = 10
_FIXED_BYTES = {
    FieldDescriptor.TYPE_DOUBLE: 8,
    FieldDescriptor.TYPE_FIXED64: 8,
    FieldDescriptor.TYPE_SFIXED64: 8,
    FieldDescriptor.TYPE_FLOAT: 4,
    FieldDescriptor.TYPE_FIXED32: 4,
    FieldDescriptor.TYPE_SFIXED32: 4,
}
_TEXTS = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)


@dataclass(kw_only=True)
class _Left:
    """What may still come."""

    fields: int
    numbers: int
    most_numbers: int


class _CutShortError(Exception):
    """The bytes are no message; parsing them will say so."""


def check_counts(data: bytes, kind: Any, *, most_numbers: int) -> None:
    """Refuse a message with too many fields or numbers.

    Args:
        data: Its bytes.
        kind: The descriptor of its class.
        most_numbers: So many packed numbers may be in it.

    Raises:
        InvalidArgument: There are more.
    """
    left = _Left(fields=MOST_FIELDS, numbers=most_numbers, most_numbers=most_numbers)
    try:
        _walk(memoryview(data), kind, left)
    except _CutShortError:
        return


def _walk(data: memoryview, kind: Any, left: _Left) -> None:
    place, end = 0, len(data)
    while place < end:
        left.fields -= 1
        if left.fields < 0:
            raise InvalidArgument(f"the message has more than {MOST_FIELDS} fields; expected at most so many")
        key, place = _varint(data, place)
        match key & 7:  # the wire type
            case 0:
                _, place = _varint(data, place)
            case 1:
                place += 8
            case 2:
                size, place = _varint(data, place)
                if place + size > end:
                    raise _CutShortError
                field = None if kind is None else kind.fields_by_number.get(key >> 3)
                if field is not None and size:
                    _look_into(data[place : place + size], field, left)
                place += size
            case 3 | 4:  # a group begins or ends; nobody writes any
                pass
            case 5:
                place += 4
            case _:
                raise _CutShortError


def _look_into(data: memoryview, field: FieldDescriptor, left: _Left) -> None:
    if field.message_type is not None:
        _walk(data, field.message_type, left)
    elif field.type not in _TEXTS:
        left.numbers -= _packed(data, field, left.numbers)
        if left.numbers < 0:
            raise InvalidArgument(
                f"{field.name} has more numbers than the {left.most_numbers} allowed "
                "(DEPTH_MAX_REQUEST_NUMBERS); expected raw bytes instead"
            )


def _packed(data: memoryview, field: FieldDescriptor, most: int) -> int:
    """Count packed numbers; where their bytes alone are too many, return any number above the most."""
    if size := _FIXED_BYTES.get(field.type):
        return len(data) // size
    if len(data) > _MOST_VARINT * most:
        return most + 1
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) < 0x80))


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 7 * _MOST_VARINT, 7):
        if place >= len(data):
            raise _CutShortError
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise _CutShortError
