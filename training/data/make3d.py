"""Make3D's 134 test images with their laser depth, to judge only.

Saxena, Sun, Ng, "Make3D: Learning 3D Scene Structure from a Single Still Image", PAMI 2009. Depth is a grid
of 55 x 305 for an image of 2272 x 1704 pixels, so a record of its own holds the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from scipy.io import loadmat

from training.data.frames import Frame, FrameError
from training.data.layout import Findings, images_in, read_headers

LAYOUT = """
<root>/Test134/img-<name>.jpg                       134 images
<root>/Gridlaserdata/depth_sph_corr-<name>.mat      their depth, Position3DGrid
"""

IMAGES = 134
GRID_FIELD = "Position3DGrid"
_DEPTH_CHANNEL = 3
_IMAGE_PREFIX, _DEPTH_PREFIX = "img-", "depth_sph_corr-"


@dataclass(frozen=True, kw_only=True)
class Make3dImage:
    """An image and the depth grid that covers it."""

    key: str
    image: UInt8[np.ndarray, "height width 3"]
    depth_m: Float32[np.ndarray, "rows columns"]
    """55 rows of 305 columns."""


class Make3d:
    """The test images, in the order of their names.

    Raises:
        LayoutError: With everything that is missing.
    """

    def __init__(self, root: Path) -> None:
        self._name = f"Make3D at {root}"
        findings = Findings(self._name, LAYOUT)
        images, depths = root / "Test134", root / "Gridlaserdata"
        folders = [findings.has_folder(images, "images"), findings.has_folder(depths, "depth")]
        self._frames: list[Frame] = []
        self._depths: list[Path] = []
        for stem, path in images_in(images).items() if all(folders) else ():
            name = stem.removeprefix(_IMAGE_PREFIX)
            depth = depths / f"{_DEPTH_PREFIX}{name}.mat"
            if findings.has_file(depth, f"depth of {path.name}"):
                self._frames.append(Frame(key=f"make3d/{name}", path=path))
                self._depths.append(depth)
        if all(folders) and not self._frames:
            findings.add(images, "has no image with depth")
        findings.raise_if_any()

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Make3dImage:
        frame = self._frames[index]
        return Make3dImage(key=frame.key, image=frame.read(), depth_m=read_grid(self._depths[index]))

    @property
    def keys(self) -> Sequence[str]:
        """The images' keys."""
        return [frame.key for frame in self._frames]

    def describe(self) -> str:
        """Say in a line what there is, and whether it is all."""
        whole = "" if len(self) == IMAGES else f" of {IMAGES}"
        return f"{self._name}: {len(self)}{whole} images with depth"

    def verify(self) -> None:
        """Look at the header of every image.

        Raises:
            LayoutError: With every problem found.
        """
        findings = Findings(self._name, LAYOUT)
        paths = [frame.path for frame in self._frames]
        for path, header in zip(paths, read_headers(paths), strict=True):
            if header.trouble is not None:
                findings.add(path, header.trouble)
        findings.raise_if_any()


def read_grid(path: Path) -> Float32[np.ndarray, "rows columns"]:
    """Read a grid of laser depth in metres.

    Raises:
        FrameError: It is not a MATLAB file with such a grid.
    """
    try:
        grid = loadmat(path)[GRID_FIELD]
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        raise FrameError(path, f"expected a MATLAB file with {GRID_FIELD} ({error})") from error
    if grid.ndim != 3 or grid.shape[2] <= _DEPTH_CHANNEL:
        raise FrameError(path, f"{GRID_FIELD} is {grid.shape}; expected rows x columns x 4")
    depth_m: Float32[np.ndarray, "rows columns"] = grid[..., _DEPTH_CHANNEL].astype(np.float32)
    return depth_m
