"""Depth images with holes, as points whose depth is known."""

import io

import numpy as np
from PIL import Image

from service.codec.scale import KnownDepths
from service.contract.errors import ImageTooLarge, InvalidArgument
from service.contract.request import SparseDepth

_SAME_SHAPE = 0.02


def read_sparse_depth(sparse: SparseDepth, height: int, width: int, *, max_pixels: int) -> KnownDepths:
    """Return where a sparse depth image has depth, in pixels of its picture.

    Args:
        sparse: The image.
        height: Of the upright picture, in pixels.
        width: Likewise.
        max_pixels: More than these are refused.

    Raises:
        InvalidArgument: It is no 16-bit PNG of the picture's shape, or is empty.
        ImageTooLarge: It has too many pixels.
    """
    try:
        with Image.open(io.BytesIO(sparse.png), formats=("PNG",)) as file:
            if file.width * file.height > max_pixels:
                raise ImageTooLarge(
                    f"the sparse depth has {file.width}x{file.height} pixels; "
                    f"expected at most {max_pixels} in all"
                )
            if not file.mode.startswith("I"):
                raise InvalidArgument(f"the sparse depth is of mode {file.mode}; expected 16-bit grey PNG")
            stored = np.asarray(file)
    except (OSError, SyntaxError, ValueError, EOFError):
        raise InvalidArgument("the sparse depth cannot be read; expected a 16-bit grey PNG") from None
    rows, columns = stored.shape
    if abs(columns / rows * height / width - 1) > _SAME_SHAPE:
        raise InvalidArgument(
            f"the sparse depth has {columns}x{rows} pixels and the picture {width}x{height}; "
            "expected one shape"
        )
    row, column = np.nonzero(stored)
    if not row.size:
        raise InvalidArgument("the sparse depth is 0 everywhere; expected depth at one pixel at least")
    return KnownDepths(
        x_px=(column + 0.5) * width / columns,
        y_px=(row + 0.5) * height / rows,
        depth_m=stored[row, column] / np.float64(sparse.steps_per_metre),
    )
