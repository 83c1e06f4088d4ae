"""The record of one training sample: a frame, other views of the same scene, and what is known about them.

Readers make these records and the loader batches them. The record does not know where it came from, and holds
images at their own size, without augmentation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8

Role = Literal["previous", "next", "stereo"]


@dataclass(frozen=True, kw_only=True)
class View:
    """A frame of the same scene, seen from another place or at another time."""

    image: UInt8[np.ndarray, "height width 3"]
    """RGB, of the same size and intrinsics as the target."""
    source_T_target: Float32[np.ndarray, "4 4"] | None
    """Moves points from the target's camera to this one, in metres; x right, y down, z forward.

    None: ask the pose network.
    """
    role: Role
    """What separates the view from the target: time, or the other camera of a stereo pair."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One target frame with its source views."""

    key: str
    """Stable and unique, as in ``2011_09_26_drive_0013_sync/image_02/0000000010``."""
    image: UInt8[np.ndarray, "height width 3"]
    """RGB."""
    intrinsics: Float32[np.ndarray, "3 3"]
    """In pixels of ``image``, with pixel centres at +0.5: the first pixel's centre is (0.5, 0.5).

    Calibrations that count from 0, as KITTI's do, have had 0.5 added to cx and cy.
    """
    sources: tuple[View, ...]
    """The views that explain the target; their number may differ between samples."""
    depth_m: Float32[np.ndarray, "height width"] | None
    """Distance along the optical axis; 0 where nothing was measured."""
    depth_is_label: bool = False
    """Whether depth may supervise training, as in synthetic worlds; else it serves to watch and judge."""
    intrinsics_known: bool = True
    """False where ``intrinsics`` is only a starting point, to be learned."""
    mask: Bool[np.ndarray, "height width"] | None = None
    """False where the frames show what moves with the camera: a bonnet, a mirror, a clock; None: nowhere."""
    camera: str = ""
    """The camera's name, where it is to be learned: samples of one name share what is learned."""


@runtime_checkable
class SequenceDataset(Protocol):
    """Anything that gives samples by number. Reading must be safe from several threads."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, index: int, /) -> Sample:
        """Read one sample."""
        ...

    @property
    def keys(self) -> Sequence[str]:
        """The samples' keys, without reading any image."""
        ...

    def describe(self) -> str:
        """Say in a line what the dataset is, for plans and logs."""
        ...
