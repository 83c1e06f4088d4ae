"""NYU Depth v2, 654 labelled test images indoors, judged as Eigen et al. (NeurIPS 2014) do."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from training.data.layout import Findings
from training.judge.protocols.protocol import JudgingError, JudgingProtocol, TruthFrame, Window

LAYOUT = """
<root>/nyu_depth_v2_labeled.mat    images and depths of 1,449 frames
<root>/splits.mat                  testNdxs: which of them are judged
"""
_LABELED, _SPLITS = "nyu_depth_v2_labeled.mat", "splits.mat"


def eigen_crop(height: int, width: int) -> Window:
    """Return the window in which the published tables count pixels: rows 45 to 470, columns 41 to 600."""
    if (height, width) != (480, 640):
        raise JudgingError(f"is {width}x{height} pixels; expected NYU's 640x480")
    return slice(45, 471), slice(41, 601)


NYU = JudgingProtocol(
    name="nyu-v2",
    sentence="NYU Depth v2 test images, Eigen crop, 0.001 to 10 m",
    published_images=654,
    mask_m=(1e-3, 10.0),
    clamp_m=(1e-3, 10.0),
    window=eigen_crop,
)
"""The protocol. Depth is the filled-in `depths` of the labelled set, in metres."""


class NyuFrames:
    """The labelled test frames.

    Raises:
        LayoutError: A file is missing.
        JudgingError: A package that reads MATLAB's files is missing, or a file is not what it should be.
    """

    def __init__(self, root: Path) -> None:
        findings = Findings(f"NYU Depth v2 at {root}", LAYOUT)
        for name in (_LABELED, _SPLITS):
            findings.has_file(root / name, "labelled frames or their split")
        findings.raise_if_any()
        try:
            splits = _package("scipy.io").loadmat(root / _SPLITS)
            self._numbers = [int(number) - 1 for number in splits["testNdxs"].ravel()]  # MATLAB counts from 1
            self._file = _package("h5py").File(root / _LABELED, "r")
            frames = len(self._file["depths"])
        except (OSError, KeyError, ValueError, NotImplementedError) as error:
            raise JudgingError(f"NYU Depth v2 at {root}: cannot be read ({error})") from error
        beyond = [number + 1 for number in self._numbers if not 0 <= number < frames]
        if beyond:
            raise JudgingError(f"{root / _SPLITS} names frame {beyond[0]}, and {_LABELED} has {frames}")

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> TruthFrame:
        number = self._numbers[index]
        # MATLAB stores columns first: (3, width, height) and (width, height).
        image = np.ascontiguousarray(self._file["images"][number].transpose(2, 1, 0))
        depth_m = np.ascontiguousarray(self._file["depths"][number].T, dtype=np.float32)
        return TruthFrame(key=f"nyu/{number + 1:04}", image=image, depth_m=depth_m)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise JudgingError(f"NYU Depth v2 needs the package {name}: pip install '.[training,nyu]'") from error
