"""What a depth network needs before it and after it, as data: `NAME.depth.json` beside `NAME.onnx`.

A preset fills every key that is not stated; see `presets.toml`. Nothing in a description is ever executed.
"""

import dataclasses
import difflib
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from model.atomic import replacing
from model.golden import GoldenAnswer
from model.records import read_record

SUFFIX = ".depth.json"
FORMAT = "depth-network/1"

Kernel = Literal["area", "nearest", "linear", "linear-aligned", "cubic-opencv", "cubic-pil", "lanczos"]
"""`linear-aligned`: corners on corners. Cubic is two: a = -0.75 (OpenCV), and -0.5 and antialiased (PIL)."""


class DescriptionError(ValueError):
    """A description that cannot be used; the message says which key, its value and what was expected."""


@dataclass(frozen=True, kw_only=True)
class Extra:
    """A further input of the network, which is given one number."""

    tensor: str
    value: float


@dataclass(frozen=True, kw_only=True)
class InputRules:
    """How pixels become the network's input: ``(pixel / 255 x range - mean) / std``."""

    tensor: str = ""
    """The network's only input, or its first of four dimensions, where empty."""
    layout: Literal["nchw", "nhwc"] = "nchw"
    colour: Literal["rgb", "bgr"] = "rgb"
    range: Literal[1, 255] = 1
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of red, green and blue, in the units of `range`."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    flip: bool = False
    """Whether the network sees every picture a second time, mirrored, and both outputs are averaged."""
    extra: tuple[Extra, ...] = ()

    def __post_init__(self) -> None:
        if not all(deviation > 0.0 for deviation in self.std):
            raise ValueError(f"input.std is {self.std}; expected positive numbers")


@dataclass(frozen=True, kw_only=True)
class SizeRules:
    """Which size a picture gets, and how."""

    rule: Literal[
        "fixed", "lower", "upper", "minimal", "longest", "pixels", "tokens", "fit-and-pad", "native"
    ] = "fixed"
    """`fixed`: the target. With the aspect kept: both sides at least the target (`lower`), at most (`upper`),
    the smaller change of the two (`minimal`), the longest side (`longest`), between two numbers of pixels
    (`pixels`) or patches of `multiple` pixels (`tokens`), inside the target (`fit-and-pad`), as it is
    (`native`)."""
    target: tuple[int, ...] = ()
    """[height, width], or one number for both; [least, most] of `pixels`; [number] of `tokens`."""
    multiple: int = 1
    """Both sides become multiples of it."""
    rounding: Literal["nearest", "floor", "ceil"] = "nearest"
    aspect: Literal["keep", "stretch"] = "keep"
    """`stretch`: every picture gets the target itself, as by `fixed`."""
    pad: Literal["none", "mean", "zero", "reflect"] = "none"
    """What is around the picture, where it is fitted inside the target; `reflect`: 3 sqrt(side / 2) mirrored
    pixels on each side before the resize, as ZoeDepth has them."""
    down: Kernel = "area"
    """For pictures with more pixels than the network's."""
    up: Kernel = "linear"
    antialias: bool = False
    """Whether `linear` averages over what it shrinks."""
    rounded: bool = False
    """Whether pixels are whole numbers again after the resize."""
    max_pixels: int = 1 << 22
    """More are refused."""
    buckets: int = 0
    """How many sizes there are for common photographs, where the rule keeps the aspect: each picture gets the
    nearest, and is stretched a little, so that more pictures share a batch. 0: every picture its own."""

    def __post_init__(self) -> None:
        if not 1 <= self.multiple <= 256:
            raise ValueError(f"size.multiple is {self.multiple}; expected 1 to 256")
        counts = {"native": (0,), "tokens": (1,), "pixels": (2,)}.get(self.rule, (1, 2))
        if len(self.target) not in counts or not all(0 < side <= 1 << 24 for side in self.target):
            wanted = " or ".join(map(str, counts))
            raise ValueError(
                f"size.target is {list(self.target)}; expected {wanted} positive whole numbers for the rule "
                f"{self.rule!r}"
            )
        if not 0 <= self.buckets <= 64:
            raise ValueError(f"size.buckets is {self.buckets}; expected 0 to 64")
        one_size = self.rule in ("fixed", "fit-and-pad") or self.aspect == "stretch"
        if self.buckets and (one_size or self.rule == "native"):
            kept = "every picture has one size already" if one_size else "pictures keep their own sizes"
            raise ValueError(
                f"size.buckets is {self.buckets} and size.rule {self.rule!r}: {kept}; expected 0"
            )
        if self.max_pixels < 1:
            raise ValueError(f"size.max_pixels is {self.max_pixels}; expected at least 1")


@dataclass(frozen=True, kw_only=True)
class OutputRules:
    """What the network returns, and how it is brought to the picture's size."""

    tensor: str = ""
    """The network's only output, or its first, where empty."""
    quantity: Literal["depth", "disparity", "log-depth", "sigmoid", "points"] = "disparity"
    """`disparity`: 1/depth. `sigmoid`: 0 to 1 over the disparities from `max_depth` to `min_depth`. `points`:
    x, y and z of each pixel, up to a shift of z."""
    unit: Literal["metre", "relative", "affine"] = "relative"
    """`relative`: up to one factor. `affine`: disparity up to a factor and a shift."""
    factor: float = 1.0
    """Multiplies depth."""
    min_depth: float | None = None
    max_depth: float | None = None
    clamp: tuple[float, float] | None = None
    """Bounds of depth in its unit, after the focal rule."""
    resize: Literal["linear", "cubic", "nearest"] = "linear"
    align_corners: bool = False
    """Of the `linear` resize."""

    def __post_init__(self) -> None:
        if self.unit == "affine" and self.quantity != "disparity":
            raise ValueError(
                f"output.unit is 'affine' and output.quantity {self.quantity!r}; expected 'disparity': "
                "points whose depth is known fix a factor and a shift of disparity"
            )
        if self.quantity == "sigmoid" and not 0.0 < (self.min_depth or 0.0) < (self.max_depth or 0.0):
            raise ValueError(
                f"output.min_depth is {self.min_depth} and output.max_depth {self.max_depth}; "
                "expected 0 < min_depth < max_depth for a sigmoid"
            )
        if self.align_corners and self.resize != "linear":
            raise ValueError(f"output.resize is {self.resize!r} with align_corners; expected 'linear'")
        if self.clamp is not None and not 0.0 <= self.clamp[0] < self.clamp[1]:
            raise ValueError(f"output.clamp is {list(self.clamp)}; expected [least, most]")
        if not self.factor > 0.0:
            raise ValueError(f"output.factor is {self.factor}; expected a positive number")


@dataclass(frozen=True, kw_only=True)
class FocalRules:
    """How metres follow from the lens: depth is multiplied by a focal length over `reference`.

    The focal length is that of the picture as the network sees it, in its pixels.
    """

    rule: Literal["none", "times-over", "horizontal", "vertical"] = "none"
    """`times-over`: the mean of the horizontal and the vertical focal length."""
    reference: float = 1.0
    field_of_view: str = ""
    """The output with the horizontal field of view in degrees, for callers who know no lens."""

    def __post_init__(self) -> None:
        if not self.reference > 0.0:
            raise ValueError(f"focal.reference is {self.reference}; expected a positive number")


@dataclass(frozen=True, kw_only=True)
class SideOutput:
    """An output beside depth that says of each pixel what it is worth."""

    tensor: str
    threshold: float | None = None
    sense: Literal["above", "below"] = "above"
    """On which side of the threshold the pixels are that it speaks of: sky, valid ones, confident ones."""
    fill: Literal["none", "farthest"] = "none"
    """What becomes of sky: no depth, or the 99th percentile of the rest."""


@dataclass(frozen=True, kw_only=True)
class NetworkDescription:
    """What is said of one network; every key has a default, or comes from the preset."""

    preset: str = ""
    licence: str = ""
    """Of the weights."""
    source: str = ""
    input: InputRules = InputRules()
    size: SizeRules = SizeRules(target=(384,))
    output: OutputRules = OutputRules()
    focal: FocalRules = FocalRules()
    sky: SideOutput | None = None
    mask: SideOutput | None = None
    confidence: SideOutput | None = None
    runtime: Literal["auto", "onnxruntime", "openvino"] = "auto"
    """`auto`: ONNX Runtime where it is installed, else OpenVINO."""
    golden: GoldenAnswer | None = None
    """What the network returned for the drawn image when it was imported."""

    def __post_init__(self) -> None:
        if self.focal.rule != "none" and self.output.unit != "metre":
            raise ValueError(
                f"focal.rule is {self.focal.rule!r} and output.unit {self.output.unit!r}; expected 'metre'"
            )
        if self.output.quantity == "points":
            raise ValueError(
                "output.quantity is 'points', from which depth follows only by solving for the focal length "
                "and the shift of z, as MoGe's own program does; this version has no such solver: expected a "
                "network that returns depth or disparity"
            )


@cache
def presets() -> Mapping[str, Mapping[str, Any]]:
    """Return every preset's keys, by name."""
    return tomllib.loads(files(__package__).joinpath("presets.toml").read_text())


def parse_description(value: object) -> NetworkDescription:
    """Read a description from what JSON gave.

    Raises:
        DescriptionError: A key is unknown, missing or wrong.
    """
    try:
        return _parse(value)
    except DescriptionError:
        raise
    except (ValueError, TypeError) as error:
        raise DescriptionError(str(error)) from error


def _parse(value: object) -> NetworkDescription:
    if not isinstance(value, dict):
        raise DescriptionError(f"a description must be a JSON object, not {type(value).__name__}")
    given = dict(value)
    if (format_ := given.pop("format", None)) != FORMAT:
        raise DescriptionError(f"format is {format_!r}; expected {FORMAT!r}")
    name = given.get("preset", "")
    if name and name not in presets():
        near = difflib.get_close_matches(str(name), presets(), n=1, cutoff=0.0)
        raise DescriptionError(
            f"preset is {name!r}; did you mean {near[0]!r}? Expected one of {', '.join(presets())}"
        )
    return read_record(NetworkDescription, _merged(presets().get(name, {}), given), "description")


def _merged(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = {key: _listed(value) for key, value in base.items()}
    for key, value in given.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _listed(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def read_description(path: Path) -> NetworkDescription:
    """Read `NAME.depth.json`.

    Raises:
        DescriptionError: It cannot be read, or a key is unknown, missing or wrong.
    """
    try:
        return parse_description(json.loads(path.read_text()))
    except OSError as error:
        raise DescriptionError(f"{path} cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise DescriptionError(f"{path}: {error}") from error


def write_description(path: Path, given: Mapping[str, Any], golden: GoldenAnswer | None) -> None:
    """Write the keys that were given, which a preset completes, and the golden answer."""
    said = {"format": FORMAT, **given}
    if golden is not None:
        said["golden"] = dataclasses.asdict(golden)
    with replacing(path) as partial:
        partial.write_text(json.dumps(said, indent=1) + "\n")


def network_files(network: Path) -> list[Path]:
    """Return the other files that a network needs: its description, and weights that are kept apart."""
    weights = [network.with_suffix(".bin")]
    if network.suffix == ".onnx":
        weights = sorted(network.parent.glob(f"{network.name}?*"))
    return [description_path(network), *weights]


def network_sha256(network: Path, description: NetworkDescription) -> str:
    """Return the hash of what decides depth: the network's files, and the rules around it.

    Raises:
        OSError: A file cannot be read.
    """
    rules = dataclasses.replace(description, golden=None, licence="", source="", preset="")
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(rules), sort_keys=True).encode())
    for path in (network, *network_files(network)[1:]):
        if path.exists():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def description_path(network: Path) -> Path:
    """Return where the description of a network's file lies."""
    return network.with_name(network.stem + SUFFIX)
