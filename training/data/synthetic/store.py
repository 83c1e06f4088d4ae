"""Drawn frames on disk: one file a camera and moment, whole or not there, the same values as when drawn."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from model.atomic import replacing
from training.data.frames import FrameError
from training.data.synthetic.frame import Kind, SyntheticFrame

_MOVING = 0x80
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)


@dataclass(frozen=True)
class FrameStore:
    """A folder of frames of one configuration."""

    folder: Path

    def path(self, sequence: int, frame: int, right: bool) -> Path:
        """Return the file of a frame."""
        eye = "right" if right else "left"
        return self.folder / f"{sequence:05d}" / f"{frame + 1:05d}.{eye}.npz"

    def read(self, sequence: int, frame: int, right: bool) -> SyntheticFrame | None:
        """Return a frame, or None where it has not been written.

        Raises:
            FrameError: The file is damaged.
        """
        path = self.path(sequence, frame, right)
        try:
            with np.load(path, allow_pickle=False) as members:
                depth_m = members["depth_m"]
                labels = _decoded(members["labels"], cv2.IMREAD_GRAYSCALE)
                kinds = labels & np.uint8(~_MOVING & 0xFF)
                return SyntheticFrame(
                    image=_decoded(members["image"], cv2.IMREAD_COLOR_RGB),
                    depth_m=depth_m,
                    sky=kinds == Kind.SKY,
                    moving=(labels & _MOVING) > 0,
                    kinds=kinds,
                    intrinsics=members["intrinsics"],
                    world_T_camera=members["world_T_camera"],
                )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, cv2.error) as error:
            raise FrameError(path, f"is damaged ({error}); remove it, and it will be drawn again") from error

    def write(self, sequence: int, frame: int, right: bool, drawn: SyntheticFrame) -> None:
        """Keep a frame."""
        labels = drawn.kinds | np.where(drawn.moving, np.uint8(_MOVING), np.uint8(0))
        # In memory first: numpy would add a suffix to the name of a file that is about to be renamed.
        content = io.BytesIO()
        np.savez(
            content,
            image=_encoded(drawn.image[..., ::-1]),
            depth_m=drawn.depth_m,
            labels=_encoded(labels),
            intrinsics=drawn.intrinsics,
            world_T_camera=drawn.world_T_camera,
        )
        with replacing(self.path(sequence, frame, right)) as partial:
            partial.write_bytes(content.getvalue())


def _encoded(pixels: UInt8[np.ndarray, "height width *channels"]) -> UInt8[np.ndarray, " bytes"]:
    done, encoded = cv2.imencode(".png", pixels, _PNG)
    if not done:
        raise ValueError(f"cannot encode pixels of shape {pixels.shape}")
    flat: UInt8[np.ndarray, " bytes"] = encoded.ravel()
    return flat


def _decoded(encoded: UInt8[np.ndarray, " bytes"], flags: int) -> UInt8[np.ndarray, "height width *channels"]:
    pixels: UInt8[np.ndarray, "height width *channels"] | None = cv2.imdecode(encoded, flags)
    if pixels is None:
        raise ValueError("not a PNG")
    return pixels
