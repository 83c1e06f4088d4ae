"""Options in gRPC's messages, by the names that they have everywhere; service and client both use it.

An option is the field of its name, wherever in `Options` it lies; what is called otherwise is listed here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from .errors import InvalidArgument
from .formats import Format

if TYPE_CHECKING:  # protobuf is there where a message is
    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
    from google.protobuf.message import Message

_OTHERWISE = {
    "model_version": "version",
    "color.map": "colormap",
    "lens.horizontal_fov_deg": "fov_deg",
    "anchor.known_distance.x_px": "known_x_px",
    "anchor.known_distance.y_px": "known_y_px",
    "anchor.known_distance.distance_m": "known_distance_m",
}
_MODES = {"every_frame": "every", "latest_frame": "latest"}
_FORMATS = {format_.spec.number: format_ for format_ in Format}
Value = str | int | float


@dataclass(frozen=True)
class _Leaf:
    option: str
    path: tuple[str, ...]
    """Of the messages around the field."""
    field: "FieldDescriptor"
    whole: bool
    """Whether the message around it is of a `oneof`: then all of its fields are given, zeros too."""

    def value_in(self, message: "Message") -> Value | None:
        """Return what a message says, or None where it says nothing."""
        for name in self.path:
            if not message.HasField(name):
                return None
            message = getattr(message, name)
        if self.field.has_presence and not message.HasField(self.field.name):
            return None
        value: Value = getattr(message, self.field.name)
        if self.field.enum_type is not None:
            return _name_of(self.field.enum_type, int(value), self.option)
        return value if value or self.whole or self.field.has_presence else None

    def write(self, message: "Message", value: Value) -> None:
        """Say it in a message."""
        for name in self.path:
            message = getattr(message, name)
        if self.field.enum_type is not None:
            value = _number_of(self.field.enum_type, str(value))
        setattr(message, self.field.name, value)


def _leaves(descriptor: "Descriptor", path: tuple[str, ...] = (), *, whole: bool = False) -> Iterator[_Leaf]:
    for field in descriptor.fields:
        if field.message_type is not None:
            inner = (*path, field.name)
            yield from _leaves(field.message_type, inner, whole=field.containing_oneof is not None)
        else:
            place = ".".join((*path, field.name)).removeprefix("options.")
            yield _Leaf(_OTHERWISE.get(place, field.name), path, field, whole)


@lru_cache
def _by_option(descriptor: "Descriptor") -> dict[str, _Leaf]:
    return {leaf.option: leaf for leaf in _leaves(descriptor)}


def read_message(message: "Message") -> Iterator[tuple[str, Value]]:
    """Yield the options that an `Options` or a `StreamConfig` gives, by their names.

    Raises:
        InvalidArgument: An enumerated value is none that we know.
    """
    for name, leaf in _by_option(message.DESCRIPTOR).items():
        value = leaf.value_in(message)
        if value is not None:
            yield name, value


def write_message(message: "Message", options: Mapping[str, Value]) -> None:
    """Write options into a message, by their names."""
    leaves = _by_option(message.DESCRIPTOR)
    for name, value in options.items():
        leaves[name].write(message, value)


def _name_of(kind: "EnumDescriptor", number: int, option: str) -> str | None:
    if number == 0:
        return None
    if kind.name == "Format" and number in _FORMATS:
        return _FORMATS[number]
    if number not in kind.values_by_number:
        raise InvalidArgument(f"{option} is {number}; expected a value of {kind.full_name}")
    name = kind.values_by_number[number].name.removeprefix(f"{kind.name.upper()}_").lower()
    return _MODES.get(name, name)


def _number_of(kind: "EnumDescriptor", name: str) -> int:
    if kind.name == "Format":
        return Format(name).spec.number
    return next(number for number in kind.values_by_number if _name_of(kind, number, "") == name)
