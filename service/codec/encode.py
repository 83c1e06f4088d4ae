"""A depth map in each of the formats that callers may ask for, with what is needed to read it.

Depth comes in as float32 and is never rounded but by the format's own step. This module does not know models
or doors.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import imagecodecs
import numpy as np
import orjson
from jaxtyping import Float32, UInt8, UInt16

from service.codec.colour import colour_depth
from service.codec.png import encode_png
from service.codec.point_cloud import encode_ply
from service.errors import InvalidArgument
from service.request import Colour, Format, Intrinsics

STEPS_PER_UNIT = 256
"""Of PNG16 and JPEG XL, as in KITTI's depth maps: an error of 2 mm at most."""
FARTHEST_STEP = 65535
"""What lies farther is stored as this: 255.996 units and more."""
_FARTHEST_M = 65.5355
"""What lies farther, or just there, is stored in millimetres as no measurement."""
_MILLIMETRES = (Format.UINT16_MM, Format.PNG16_MM)


@dataclass(frozen=True, kw_only=True)
class EncodedDepth:
    """A depth map in bytes."""

    body: bytes
    media_type: str
    dtype: str
    """Of the stored values, as numpy names them."""
    scale: float
    """Stored value x scale = depth."""
    invalid: str
    """The stored value that says that there is no depth; `none` where every pixel has one."""


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
    json_max_pixels: int = 262_144
    ply_max_pixels: int = 8_388_608


Depth = Float32[np.ndarray, "height width"]


def encode_depth(depth: Depth, format: Format, options: EncodeOptions) -> EncodedDepth:  # noqa: A002
    """Encode a depth map whose values are positive and finite.

    Raises:
        InvalidArgument: The format cannot hold this map, or lacks something; the message says what.
    """
    return _ENCODERS[format](np.ascontiguousarray(depth, np.float32), options)


def held_range(depth: Depth, format: Format) -> tuple[float, float]:  # noqa: A002
    """Return the smallest and the largest depth of a map once it is encoded; zeros where none is left."""
    least, most = float(depth.min()), float(depth.max())
    if format in _MILLIMETRES and most >= _FARTHEST_M:
        held = depth[depth < _FARTHEST_M]
        least, most = (float(held.min()), float(held.max())) if held.size else (0.0, 0.0)
    if format in (Format.PNG16, Format.JXL):
        least, most = (min(end, FARTHEST_STEP / STEPS_PER_UNIT) for end in (least, most))
    return least, most


def steps(depth: Depth, per_unit: float) -> UInt16[np.ndarray, "height width"]:
    """Return depth in whole steps from 1 to 65535; 0 is left to mean that there is none."""
    scaled = depth * np.float32(per_unit)
    scaled += np.float32(0.5)
    return np.clip(scaled, 1, FARTHEST_STEP, out=scaled).astype(np.uint16)


def _png16(depth: Depth, options: EncodeOptions) -> EncodedDepth:
    body = encode_png(steps(depth, STEPS_PER_UNIT))
    return EncodedDepth(body=body, media_type="image/png", dtype=">u2", scale=1 / STEPS_PER_UNIT, invalid="0")


def _jxl(depth: Depth, options: EncodeOptions) -> EncodedDepth:
    body = imagecodecs.jpegxl_encode(steps(depth, STEPS_PER_UNIT), lossless=True, effort=1, numthreads=1)
    return EncodedDepth(
        body=bytes(body), media_type="image/jxl", dtype="<u2", scale=1 / STEPS_PER_UNIT, invalid="0"
    )


def _uint16_mm(depth: Depth, options: EncodeOptions) -> EncodedDepth:
    millimetres = _millimetres(depth, options)
    return EncodedDepth(
        body=millimetres.astype("<u2", copy=False).tobytes(),
        media_type="application/octet-stream",
        dtype="<u2",
        scale=0.001,
        invalid="0",
    )


def _png16_mm(depth: Depth, options: EncodeOptions) -> EncodedDepth:
    body = encode_png(_millimetres(depth, options))
    return EncodedDepth(body=body, media_type="image/png", dtype=">u2", scale=0.001, invalid="0")


def _millimetres(depth: Depth, options: EncodeOptions) -> UInt16[np.ndarray, "height width"]:
    if options.unit != "metre":
        raise InvalidArgument(
            "millimetres need metric depth, and this model's depth is relative; "
            "expected a known distance, a camera height, or another format"
        )
    # As ROS has it: what 16 bits cannot say is no measurement, rather than a wall at 65 metres.
    return np.where(depth < _FARTHEST_M, steps(depth, 1000), np.uint16(0))


def _npy(depth: Depth, options: EncodeOptions) -> EncodedDepth:
    file = io.BytesIO()
    np.save(file, depth.astype("<f4", copy=False), allow_pickle=False)
    return _floats(file.getvalue(), "<f4", "application/x-npy")


def _float32(depth: Depth, options: EncodeOptions) -> EncodedDepth:
    return _floats(depth.astype("<f4", copy=False).tobytes(), "<f4")


def _float16(depth: Depth, options: EncodeOptions) -> EncodedDepth:
    largest = np.float32(np.finfo(np.float16).max)
    return _floats(np.minimum(depth, largest).astype("<f2").tobytes(), "<f2")


def _floats(body: bytes, dtype: str, media_type: str = "application/octet-stream") -> EncodedDepth:
    return EncodedDepth(body=body, media_type=media_type, dtype=dtype, scale=1.0, invalid="none")


def _json(depth: Depth, options: EncodeOptions) -> EncodedDepth:
    _check_pixels(depth, options.json_max_pixels, "JSON", "size=model, or a binary format")
    height, width = depth.shape
    values = {"height": height, "width": width, "unit": options.unit, "depth": depth}
    body = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)
    return EncodedDepth(body=body, media_type="application/json", dtype="<f4", scale=1.0, invalid="none")


def _color(depth: Depth, options: EncodeOptions) -> EncodedDepth:
    colour = options.colour
    colours = colour_depth(depth, name=colour.map or options.colour_map, near=colour.near, far=colour.far)
    return EncodedDepth(
        body=encode_png(colours), media_type="image/png", dtype="|u1", scale=0.0, invalid="none"
    )


def _ply(depth: Depth, options: EncodeOptions) -> EncodedDepth:
    _check_pixels(depth, options.ply_max_pixels, "a point cloud", "size=model")
    if options.intrinsics is None or options.rgb is None:
        raise InvalidArgument("a point cloud needs a lens: intrinsics or a field of view")
    body = encode_ply(depth, options.rgb, options.intrinsics, options.unit)
    return EncodedDepth(body=body, media_type="model/ply", dtype="<f4", scale=1.0, invalid="none")


def _check_pixels(depth: Depth, most: int, what: str, instead: str) -> None:
    if depth.size > most:
        height, width = depth.shape
        raise InvalidArgument(
            f"{what} of {width}x{height} pixels is more than the {most} allowed; expected {instead}"
        )


_ENCODERS: Mapping[Format, Callable[[Depth, EncodeOptions], EncodedDepth]] = {
    Format.PNG16: _png16,
    Format.NPY: _npy,
    Format.FLOAT32: _float32,
    Format.FLOAT16: _float16,
    Format.UINT16_MM: _uint16_mm,
    Format.PNG16_MM: _png16_mm,
    Format.JXL: _jxl,
    Format.JSON: _json,
    Format.COLOR: _color,
    Format.PLY: _ply,
}
