"""All textures of a world in one image, each at every width and height halved and halved again.

A wall seen from the side is short across but not along; separate scales for the two directions keep far
textures sharp along and free of aliasing across.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Int64, UInt8

_SMALLEST_PX = 4
_ATLAS_WIDTH_PX = 4096


@dataclass(frozen=True)
class Atlas:
    """The packed textures; row i of the tables belongs to texture i."""

    pixels: UInt8[np.ndarray, "rows columns 3"]
    """RGB."""
    opacity: UInt8[np.ndarray, "rows columns"]
    """255 where nothing shines through."""
    corner: Float32[np.ndarray, "textures 2"]
    """x and y of each texture's block in `pixels`; the block is twice the texture's size."""
    size: Float32[np.ndarray, "textures 2"]
    """Width and height at the finest scale, in pixels."""
    levels: Float32[np.ndarray, "textures 2"]
    """The coarsest halving of the width, and of the height."""


class AtlasBuilder:
    """Collects textures; sizes are powers of two."""

    def __init__(self) -> None:
        self._textures: list[UInt8[np.ndarray, "height width 4"]] = []

    def add(self, colours: Float32[np.ndarray, "height width 3"], opacity: object = None) -> int:
        """Add a texture with values from 0 to 1 and return its number."""
        height, width = colours.shape[:2]
        if height & (height - 1) or width & (width - 1):
            raise ValueError(f"a texture is {height}x{width}; expected powers of two")
        pixels = np.full((height, width, 4), 255, np.uint8)
        pixels[..., :3] = np.clip(colours * 255 + 0.5, 0, 255)
        if opacity is not None:
            pixels[..., 3] = np.clip(np.asarray(opacity) * 255 + 0.5, 0, 255)
        self._textures.append(pixels)
        return len(self._textures) - 1

    def build(self) -> Atlas:
        """Pack the textures, the tallest first."""
        order = sorted(range(len(self._textures)), key=lambda i: (-self._textures[i].shape[0], i))
        corners = np.zeros((len(order), 2), np.int64)
        x = y = shelf = 0
        for number in order:
            height, width = (2 * extent for extent in self._textures[number].shape[:2])
            if x + width > _ATLAS_WIDTH_PX:
                x, y, shelf = 0, y + shelf, 0
            corners[number] = x, y
            x, shelf = x + width, max(shelf, height)
        pixels = np.zeros((y + shelf, _ATLAS_WIDTH_PX, 4), np.uint8)
        for texture, corner in zip(self._textures, corners, strict=True):
            _place(pixels, texture, corner)
        size = np.array([texture.shape[1::-1] for texture in self._textures], np.float32)
        levels = np.maximum(np.log2(size / _SMALLEST_PX), 0).astype(np.float32)
        colours: UInt8[np.ndarray, "rows columns 3"] = cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB)
        opacity: UInt8[np.ndarray, "rows columns"] = cv2.extractChannel(pixels, 3)
        return Atlas(colours, opacity, corners.astype(np.float32), size, levels)


def _place(
    pixels: UInt8[np.ndarray, "rows columns 4"],
    texture: UInt8[np.ndarray, "height width 4"],
    corner: Int64[np.ndarray, "2"],
) -> None:
    """Write a texture at all its scales: halving i of the width begins at 2 W (1 - 2^-i)."""
    height, width = texture.shape[:2]
    narrowed = texture
    columns, x = width, int(corner[0])
    while True:
        scaled, rows, y = narrowed, height, int(corner[1])
        while True:
            pixels[y : y + rows, x : x + columns] = scaled
            if rows <= _SMALLEST_PX:
                break
            y, rows = y + rows, rows // 2
            scaled = cv2.resize(scaled, (columns, rows), interpolation=cv2.INTER_AREA)
        if columns <= _SMALLEST_PX:
            break
        x, columns = x + columns, columns // 2
        narrowed = cv2.resize(narrowed, (columns, height), interpolation=cv2.INTER_AREA)
