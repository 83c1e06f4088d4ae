"""Every output format, declared once: transports, codec, client, command line and page read it here.

CONTRIBUTING says what else a new one needs.
"""

from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from typing import Literal, Self

PlyEdges = Literal["keep", "drop"]


@dataclass(frozen=True, kw_only=True)
class FormatSpec:
    """What has to be known of a format to write it, to ask for it, and to read it."""

    number: int
    """Of its value in `proto/depth.proto`, which is called ``FORMAT_`` and the format's name."""
    media_types: tuple[str, ...]
    """The first is that of responses; `Accept` may name each, and gets the first format that has it."""
    container: Literal["png", "jxl", "npy", "raw", "json", "ply"]
    """How the stored values are packed; codec and client have a function for each."""
    dtype: str
    """Of the stored values, as NumPy names them."""
    scale: float = 1.0
    """Stored value x scale = depth; 0 where the values are no depth."""
    invalid: str = "none"
    """The stored value that says that there is no depth; `none` where every pixel has one."""
    far_is_invalid: bool = False
    """Whether depth beyond the largest value is stored as none, as ROS has it, rather than as that value."""
    content: Literal["depth", "colours", "points"] = "depth"
    """What the values are."""
    unit: Literal["metre", "any"] = "any"
    """Which depth it can hold."""
    suffix: str
    """What a file's name has after the name of its photograph."""
    title: str
    """In a word or two, for the page."""
    note: str
    """What the page says below it."""
    text: str
    """What it is, in a sentence."""
    needs: str = ""
    """The Python module that writes and reads it, where that is an extra of the same name as the format."""

    @property
    def media_type(self) -> str:
        """Of responses."""
        return self.media_types[0]


class Format(StrEnum):
    """How a depth map is written into bytes; `spec` has everything that is known of each."""

    # fmt: off
    PNG16 = "png16", FormatSpec(
        number=1, media_types=("image/png",), container="png",
        dtype=">u2", scale=1 / 256, invalid="0",
        suffix="_depth.png", title="PNG, 16 bits", note="1/256 a step",
        text="16-bit grey PNG; 1/256 of the unit a step, 0 = no depth (KITTI's when in metres).",
    )
    COLOR = "color", FormatSpec(
        number=8, media_types=("image/png",), container="png", dtype="|u1", scale=0.0, content="colours",
        suffix="_color.png", title="Colours", note="to look at",
        text="8-bit RGB PNG for people to look at; not for measuring.",
    )
    PLY = "ply", FormatSpec(
        number=9, media_types=("model/ply",), container="ply", dtype="<f4", content="points",
        suffix="_points.ply", title="Point cloud", note="PLY",
        text="A coloured point cloud, binary little-endian; needs a lens.",
    )
    NPY = "npy", FormatSpec(
        number=2, media_types=("application/x-npy",), container="npy", dtype="<f4",
        suffix="_depth.npy", title="NumPy", note="float32 .npy", text="NumPy's file of float32.",
    )
    PNG16_MM = "png16_mm", FormatSpec(
        number=10, media_types=("image/png",), container="png",
        dtype=">u2", scale=0.001, invalid="0", far_is_invalid=True, unit="metre",
        suffix="_depth_mm.png", title="PNG, mm", note="as depth cameras",
        text="16-bit grey PNG of millimetres, 0 = no depth (ROS compressedDepth); metric depth only.",
    )
    JXL = "jxl", FormatSpec(
        number=6, media_types=("image/jxl",), container="jxl", needs="imagecodecs",
        dtype="<u2", scale=1 / 256, invalid="0",
        suffix="_depth.jxl", title="JPEG XL", note="lossless, small",
        text="Lossless JPEG XL of the same values as PNG16.",
    )
    FLOAT32 = "float32", FormatSpec(
        number=3, media_types=("application/octet-stream",), container="raw", dtype="<f4",
        suffix="_depth.f32", title="float32", note="bare numbers",
        text="Raw little-endian float32, row by row.",
    )
    FLOAT16 = "float16", FormatSpec(
        number=4, media_types=("application/octet-stream",), container="raw", dtype="<f2",
        suffix="_depth.f16", title="float16", note="bare numbers",
        text="Raw little-endian float16, row by row.",
    )
    UINT16_MM = "uint16_mm", FormatSpec(
        number=5, media_types=("application/octet-stream",), container="raw",
        dtype="<u2", scale=0.001, invalid="0", far_is_invalid=True, unit="metre",
        suffix="_depth_mm.u16", title="uint16, mm", note="as ROS has it",
        text="Raw little-endian uint16 millimetres, 0 = no depth (ROS 16UC1); metric depth only.",
    )
    JSON = "json", FormatSpec(
        number=7, media_types=("application/json",), container="json", dtype="<f4",
        suffix="_depth.json", title="JSON", note="network's size",
        text="A JSON object with a list of rows; small maps only.",
    )
    # fmt: on

    spec: FormatSpec

    def __new__(cls, name: str, spec: FormatSpec | None = None) -> Self:
        """Make a member whose value is its name; `Format(name)` alone finds one, as with every enum."""
        if spec is None:
            raise TypeError(f"the format {name} is declared without its record; expected a FormatSpec")
        member = str.__new__(cls, name)
        member._value_ = name
        member.spec = spec
        return member

    @property
    def is_available(self) -> bool:
        """Whether what writes and reads it is installed."""
        return not self.spec.needs or find_spec(self.spec.needs) is not None
