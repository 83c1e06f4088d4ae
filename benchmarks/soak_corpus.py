"""Photographs of many sizes and kinds, and what a service with the simulated backend must make of each."""

import io
from collections.abc import Mapping
from functools import cache
from random import Random

import numpy as np
from PIL import Image

from model.images import disparity_to_depth_map
from model.metadata import DepthScale
from service.codec import decode_image, encode_depth
from service.codec.encode import EncodeOptions
from service.codec.point_cloud import intrinsics_of, resized_intrinsics
from service.codec.scale import own_scale
from service.contract.request import FieldOfView, Format

FOV_DEG = 80.0
"""Of the lens that every request names, as point clouds need one."""
_PNG = (Format.COLOR, Format.PNG16, Format.PNG16_MM)
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Corpus:
    """Photographs of many sizes and kinds, and what a service with the simulated backend must make of them.

    Args:
        random: Whence sizes, kinds and pixels.
        size: The network's height and width.
        factors: Metres to a unit of the depth of each network, by its name.
    """

    def __init__(
        self, random: Random, size: tuple[int, int], factors: Mapping[str, float], count: int = 40
    ) -> None:
        self._size, self._factors = size, factors
        self.models = tuple(factors)
        self.photographs = [_photograph(random) for _ in range(count)]
        self._equal: dict[tuple[int, str, Format, str], bytes] = {}
        """The PNG files that were found to hold the expected pixels, which are not unpacked again."""

    @cache  # noqa: B019 - there is one corpus, and it lives as long as the process
    def expected(self, photograph: int, model: str, name: Format, size: str) -> bytes:
        """Return the answer, composed here of the codec and the backend's formula, without any engine."""
        height, width = self._size
        image = decode_image(
            self.photographs[photograph],
            height=height,
            width=width,
            max_pixels=1 << 30,
            keep_rgb=name is Format.PLY and size == "input",
        )
        disparity = (image.pixels[..., 1].astype(np.float32) + 1) / 256
        rows, columns = self._size if size == "model" else (image.height, image.width)
        depth = disparity_to_depth_map(disparity, rows, columns, self._factors[model])
        whole = intrinsics_of(FieldOfView(horizontal_deg=FOV_DEG), image.height, image.width)
        lens = resized_intrinsics(whole, columns / image.width, rows / image.height)
        rgb = image.pixels if size == "model" else image.rgb
        scale = own_scale(DepthScale(unit="metre", metres_per_unit=self._factors[model]), None, "checkpoint")
        return encode_depth(depth, name, EncodeOptions(unit="metre", intrinsics=lens, rgb=rgb, scale=scale))

    def difference(self, photograph: int, model: str, name: Format, size: str, found: bytes) -> str:
        """Say how an answer differs from the expected one; nothing where it does not.

        Every format is compared byte for byte, save that a PNG file may pack the same pixels in other bytes:
        deflate leaves the packer free.
        """
        expected = self.expected(photograph, model, name, size)
        if found in (expected, self._equal.get((photograph, model, name, size))):
            return ""
        lengths = f"{len(found)} bytes where {len(expected)} were expected, {found[:80]!r}"
        if name not in _PNG or not found.startswith(_PNG_SIGNATURE):
            return lengths
        seen, meant = (
            np.asarray(Image.open(io.BytesIO(file))).astype(np.int64) for file in (found, expected)
        )
        if seen.shape != meant.shape:
            return f"{lengths}, {seen.shape} pixels where {meant.shape} were expected"
        places = np.argwhere(seen != meant)
        if not len(places):
            self._equal[photograph, model, name, size] = found
            return ""
        most = np.abs(seen - meant).max()
        return f"{lengths}, {len(places)} values differ by up to {most}, the first at {places[0]}"


def _photograph(random: Random) -> bytes:
    # Most are small, so that requests are many; a few are as large as a webcam's.
    height, width = (round(8 * 60 ** (random.random() ** 2)) for _ in range(2))
    pixels = np.random.default_rng(random.getrandbits(32)).integers(0, 256, (6, 6, 3), np.uint8)
    picture = Image.fromarray(pixels).resize((width, height))
    if random.random() < 0.2:
        picture = picture.convert("L")
    file = io.BytesIO()
    picture.save(file, random.choice(("JPEG", "JPEG", "PNG", "WEBP")))
    return file.getvalue()
