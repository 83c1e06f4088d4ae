"""A depth map in each of the formats that callers may ask for, with what is needed to read it.

Depth comes in as float32 and is never rounded but by the format's own step.
"""

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import orjson
from jaxtyping import Float32, UInt8

from service.codec.colour import colour_depth
from service.codec.png import encode_png
from service.codec.point_cloud import encode_ply, on_surfaces
from service.codec.scale import Scale
from service.contract.basis import Fact, facts
from service.contract.errors import InvalidArgument
from service.contract.formats import Format
from service.contract.request import Colour, Intrinsics


@dataclass(frozen=True, kw_only=True)
class Surfaces:
    """What tells points on surfaces from others."""

    network_size: tuple[int, int]
    """Height and width at which the network saw the picture."""
    farthest: float
    """The farthest depth that it can return, in the map's unit."""


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """What some formats need beside the depth."""

    unit: str
    """`metre` or `relative`."""
    colour: Colour = field(default_factory=Colour)
    colour_map: str = "turbo"
    """Where `colour` names none."""
    intrinsics: Intrinsics | None = None
    """Of the depth map's own pixels; for point clouds."""
    rgb: UInt8[np.ndarray, "height width 3"] | None = None
    """As large as the depth map; for point clouds."""
    scale: Scale | None = None
    """What the unit rests on, for files that have room to say it."""
    surfaces: Surfaces | None = None
    """Where a point cloud keeps points on surfaces alone."""
    json_max_pixels: int = 262_144
    ply_max_pixels: int = 8_388_608


Depth = Float32[np.ndarray, "height width"]


def encode_depth(depth: Depth, format: Format, options: EncodeOptions) -> bytes:  # noqa: A002
    """Encode a depth map of positive values, with NaN for none; the format's record says how it is read.

    Raises:
        InvalidArgument: The format cannot hold this map, or lacks something; the message says what.
    """
    spec = format.spec
    if spec.unit == "metre" and options.unit != "metre":
        raise InvalidArgument(
            f"{format} needs metric depth, and this model's depth is relative; "
            "expected a known distance, a camera height, or another format"
        )
    if not format.is_available:
        raise InvalidArgument(
            f"{format} needs {spec.needs}, which the server has not installed; expected another format, or "
            f"pip install 'vfm-depth[{format}]' there"
        )
    height, width = depth.shape
    check_size(format, height, width, options)
    depth = np.ascontiguousarray(depth, np.float32)
    match spec.content:
        case "depth":
            if spec.container == "png":
                stored: dict[str, Fact] = {"scale": spec.scale, "invalid": spec.invalid}
                return encode_png(stored_values(depth, format), _texts({**stored, **_said(options)}))
            return _WRITERS[spec.container](stored_values(depth, format), options)
        case "colours":
            colour = options.colour
            name = colour.map or options.colour_map
            colours = colour_depth(depth, name=name, near=colour.near, far=colour.far)
            return encode_png(colours, _texts(_said(options)))
        case "points":
            return _ply(depth, options)


def check_size(
    format: Format,  # noqa: A002
    height: int,
    width: int,
    limits: EncodeOptions,
) -> None:
    """Refuse depth of more pixels than its format may have.

    Raises:
        InvalidArgument: There are more.
    """
    most, what, instead = limits.json_max_pixels, "JSON", "size=model, or a binary format"
    if format.spec.content == "points":
        most, what, instead = limits.ply_max_pixels, "a point cloud", "size=model"
    elif format.spec.container != "json":
        return
    if height * width > most:
        raise InvalidArgument(
            f"{what} of {width}x{height} pixels is more than the {most} allowed; expected {instead}"
        )


def held_range(depth: Depth, format: Format) -> tuple[float, float]:  # noqa: A002
    """Return the smallest and the largest depth of a map once it is encoded; zeros where none is left."""
    spec, most_held = format.spec, farthest(format)
    if has_holes(depth):
        depth = depth[np.isfinite(depth)]
        if not depth.size:
            return 0.0, 0.0
    least, most = float(depth.min()), float(depth.max())
    if spec.far_is_invalid and most >= most_held + spec.scale / 2:
        held = depth[depth < most_held + spec.scale / 2]
        least, most = (float(held.min()), float(held.max())) if held.size else (0.0, 0.0)
    return min(least, most_held), min(most, most_held)


def has_holes(depth: Depth) -> bool:
    """Whether there are pixels without depth."""
    return math.isnan(float(depth.min()))


def invalid_value(depth: Depth, format: Format) -> str:  # noqa: A002
    """Return the stored value that says that there is no depth; `none` where every pixel has one."""
    spec = format.spec
    if spec.invalid != "none" or spec.content != "depth" or not has_holes(depth):
        return spec.invalid
    return "null" if spec.container == "json" else "nan"


def farthest(format: Format) -> float:  # noqa: A002
    """Return the largest depth that a format can store."""
    dtype = np.dtype(format.spec.dtype)
    if format.spec.content != "depth":
        return math.inf
    return float(np.iinfo(dtype).max * format.spec.scale if dtype.kind == "u" else np.finfo(dtype).max)


def stored_values(depth: Depth, format: Format) -> np.ndarray:  # noqa: A002
    """Return depth as a format stores it: whole steps from 1 where 0 means none, or floats."""
    spec, dtype = format.spec, np.dtype(format.spec.dtype)
    if dtype.kind == "f":
        values = np.minimum(depth, np.float32(farthest(format)))
    else:
        values = depth * np.float32(1 / spec.scale)
        values += np.float32(0.5)
        np.clip(values, 1, np.iinfo(dtype).max, out=values)
        if has_holes(depth):
            values[np.isnan(values)] = 0
        if spec.far_is_invalid:
            values[depth >= farthest(format) + spec.scale / 2] = 0
    stored: np.ndarray = values.astype(dtype.newbyteorder("="), copy=False)
    return stored


def _npy(values: np.ndarray, options: EncodeOptions) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()


def _jxl(values: np.ndarray, options: EncodeOptions) -> bytes:
    import imagecodecs  # an extra

    return bytes(imagecodecs.jpegxl_encode(values, lossless=True, effort=1, numthreads=1))


def _json(values: np.ndarray, options: EncodeOptions) -> bytes:
    height, width = values.shape
    told = {"height": height, "width": width, "unit": options.unit, **_said(options), "depth": values}
    return orjson.dumps(told, option=orjson.OPT_SERIALIZE_NUMPY)


def _ply(depth: Depth, options: EncodeOptions) -> bytes:
    if options.intrinsics is None or options.rgb is None:
        raise InvalidArgument("a point cloud needs a lens: intrinsics or a field of view")
    if (surfaces := options.surfaces) is not None:
        depth = np.where(on_surfaces(depth, surfaces.network_size, surfaces.farthest), depth, np.nan)
    said = {"unit": options.unit, **_said(options)}
    return encode_ply(depth, options.rgb, options.intrinsics, _texts(said))


def _said(options: EncodeOptions) -> dict[str, Fact]:
    """Return what a file says of its depth beside the values: the unit, and what it rests on."""
    scale = options.scale
    if scale is None:
        return {}
    return {"unit": scale.unit, "scale_source": scale.source, **facts(scale.basis)}


def _texts(said: Mapping[str, Fact]) -> Mapping[str, str]:
    return {name: str(value) for name, value in said.items()}


_WRITERS: Mapping[str, Callable[[np.ndarray, EncodeOptions], bytes]] = {
    "jxl": _jxl,
    "npy": _npy,
    "raw": lambda values, options: values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes(),
    "json": _json,
}
"""By container, of stored values in the machine's byte order."""
