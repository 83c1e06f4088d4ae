"""A measured depth map as callers get it: in bytes, with its range, and with distances to places."""

from dataclasses import dataclass

from service.codec.decode import DecodedImage
from service.codec.encode import EncodeOptions, Surfaces, encode_depth, held_range, invalid_value
from service.codec.measure import Measured
from service.codec.regions import measure_regions
from service.contract.regions import Distances
from service.contract.request import DepthRequest


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Everything that a response says of a map, and the map."""

    measured: Measured
    body: bytes
    """Empty where the caller wants no map."""
    minimum: float
    maximum: float
    invalid: str
    distances: Distances | None


@dataclass(frozen=True, kw_only=True)
class FinishOptions:
    """What an operator sets."""

    colour_map: str
    json_max_pixels: int
    ply_max_pixels: int


def finish(
    request: DepthRequest,
    image: DecodedImage,
    measured: Measured,
    options: FinishOptions,
) -> Finished:
    """Encode a map, and measure the request's regions in it.

    Args:
        request: How depth is wanted.
        image: The picture.
        measured: Its depth.
        options: The operator's.

    Raises:
        InvalidArgument: The format cannot hold this map, or a region lies outside.
    """
    depth, scale = measured.depth, measured.scale
    body = b""
    if request.map:
        encoding = EncodeOptions(
            unit=scale.unit,
            colour=request.colour,
            colour_map=options.colour_map,
            intrinsics=measured.lens,
            rgb=image.pixels if request.size == "model" else image.rgb,
            json_max_pixels=options.json_max_pixels,
            ply_max_pixels=options.ply_max_pixels,
            scale=scale,
            surfaces=Surfaces(network_size=image.pixels.shape[:2], farthest=measured.farthest)
            if request.ply_edges == "drop"
            else None,
        )
        body = encode_depth(depth, request.format, encoding)
    distances = None
    if request.regions is not None:
        distances = measure_regions(depth, request.regions, (image.height, image.width), measured.lens)
    minimum, maximum = held_range(depth, request.format)
    return Finished(
        measured=measured,
        body=body,
        minimum=minimum,
        maximum=maximum,
        invalid=invalid_value(depth, request.format),
        distances=distances,
    )
