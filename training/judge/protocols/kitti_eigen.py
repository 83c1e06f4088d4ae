"""KITTI, Eigen's 697 test images, judged by single LiDAR scans: the field's common table.

Split of Eigen, Puhrsch and Fergus (NeurIPS 2014), crop of Garg et al. (ECCV 2016), 80 m as usual since. The
ground truth is made as for the published tables, its quirks included: pixels rounded one too far to the
left and up, and depth along the scanner's axis.
"""

from pathlib import Path

from training.data.kitti_raw import KittiRaw, KittiRawConfig
from training.judge.protocols.protocol import JudgingProtocol, Window
from training.judge.protocols.truth import require_truth

GARG_ROWS = (0.40810811, 0.99189189)
"""Of the height: above there are few returns, below is the bonnet."""
GARG_COLUMNS = (0.03594771, 0.96405229)
"""Of the width."""


def garg_crop(height: int, width: int) -> Window:
    """Return the window of Garg et al., its bounds cut to whole pixels."""
    top, bottom = (int(share * height) for share in GARG_ROWS)
    left, right = (int(share * width) for share in GARG_COLUMNS)
    return slice(top, bottom), slice(left, right)


KITTI_EIGEN = JudgingProtocol(
    name="kitti-eigen",
    sentence="KITTI Eigen split, raw LiDAR, Garg crop, 0.001 to 80 m",
    published_images=697,
    mask_m=(1e-3, 80.0),
    clamp_m=(1e-3, 80.0),
    window=garg_crop,
)
"""The protocol."""


def open_kitti_eigen(root: Path, split: Path) -> KittiRaw:
    """Open the listed frames of KITTI raw with their scans as ground truth.

    Args:
        root: The folder of the dates.
        split: The list of frames, a line each: ``2011_09_26/2011_09_26_drive_0002_sync 0000000069 l``.

    Raises:
        LayoutError: With every frame that is missing, or that has no scan.
    """
    frames = KittiRaw(
        KittiRawConfig(
            root=root,
            split=split,
            offsets=(),
            stereo=False,
            poses=False,
            depth="scan",
            scan_pixels="eigen",
            scan_axis="scanner",
        )
    )
    require_truth(frames, "LiDAR scan")
    return frames
