"""Data sets by a line of text: ``KIND:PATH?option=value&option=value``.

    kitti-raw:/data/kitti?drives=2011_09_26_drive_0009_sync&stereo=no&weight=3
    video:drive.mp4?fov_deg=70
    synthetic:?sequences=200

The options are the fields of the reader's configuration, several values of one are joined by `,`. Five are
for all: `weight` is the share of training samples that comes from this set, where every set has one; `hints`
is a folder of depth matched from the frames' own views, to learn from (see `training.hints`); `narrowed` is
the width over height of a window of each frame that is taken in its place, as of another camera; `withhold`
takes away what is known (poses, stereo, intrinsics, labels); `every` takes every so many-th sample. This
module knows which readers there are, and nothing of what they read.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from training.data.cityscapes import Cityscapes, CityscapesConfig
from training.data.dgp import Dgp, DgpConfig
from training.data.hinted import Hinted
from training.data.kitti_odometry import KittiOdometry, KittiOdometryConfig
from training.data.kitti_raw import KittiRaw, KittiRawConfig
from training.data.mixture import Mixture
from training.data.narrowed import Narrowed
from training.data.nuscenes import NuScenes, NuScenesConfig
from training.data.packed import Packed, PackedConfig
from training.data.sequence import SequenceDataset
from training.data.stills import Stills, StillsConfig
from training.data.synthetic import SyntheticConfig, SyntheticDataset
from training.data.thinned import Thinned
from training.data.tum_rgbd import TumRgbd, TumRgbdConfig
from training.data.video import Video
from training.data.video_config import VideoConfig
from training.data.video_file import foretell_space
from training.data.virtual_kitti import VirtualKitti, VirtualKittiConfig
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
    "stills": Reader(config=StillsConfig, dataset=Stills, place="root"),
    "dgp": Reader(config=DgpConfig, dataset=Dgp, place="root"),
    "nuscenes": Reader(config=NuScenesConfig, dataset=NuScenes, place="root"),
    "tum-rgbd": Reader(config=TumRgbdConfig, dataset=TumRgbd, place="root"),
    "virtual-kitti": Reader(config=VirtualKittiConfig, dataset=VirtualKitti, place="root"),
    "packed": Reader(config=PackedConfig, dataset=Packed, place="file"),
    "synthetic": Reader(config=SyntheticConfig, dataset=SyntheticDataset, place=None),
}


class SourceError(ValueError):
    """A line that names no data set; the message says which part of it, and what was expected."""


def open_sources(lines: Sequence[str], covers: tuple[int, int] | None = None) -> Mixture:
    """Open every data set that the lines name, and mix them.

    Args:
        lines: KIND:PATH?option=value&...
        covers: Height and width that frames have to cover where they are extracted from videos, unless a
            line says otherwise; larger ones are stored smaller. None: none is.

    Raises:
        SourceError: A line cannot be understood.
        LayoutError: A data set is not as it should be.
    """
    if not lines:
        raise SourceError(f"no data; expected one or more of {_kinds()} as KIND:PATH?option=value")
    check_together(lines)
    opened = [_open(line, covers) for line in lines]
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


def check_together(lines: Sequence[str]) -> None:
    """Refuse lines that contradict one another, before any file is looked at.

    Raises:
        SourceError: A line cannot be understood, two videos have one name, or two lines of one camera say
            different things of its lens.
    """
    names: dict[tuple[str, float | None], int] = {}
    lenses: dict[str, tuple[str, object]] = {}
    for number, line in enumerate(lines):
        source = _parse(line)
        config = source.config
        if not isinstance(config, VideoConfig):
            continue
        other = names.setdefault((config.keyed, source.narrowed), number)
        if other != number:
            raise SourceError(
                f"{lines[other]!r} and {line!r}: two videos of the name {config.keyed!r}; "
                "expected name= in a line, as in name=second"
            )
        lens = (config.learn_intrinsics, config.fov_deg, config.focal_px, config.principal_px)
        before, same = lenses.setdefault(config.camera_name, (line, lens))
        if same != lens:
            raise SourceError(
                f"{before!r} and {line!r}: one camera {config.camera_name!r} of two lenses; expected the "
                "same learn_intrinsics, fov_deg, focal_px and principal_px in both, or another camera="
            )


def foretell(lines: Sequence[str], covers: tuple[int, int] | None) -> list[str]:
    """Say which videos are yet to be extracted, and what space their frames will take.

    Raises:
        SourceError: As `check_together` raises it.
        FrameError: A video cannot be read.
    """
    check_together(lines)
    said = []
    for line in lines:
        config = _parse(line).config
        if isinstance(config, VideoConfig) and config.path.is_file():
            config = dataclasses.replace(config, covers=config.covers or covers)
            space = foretell_space(config.path, config.cache, fps=config.fps, covers=config.stored)
            said += [] if space is None else [f"{config.path}: {space}, in {config.cache}"]
    return said


def without_places(lines: Sequence[str]) -> list[Any]:
    """Return all that lines say, except where files lie: what is left is equal for data that moved.

    Raises:
        SourceError: A line cannot be understood.
    """
    said = []
    for line in lines:
        source = _parse(line)
        options = {
            name: value
            for name, value in dataclasses.asdict(source.config).items()
            if not isinstance(value, Path)
        }
        rest = (source.weight, source.hints is not None, source.narrowed, source.withhold, source.every)
        said.append((source.reader.config.__name__, options, *rest))
    return said


def _open(line: str, covers: tuple[int, int] | None) -> tuple[SequenceDataset, float | None]:
    source = _parse(line)
    config = source.config
    if isinstance(config, VideoConfig) and config.covers is None:
        config = dataclasses.replace(config, covers=covers)
    dataset = source.reader.dataset(config)
    if source.every > 1:
        dataset = Thinned(dataset, source.every)
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
    every: int


def _parse(line: str) -> _Source:
    kind, colon, rest = line.partition(":")
    if not colon or kind not in READERS:
        raise SourceError(f"{line!r} names no kind of data; expected {_kinds()}, as in kitti-raw:/data/kitti")
    reader = READERS[kind]
    path, _, query = rest.partition("?")
    options = _options(line, query)
    weight, withhold = options.pop("weight", None), options.pop("withhold", "")
    hints_folder, narrowed = options.pop("hints", None), options.pop("narrowed", None)
    if reader.place is not None:
        if not path:
            raise SourceError(f"{line!r} has no path; expected {kind}:PATH")
        options[reader.place] = path
    elif path:
        raise SourceError(f"{line!r} has a path; expected {kind}:?option=value")
    hints = typing.get_type_hints(reader.config)
    # A folder of frames has a meaning of its own for it: frames beside each other, then, are that far apart.
    every = "1" if "every" in hints else options.pop("every", "1")
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
        every=_at_least_one(f"{line!r}: every", every),
    )


def _options(line: str, query: str) -> dict[str, str]:
    """Split ``option=value&option=value``; as in the path, ``+`` and ``%`` are themselves."""
    options: dict[str, str] = {}
    for part in query.split("&") if query else ():
        name, equals, value = part.partition("=")
        if not equals:
            raise SourceError(f"{line!r}: {part!r} is no option; expected option=value, joined by '&'")
        if name in options:
            raise SourceError(
                f"{line!r}: {name} is given twice, {options[name]!r} and {value!r}; expected once, with its "
                "values joined by ','"
            )
        options[name] = value
    return options


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
        return _plain(where, text, kind)
    raise SourceError(f"{where} cannot be given here")


def _plain(where: str, text: str, kind: type[str | Path | int | float]) -> Any:
    try:
        value = kind(text)
    except ValueError:
        raise SourceError(f"{where} is {text!r}; expected a number") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise SourceError(f"{where} is {text!r}; expected a finite number")
    return value


def _at_least_one(where: str, text: str) -> int:
    count = int(_value(where, text, int))
    if count < 1:
        raise SourceError(f"{where} is {text!r}; expected at least 1")
    return count


def _aspect(where: str, text: str) -> float:
    aspect = float(_value(where, text, float))
    if not 0.25 <= aspect <= 4:
        raise SourceError(f"{where} is {text!r}; expected a width over height of 0.25 to 4, as in 1.33")
    return aspect


_BOOLEANS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def _kinds() -> str:
    return ", ".join(READERS)
