"""Anyone's own images, judged by depth files of the same names."""

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from training.data.frames import Frame
from training.data.layout import Findings, files_in, images_in
from training.judge.protocols.kitti_eigen import garg_crop
from training.judge.protocols.protocol import JudgingProtocol, TruthFrame
from training.judge.protocols.truth_files import SUFFIXES, DepthScale, TruthFile, name_of

Crop = Literal["garg", "none"]

LAYOUT = """
<images>/<name>.png or .jpg                  photographs
<ground truth>/<name>.png .tif .npy .exr     depth of the same size, 0 where not measured; uint16 PNGs hold
                                             metres x 256, unless --depth-scale says otherwise
Photographs without ground truth are passed over; ground truth without its photograph is an error.
"""

FOLDER: Mapping[Crop, JudgingProtocol] = MappingProxyType(
    {
        "garg": JudgingProtocol(
            name="folder-garg",
            sentence="own images, depth files, Garg crop, 0.001 to 80 m",
            published_images=None,
            mask_m=(1e-3, 80.0),
            clamp_m=(1e-3, 80.0),
            window=garg_crop,
        ),
        "none": JudgingProtocol(
            name="folder",
            sentence="own images, depth files, no crop, 0.001 to 80 m",
            published_images=None,
            mask_m=(1e-3, 80.0),
            clamp_m=(1e-3, 80.0),
        ),
    }
)
"""The protocol with each crop. Garg's is for KITTI's cameras; the Eigen table's ground truth is the
scanner's x, one pixel up and left, so other depth files of the same frames give other numbers, by 3 %."""

_log = logging.getLogger(__name__)


def within(
    protocol: JudgingProtocol, min_depth_m: float | None, max_depth_m: float | None
) -> JudgingProtocol:
    """Return a protocol with other bounds, by which ground truth counts and predictions are clamped.

    Raises:
        ValueError: They are no range of positive depths.
    """
    if min_depth_m is None and max_depth_m is None:
        return protocol
    low = protocol.mask_m[0] if min_depth_m is None else min_depth_m
    high = protocol.mask_m[1] if max_depth_m is None else max_depth_m
    if not 0 < low < high < math.inf:
        raise ValueError(f"--min-depth is {low:g} and --max-depth {high:g}; expected 0 < min < max")
    sentence = protocol.sentence.replace("0.001 to 80 m", f"{low:g} to {high:g} m")
    name = f"{protocol.name} {low:g}-{high:g} m"
    return replace(protocol, name=name, sentence=sentence, mask_m=(low, high), clamp_m=(low, high))


def reading(scale: DepthScale, protocol: JudgingProtocol) -> JudgingProtocol:
    """Return a protocol whose sentence says how the depth files' numbers are read."""
    return replace(protocol, sentence=protocol.sentence.replace("depth files", f"depth files {scale}", 1))


class FolderFrames:
    """The photographs of a folder for which there is ground truth, by name.

    Raises:
        LayoutError: With every ground truth whose photograph is missing, or if there is no pair at all.
    """

    def __init__(self, images: Path, ground_truth: Path, scale: DepthScale | None = None) -> None:
        scale = scale or DepthScale(steps_per_m=None)
        findings = Findings(f"images in {images} with depth in {ground_truth}", LAYOUT)
        there = [
            findings.has_folder(images, "photographs"),
            findings.has_folder(ground_truth, "depth"),
        ]
        photographs = {name_of(path): path for path in images_in(images).values()}
        depths: dict[str, Path] = {}
        for path in files_in(ground_truth, SUFFIXES):
            if depths.setdefault(name_of(path), path) is not path:
                findings.add(
                    path, f"lies beside {depths[name_of(path)].name}; expected one file of that name"
                )
        for name, path in depths.items():
            if name not in photographs:
                findings.add(path, f"has no photograph {name}.png or .jpg in {images}")
        if all(there) and not depths:
            findings.add(ground_truth, f"has no depth in it; expected {', '.join(SUFFIXES)}")
        findings.raise_if_any()
        where = "/".join(images.resolve().parts[-3:])
        self._frames = [
            Frame(key=f"{where}/{photographs[name].name}", path=photographs[name]) for name in depths
        ]
        self._depths = [TruthFile(path=path, scale=scale) for path in depths.values()]
        if len(photographs) > len(depths):
            _log.info("%s: %d of %d photographs have ground truth", images, len(depths), len(photographs))

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> TruthFrame:
        frame = self._frames[index]
        image = frame.read()
        height, width = image.shape[:2]
        return TruthFrame(key=frame.key, image=image, depth_m=self._depths[index].read(height, width))

    def steps_per_m(self) -> float | None:
        """Return what the first file's numbers are divided by to be metres; None of disparity."""
        first = self._depths[0]
        return first.steps_per_m() if first.scale.cameras is None else None

    def runs(self, gap: int) -> list[int]:
        """Return how many frames each run has, where a jump of the names' numbers above `gap` begins one."""
        numbers = [int((re.findall(r"\d+", frame.path.stem) or ["0"])[0]) for frame in self._frames]
        jumps = [index for index in range(1, len(numbers)) if abs(numbers[index] - numbers[index - 1]) > gap]
        ends = [*jumps, len(numbers)]
        return [end - start for start, end in zip([0, *jumps], ends, strict=True)]
