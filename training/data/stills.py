"""Photographs of different places with measured depth beside them: to watch a run by, or to learn hints from.

There are no other views, so nothing is learned from the photographs alone.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from training.data.frames import DEPTH_PNG_STEPS_PER_M, Frame, FrameDataset, Moment
from training.data.layout import Findings, images_in, read_header
from training.data.stored_depth import SteppedPng

LAYOUT = """
<folder>/<any name>.png or .jpg      photographs of any sizes
<depth>/<the same name>.png          uint16, 256 steps a metre unless steps_per_m says otherwise, 0: nothing
Photographs without depth are left out where a folder of depth is given; depth needs its photograph.
"""
_GUESSED_FOV_DEG = 60.0


@dataclass(frozen=True, kw_only=True)
class StillsConfig:
    """What to read of a folder of photographs."""

    root: Path
    """The folder of photographs."""
    depth: Path | None = None
    """The folder of their depth."""
    steps_per_m: float = DEPTH_PNG_STEPS_PER_M
    """What the stored numbers are divided by to be metres."""
    fov_deg: float | None = None
    """The horizontal field of view of all of them; watching needs none."""
    name: str = ""
    """Starts the keys; none: the name of the folder."""

    def __post_init__(self) -> None:
        if not self.steps_per_m > 0:
            raise ValueError(f"steps_per_m is {self.steps_per_m}; expected more than 0")


class Stills(FrameDataset):
    """Photographs of one folder.

    Raises:
        LayoutError: With everything that is missing or unreadable.
    """

    def __init__(self, config: StillsConfig) -> None:
        name = f"stills {config.root}"
        findings = Findings(name, LAYOUT)
        findings.has_folder(config.root, "photographs")
        photographs = images_in(config.root)
        depths = None if config.depth is None else images_in(config.depth)
        if config.depth is not None and findings.has_folder(config.depth, "depth of the photographs"):
            for stem, path in (depths or {}).items():
                if stem not in photographs:
                    findings.add(path, f"has no photograph {stem}.png or .jpg in {config.root}")
        wanted = [stem for stem in photographs if depths is None or stem in depths]
        if not wanted and not findings:
            findings.add(config.root, "has no photograph" + ("" if depths is None else " with depth"))
        moments = []
        for stem in wanted:
            header = read_header(photographs[stem])
            if header.trouble is not None:
                findings.add(photographs[stem], header.trouble)
                continue
            prefix = config.name or config.root.name
            moments.append(
                Moment(
                    frame=Frame(key=f"{prefix}/{stem}", path=photographs[stem]),
                    intrinsics=_intrinsics(config, header.height, header.width),
                    views=(),
                    depth=None
                    if depths is None
                    else SteppedPng(path=depths[stem], steps_per_m=config.steps_per_m),
                    intrinsics_known=config.fov_deg is not None,
                    camera=prefix,
                )
            )
        findings.raise_if_any()
        super().__init__(name, LAYOUT, moments)


def _intrinsics(config: StillsConfig, height: int, width: int) -> Float32[np.ndarray, "3 3"]:
    fov_deg = _GUESSED_FOV_DEG if config.fov_deg is None else config.fov_deg
    focal = width / 2 / math.tan(math.radians(fov_deg) / 2)
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], np.float32)
