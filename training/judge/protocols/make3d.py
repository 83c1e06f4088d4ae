"""Make3D, 134 test images, judged by a coarse laser: a network's first journey away from its training data.

Saxena, Sun and Ng (TPAMI 2009), cut to a 2 x 1 strip as in Monodepth (Godard et al., CVPR 2017). The
logarithmic error is to base 10 here, and here only.
"""

from pathlib import Path

from training.data.make3d import Make3d
from training.judge.protocols.protocol import Image, JudgingError, JudgingProtocol, Map

IMAGE_SIZE = (2272, 1704)
TRUTH_SIZE = (55, 305)


def strip(image: Image) -> Image:
    """Return rows 710 to 1562 of a photograph.

    Raises:
        JudgingError: It is not of Make3D's size.
    """
    if image.shape[:2] != IMAGE_SIZE:
        raise JudgingError(f"photograph is {image.shape[:2]}; expected {IMAGE_SIZE} as in Make3D")
    kept: Image = image[710:1562]
    return kept


def truth_strip(depth_m: Map) -> Map:
    """Return rows 17 to 38 of the ground truth.

    Raises:
        JudgingError: It is not of Make3D's size.
    """
    if depth_m.shape != TRUTH_SIZE:
        raise JudgingError(f"ground truth is {depth_m.shape}; expected {TRUTH_SIZE} as in Make3D")
    kept: Map = depth_m[17:38]
    return kept


MAKE3D = JudgingProtocol(
    name="make3d",
    sentence="Make3D test images, middle strip, up to 70 m, RMSE log to base 10",
    published_images=134,
    mask_m=(0.0, 70.0),
    clamp_m=(1e-3, 70.0),
    prepare=strip,
    view=truth_strip,
    resize="nearest",
    log_base="10",
)
"""The protocol."""


def open_make3d(root: Path) -> Make3d:
    """Open the test images with their laser grids.

    Raises:
        LayoutError: With everything that is missing.
    """
    return Make3d(root)
