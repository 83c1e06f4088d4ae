"""Anyone's own images, judged by depth PNGs of the same names.

Depth PNGs are KITTI's: uint16, metres times 256, 0 where nothing was measured, each of its image's size. It
knows no layout beyond two folders.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from training.data.frames import DepthPng, Frame
from training.data.layout import Findings, images_in
from training.protocols.kitti_eigen import garg_crop
from training.protocols.protocol import JudgingProtocol, TruthFrame

Crop = Literal["garg", "none"]

LAYOUT = """
<images>/<name>.png or .jpg          photographs
<ground truth>/<name>.png            depth of the same size, uint16, metres x 256, 0 where not measured
Photographs without ground truth are passed over; ground truth without its photograph is an error.
"""

FOLDER: Mapping[Crop, JudgingProtocol] = MappingProxyType(
    {
        "garg": JudgingProtocol(
            name="folder-garg",
            sentence="own images, depth PNGs, Garg crop, 0.001 to 80 m",
            published_images=None,
            mask_m=(1e-3, 80.0),
            clamp_m=(1e-3, 80.0),
            window=garg_crop,
        ),
        "none": JudgingProtocol(
            name="folder",
            sentence="own images, depth PNGs, no crop, 0.001 to 80 m",
            published_images=None,
            mask_m=(1e-3, 80.0),
            clamp_m=(1e-3, 80.0),
        ),
    }
)
"""The protocol with each crop: `garg` for KITTI's cameras, so that numbers compare with the Eigen table."""

_log = logging.getLogger(__name__)


class FolderFrames:
    """The photographs of a folder for which there is ground truth, by name.

    Raises:
        LayoutError: With every ground truth whose photograph is missing, or if there is no pair at all.
    """

    def __init__(self, images: Path, ground_truth: Path) -> None:
        findings = Findings(f"images in {images} with depth in {ground_truth}", LAYOUT)
        there = [
            findings.has_folder(images, "photographs"),
            findings.has_folder(ground_truth, "depth PNGs"),
        ]
        photographs, depths = images_in(images), images_in(ground_truth)
        for name, path in depths.items():
            if name not in photographs:
                findings.add(path, f"has no photograph {name}.png or .jpg in {images}")
        if all(there) and not depths:
            findings.add(ground_truth, "has no depth PNG in it")
        findings.raise_if_any()
        where = "/".join(images.resolve().parts[-3:])
        self._frames = [
            Frame(key=f"{where}/{photographs[name].name}", path=photographs[name]) for name in depths
        ]
        self._depths = [DepthPng(path=path) for path in depths.values()]
        if len(photographs) > len(depths):
            _log.info("%s: %d of %d photographs have ground truth", images, len(depths), len(photographs))

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> TruthFrame:
        frame = self._frames[index]
        image = frame.read()
        return TruthFrame(
            key=frame.key, image=image, depth_m=self._depths[index].read(image.shape[0], image.shape[1])
        )
