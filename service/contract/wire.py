"""An answer as headers, as JSON and as gRPC's message: the service writes it, its client reads it.

Each field of `DepthAnswer` travels by its own name; in headers, by the one that is declared beside it.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from functools import partial
from typing import TYPE_CHECKING, Any, get_type_hints

from .answer import DepthAnswer, Header
from .basis import Ground, KnownFit
from .formats import Format
from .regions import distances_of, read_distances, write_distances
from .request import Intrinsics

if TYPE_CHECKING:  # protobuf is there where a message is
    from google.protobuf.message import Message

Record = Intrinsics | KnownFit | Ground
HEADERS: Mapping[str, Header] = {
    name: hint.__metadata__[0]
    for name, hint in get_type_hints(DepthAnswer, include_extras=True).items()
    if hasattr(hint, "__metadata__")
}
"""By field; `media_type` has HTTP's own. The transport writes the request's id."""
_OTHERWISE = {"body": "data", "height": "height_px", "width": "width_px"}
"""What fields are called in messages, where it is not their name."""
_RECORDS: Mapping[str, type[Record]] = {"intrinsics": Intrinsics, "fit": KnownFit, "ground": Ground}
"""Fields that are records of numbers, or None."""
_OPTIONAL = ("fy_per_height", "uncertainty")
"""Numbers that may be None."""
_AS_THEY_ARE = tuple(
    each.name
    for each in fields(DepthAnswer)
    if each.name not in ("body", "format", "unit", "timings", "distances", *_RECORDS, *_OPTIONAL)
)


def write_headers(answer: DepthAnswer) -> list[tuple[bytes, bytes]]:
    """Return everything that is needed to read the body; a text that is empty is left out."""
    told = [(b"content-type", answer.media_type.encode("latin-1"))]
    for header, name, write in _WRITERS:
        if text := write(getattr(answer, name)):
            told.append((header, text.encode("latin-1")))
    return told


def read_headers(headers: Mapping[str, str], body: bytes) -> DepthAnswer:
    """Return the answer of which these are headers, with names in small letters, and body.

    Raises:
        KeyError: A header is missing.
        ValueError: It cannot be read.
    """
    given: dict[str, Any] = {"body": body, "media_type": headers["content-type"]}
    for name, header in HEADERS.items():
        text = headers.get(header.name.lower(), "")
        if text or name == "request_id":
            given[name] = _READERS.get(name, str)(text)
    return _answer(given)


def write_json(answer: DepthAnswer) -> dict[str, Any]:
    """Return everything about an answer but its body, as plain values."""
    return {
        **{name: getattr(answer, name) for name in (*_AS_THEY_ARE, "format", "unit")},
        **{name: getattr(answer, name) for name in _OPTIONAL},
        **{name: None if (known := getattr(answer, name)) is None else asdict(known) for name in _RECORDS},
        **({} if answer.distances is None else {"distances": answer.distances.to_json()}),
        "timings_ms": {phase: seconds * 1e3 for phase, seconds in answer.timings.items()},
    }


def read_json(told: Mapping[str, Any], body: bytes) -> DepthAnswer:
    """Return the answer of which these are the values.

    Raises:
        KeyError: One is missing.
        ValueError: One cannot be read; likewise TypeError.
    """
    given = {name: told[name] for name in (*_AS_THEY_ARE, *_OPTIONAL, "unit") if name in told}
    given |= {"body": body, "format": Format(told["format"])}
    for name, kind in _RECORDS.items():
        known = told.get(name)
        given[name] = None if known is None else kind(**known)
    if "distances" in told:
        given["distances"] = distances_of(told["distances"])
    given["timings"] = {phase: ms / 1e3 for phase, ms in told["timings_ms"].items()}
    return _answer(given)


def write_response(answer: DepthAnswer, response: "Message") -> None:
    """Write an answer into a `PredictResponse`."""
    message: Any = response
    for name in ("body", *_AS_THEY_ARE):
        setattr(message, _OTHERWISE.get(name, name), getattr(answer, name))
    message.format = answer.format.spec.number
    message.unit = _units(message)[f"UNIT_{answer.unit.upper()}"].number
    for name in _OPTIONAL:
        if (number := getattr(answer, name)) is not None:
            setattr(message, name, number)
    for name in _RECORDS:
        if (known := getattr(answer, name)) is not None:
            for part, value in asdict(known).items():
                setattr(getattr(message, name), part, value)
    if answer.distances is not None:
        write_distances(answer.distances, message.distances)
    for phase, seconds in answer.timings.items():
        setattr(message.timings, f"{phase}_ms", seconds * 1e3)


def read_response(response: "Message") -> DepthAnswer:
    """Return the answer that a `PredictResponse` brings.

    Raises:
        KeyError: It has a value that is not known here; likewise ValueError.
    """
    message: Any = response
    given = {name: getattr(message, _OTHERWISE.get(name, name)) for name in ("body", *_AS_THEY_ARE)}
    numbers = {format_.spec.number: format_ for format_ in Format}
    units = {value.number: name.removeprefix("UNIT_").lower() for name, value in _units(message).items()}
    given |= {"format": numbers[message.format], "unit": units[message.unit]}
    for name in filter(message.HasField, _OPTIONAL):
        given[name] = getattr(message, name)
    for name, kind in _RECORDS.items():
        if message.HasField(name):
            known = getattr(message, name)
            given[name] = kind(**{part.name: getattr(known, part.name) for part in fields(kind)})
    if message.HasField("distances"):
        given["distances"] = read_distances(message.distances)
    timings = message.timings
    given["timings"] = {
        each.name.removesuffix("_ms"): getattr(timings, each.name) / 1e3 for each in timings.DESCRIPTOR.fields
    }
    return _answer(given)


def _answer(given: Mapping[str, Any]) -> DepthAnswer:
    try:
        return DepthAnswer(**given)
    except TypeError as error:  # a field without which there is no answer
        raise KeyError(str(error)) from None


def _units(message: Any) -> Mapping[str, Any]:
    units: Mapping[str, Any] = message.DESCRIPTOR.fields_by_name["unit"].enum_type.values_by_name
    return units


def _write_number(digits: int | None) -> Callable[[float], str]:
    return repr if digits is None else lambda value: f"{value:.{digits}g}"


def _write_optional(digits: int | None) -> Callable[[float | None], str]:
    write = _write_number(digits)
    return lambda value: "none" if value is None else write(value)


def _read_optional(text: str) -> float | None:
    return None if text == "none" else float(text)


def _write_record(known: Record | None) -> str:
    return "none" if known is None else " ".join(_text(value) for value in asdict(known).values())


def _text(value: float | bool) -> str:
    return str(int(value)) if isinstance(value, int) else repr(float(value))


def _read_record(kind: type[Record], text: str) -> Record | None:
    if text == "none":
        return None
    types = get_type_hints(kind)
    numbers = zip(types.items(), text.split(), strict=True)
    values: dict[str, Any] = {
        name: float(word) if of is float else of(int(word)) for (name, of), word in numbers
    }
    return kind(**values)


def _write_timings(timings: Mapping[str, float]) -> str:
    return ", ".join(f"{phase};dur={seconds * 1e3:.3f}" for phase, seconds in timings.items())


def _read_timings(text: str) -> dict[str, float]:
    entries = (entry.strip().partition(";dur=") for entry in text.split(",") if ";dur=" in entry)
    return {phase: float(milliseconds) / 1e3 for phase, _, milliseconds in entries}


_TYPES = get_type_hints(DepthAnswer)
_READERS: Mapping[str, Callable[[str], Any]] = {
    **{name: kind for name, kind in _TYPES.items() if kind in (int, float, Format)},
    **{name: partial(_read_record, kind) for name, kind in _RECORDS.items()},
    **dict.fromkeys(_OPTIONAL, _read_optional),
    "timings": _read_timings,
}


def _writer(name: str, header: Header) -> Callable[[Any], str]:
    match name:
        case _ if name in _RECORDS:
            return _write_record
        case _ if name in _OPTIONAL:
            return _write_optional(header.digits)
        case "timings":
            return _write_timings
        case _:
            return _write_number(header.digits) if _TYPES[name] is float else str


_WRITERS = tuple(
    (header.name.lower().encode(), name, _writer(name, header))
    for name, header in HEADERS.items()
    if name != "request_id"
)
