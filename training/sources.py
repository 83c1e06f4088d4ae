"""Data sets by a line of text: ``KIND:PATH?option=value&option=value``.

    kitti-raw:/data/kitti?drives=2011_09_26_drive_0009_sync&stereo=no&weight=3
    video:drive.mp4?fov_deg=70
    synthetic:?sequences=200

The options are the fields of the reader's configuration, several values of one are joined by `,`. Four are
for all: `weight` is the share of training samples that comes from this set, where every set has one; `hints`
is a folder of depth matched from the frames' own views, to learn from (see `training.hints`); `narrowed` is
the width over height of a window of each frame that is taken in its place, as of another camera; `withhold`
takes away what is known (poses, stereo, intrinsics, labels). This module knows which readers there are, and
nothing of what they read.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl

from training.data.cityscapes import Cityscapes, CityscapesConfig
from training.data.hinted import Hinted
from training.data.kitti_odometry import KittiOdometry, KittiOdometryConfig
from training.data.kitti_raw import KittiRaw, KittiRawConfig
from training.data.mixture import Mixture
from training.data.narrowed import Narrowed
from training.data.sequence import SequenceDataset
from training.data.synthetic import SyntheticConfig, SyntheticDataset
from training.data.video import Video, VideoConfig
from training.data.withheld import Fact, Withheld


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One kind of data."""

    config: type[Any]
    dataset: Callable[[Any], SequenceDataset]
    place: str | None
    """The field that the path goes to; None: there is no path."""


READERS: Mapping[str, Reader] = {
    "kitti-raw": Reader(config=KittiRawConfig, dataset=KittiRaw, place="root"),
    "kitti-odometry": Reader(config=KittiOdometryConfig, dataset=KittiOdometry, place="root"),
    "cityscapes": Reader(config=CityscapesConfig, dataset=Cityscapes, place="root"),
    "video": Reader(config=VideoConfig, dataset=Video, place="path"),
    "synthetic": Reader(config=SyntheticConfig, dataset=SyntheticDataset, place=None),
}


class SourceError(ValueError):
    """A line that names no data set; the message says which part of it, and what was expected."""


def open_sources(lines: Sequence[str]) -> Mixture:
    """Open every data set that the lines name, and mix them.

    Raises:
        SourceError: A line cannot be understood.
        LayoutError: A data set is not as it should be.
    """
    if not lines:
        raise SourceError(f"no data; expected one or more of {_kinds()} as KIND:PATH?option=value")
    opened = [_open(line) for line in lines]
    weights = [weight for _, weight in opened]
    given = [weight for weight in weights if weight is not None]
    if given and len(given) < len(weights):
        without = lines[weights.index(None)]
        raise SourceError(f"{without!r} has no weight, but others have; expected one for each, or none")
    return Mixture([dataset for dataset, _ in opened], given or None)


def help_text() -> str:
    """Describe every kind and its options, for the command line."""
    parts = [__doc__.split("\n\n", 1)[1].rsplit("This module", 1)[0].strip()]
    for kind, reader in READERS.items():
        names = [field.name for field in dataclasses.fields(reader.config) if field.name != reader.place]
        parts.append(f"{kind}: {', '.join(names)}")
    return "\n".join(parts)


def read_config(line: str) -> Any:
    """Read a line into the configuration of its reader.

    Raises:
        SourceError: The line cannot be understood.
    """
    return _parse(line).config


def _open(line: str) -> tuple[SequenceDataset, float | None]:
    source = _parse(line)
    dataset = source.reader.dataset(source.config)
    if source.withhold:
        dataset = Withheld(dataset, source.withhold)
    # Hints are not the data set's own labels, and stay where those are withheld.
    if source.hints is not None:
        dataset = Hinted(dataset, source.hints)
    if source.narrowed is not None:
        dataset = Narrowed(dataset, source.narrowed)
    return dataset, source.weight


@dataclass(frozen=True, kw_only=True)
class _Source:
    reader: Reader
    config: Any
    weight: float | None
    hints: Path | None
    narrowed: float | None
    withhold: tuple[Fact, ...]


def _parse(line: str) -> _Source:
    kind, colon, rest = line.partition(":")
    if not colon or kind not in READERS:
        raise SourceError(f"{line!r} names no kind of data; expected {_kinds()}, as in kitti-raw:/data/kitti")
    reader = READERS[kind]
    path, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    weight, withhold = options.pop("weight", None), options.pop("withhold", "")
    hints_folder, narrowed = options.pop("hints", None), options.pop("narrowed", None)
    if reader.place is not None:
        if not path:
            raise SourceError(f"{line!r} has no path; expected {kind}:PATH")
        options[reader.place] = path
    elif path:
        raise SourceError(f"{line!r} has a path; expected {kind}:?option=value")
    hints = typing.get_type_hints(reader.config)
    values: dict[str, Any] = {}
    for name, text in options.items():
        if name not in hints:
            raise SourceError(f"{line!r}: {kind} has no option {name!r}; expected {', '.join(hints)}")
        values[name] = _value(f"{line!r}: {name}", text, hints[name])
    try:
        config = reader.config(**values)
    except (TypeError, ValueError) as error:
        raise SourceError(f"{line!r}: {error}") from error
    return _Source(
        reader=reader,
        config=config,
        weight=None if weight is None else _value(f"{line!r}: weight", weight, float),
        hints=None if hints_folder is None else _value(f"{line!r}: hints", hints_folder, Path),
        narrowed=None if narrowed is None else _aspect(f"{line!r}: narrowed", narrowed),
        withhold=_value(f"{line!r}: withhold", withhold, tuple[Fact, ...]),
    )


def _value(where: str, text: str, kind: Any) -> Any:
    """Read a value of a field's type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        inner = [argument for argument in arguments if argument is not type(None)]
        return None if text == "none" else _value(where, text, inner[0])
    if origin is tuple:
        parts = text.split(",") if text else []
        each = [arguments[0]] * len(parts) if arguments[-1] is Ellipsis else list(arguments)
        if len(each) != len(parts):
            raise SourceError(f"{where} is {text!r}; expected {len(each)} values joined by ','")
        return tuple(_value(where, part, one) for part, one in zip(parts, each, strict=True))
    if origin is Literal:
        if text not in arguments:
            raise SourceError(f"{where} is {text!r}; expected {', '.join(map(str, arguments))}")
        return text
    if kind is bool:
        if text not in _BOOLEANS:
            raise SourceError(f"{where} is {text!r}; expected yes or no")
        return _BOOLEANS[text]
    if kind in (str, Path, int, float):
        try:
            return kind(text)
        except ValueError:
            raise SourceError(f"{where} is {text!r}; expected a number") from None
    raise SourceError(f"{where} cannot be given here")


def _aspect(where: str, text: str) -> float:
    aspect = float(_value(where, text, float))
    if not 0.25 <= aspect <= 4:
        raise SourceError(f"{where} is {text!r}; expected a width over height of 0.25 to 4, as in 1.33")
    return aspect


_BOOLEANS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def _kinds() -> str:
    return ", ".join(READERS)
