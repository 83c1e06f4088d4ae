"""Cityscapes, 1,525 test images, judged by the data set's own stereo disparity.

As in ManyDepth (Watson et al., CVPR 2021): the bottom quarter with the bonnet is cut from photograph and
ground truth (the reader does so), and pixels count in the middle of what is left.
"""

from pathlib import Path
from typing import Literal

from training.data.cityscapes import Cityscapes, CityscapesConfig
from training.judge.protocols.protocol import JudgingError, JudgingProtocol, Map, Window
from training.judge.protocols.truth import require_truth

SIZE = (768, 2048)
"""Height and width of what is left of 1024 x 2048; the window's numbers are made for it."""


def uncut(depth_m: Map) -> Map:
    """Return the ground truth as the reader gives it.

    Raises:
        JudgingError: It is not of Cityscapes' size.
    """
    if depth_m.shape != SIZE:
        raise JudgingError(f"ground truth is {depth_m.shape}; expected {SIZE}, Cityscapes without its bonnet")
    return depth_m


def middle(height: int, width: int) -> Window:
    """Return the window [256:, 192:1856]."""
    return slice(256, height), slice(192, min(1856, width))


CITYSCAPES = JudgingProtocol(
    name="cityscapes",
    sentence="Cityscapes, stereo disparity, rows 256 to 768, columns 192 to 1856, 0.001 to 80 m",
    published_images=1525,
    mask_m=(1e-3, 80.0),
    clamp_m=(1e-3, 80.0),
    view=uncut,
    window=middle,
)
"""The protocol."""


def open_cityscapes(root: Path, split: Literal["train", "val", "test"] = "test") -> Cityscapes:
    """Open the single images of a split with their disparity maps.

    Raises:
        LayoutError: With every image, camera or disparity map that is missing.
    """
    frames = Cityscapes(
        CityscapesConfig(root=root, split=split, images="leftImg8bit", offsets=(), stereo=False, depth=True)
    )
    require_truth(frames, f"disparity map in disparity/{split}")
    return frames
