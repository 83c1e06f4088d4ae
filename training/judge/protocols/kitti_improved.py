"""KITTI, 652 of Eigen's test images, judged by the denser ground truth of eleven accumulated scans.

Uhrig et al., "Sparsity Invariant CNNs" (3DV 2017). Without a crop, since that ground truth was cleaned.
"""

import math
from pathlib import Path

from training.data.kitti_raw import KittiRaw, KittiRawConfig
from training.judge.protocols.protocol import JudgingProtocol
from training.judge.protocols.truth import require_truth

KITTI_IMPROVED = JudgingProtocol(
    name="kitti-improved",
    sentence="KITTI Eigen split, improved ground truth, no crop, predictions clamped to 80 m",
    published_images=652,
    mask_m=(0.0, math.inf),
    clamp_m=(1e-3, 80.0),
)
"""The protocol. Ground truth beyond 80 m counts, as published; the clamp then costs every method the same."""


def open_kitti_improved(root: Path, split: Path, depth_root: Path) -> KittiRaw:
    """Open the listed frames of KITTI raw with the PNGs of the depth benchmark as ground truth.

    Args:
        root: The folder of the dates.
        split: The list of frames, as for the other protocol.
        depth_root: The folder of ``train`` and ``val``, or of the drives themselves.

    Raises:
        LayoutError: With every frame or ground truth that is missing.
    """
    frames = KittiRaw(
        KittiRawConfig(
            root=root,
            split=split,
            offsets=(),
            stereo=False,
            poses=False,
            depth="png",
            depth_root=depth_root,
            depth_kind="groundtruth",
        )
    )
    require_truth(frames, "PNG in proj_depth/groundtruth")
    return frames
