"""Plain JSON values into frozen dataclasses, every field checked against its annotation."""

import dataclasses
import difflib
import math
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin

Record = TypeVar("Record")


def read_record(kind: type[Record], value: object, where: str) -> Record:
    """Build a dataclass from a JSON object; fields with a default may be missing, so that records can grow.

    Args:
        kind: The dataclass.
        value: What JSON gave.
        where: What the record is called in errors.

    Raises:
        ValueError: A field is unknown, missing or not what its annotation says; the message names it.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object, not {_shown(value)}")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(value) - set(fields)):
        near = difflib.get_close_matches(unknown[0], fields, n=1)
        meant = f"; did you mean {near[0]!r}? It has " if near else "; it has "
        raise ValueError(f"{where} has no field {unknown[0]!r}{meant}{', '.join(sorted(fields))}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in value:
            raise ValueError(f"{where}.{name} is missing")
    return kind(**{name: _decode(fields[name].type, item, f"{where}.{name}") for name, item in value.items()})


def _decode(kind: Any, value: object, where: str) -> Any:
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return read_record(kind, value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:  # only `X | None` among our records
        return None if value is None else _decode(arguments[0], value, where)
    if origin is tuple:
        return _decode_tuple(arguments, value, where)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{where} must be one of {', '.join(map(repr, arguments))}, not {_shown(value)}")
        return value
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:  # not isinstance: a bool is no int here
        raise ValueError(f"{where} must be of type {kind.__name__}, not {_shown(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} must be finite, not {value}")
    return value


def _decode_tuple(arguments: tuple[Any, ...], value: object, where: str) -> tuple[Any, ...]:
    """Read `tuple[X, ...]`, or `tuple[X, Y, Z]` of just that length."""
    if not isinstance(value, list):
        raise ValueError(f"{where} must be a list, not {_shown(value)}")
    kinds = (arguments[0],) * len(value) if arguments[-1] is Ellipsis else arguments
    if len(kinds) != len(value):
        raise ValueError(f"{where} must have {len(kinds)} items, not {len(value)}")
    return tuple(
        _decode(kind, item, f"{where}[{index}]")
        for index, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _shown(value: object) -> str:
    """Quote a value in an error without letting a damaged file fill the screen."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
