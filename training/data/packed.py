"""Samples of any data set in one small file, at the size of the network's input.

Frames are JPEGs, each once however many samples show it. Runs of consecutive samples are taken evenly over
the data set, as many as there is room for. Measured depth is left out: it would take most of the room.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from jaxtyping import UInt8
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from model.atomic import replacing
from training.data.augment import Augmentation
from training.data.collate import FramedSample, frame
from training.data.frames import FrameError
from training.data.sequence import Role, Sample, SequenceDataset, View

_KEY = "packed"
_RUN = 8
"""Consecutive samples, which share most of their frames."""
_QUALITY = 92
_ROLES: dict[int, Role] = {-1: "previous", 0: "stereo", 1: "next"}


@dataclass(frozen=True, kw_only=True)
class PackedConfig:
    """Where the file is."""

    file: Path


class Packed:
    """The samples of a file that `pack` wrote.

    Raises:
        FrameError: It is not there, or is no such file.
    """

    def __init__(self, config: PackedConfig) -> None:
        self._file = config.file
        try:
            with safe_open(config.file, "numpy") as file:
                self._bytes: UInt8[np.ndarray, " bytes"] = file.get_tensor("bytes")
                record = json.loads((file.metadata() or {})[_KEY])
            self._blobs: list[list[int]] = record["blobs"]
            self._samples: list[dict[str, Any]] = record["samples"]
            self._described: str = record["described"]
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise FrameError(
                config.file, f"cannot be read as packed samples: {error}; expected what `pack` wrote"
            ) from error

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def keys(self) -> Sequence[str]:
        """The samples' keys."""
        return [one["key"] for one in self._samples]

    def describe(self) -> str:
        """Say what was packed."""
        return f"{self._file}: {len(self)} samples of {self._described}"

    def __getitem__(self, index: int) -> Sample:
        one = self._samples[index]
        mask = None if one["mask"] is None else self._decoded(one["mask"], cv2.IMREAD_GRAYSCALE) > 0
        return Sample(
            key=one["key"],
            image=self._decoded(one["image"]),
            intrinsics=np.array(one["intrinsics"], np.float32),
            sources=tuple(
                View(
                    image=self._decoded(view["image"]),
                    source_T_target=None if view["pose"] is None else np.array(view["pose"], np.float32),
                    role=view["role"],
                )
                for view in one["views"]
            ),
            depth_m=None,
            intrinsics_known=one["intrinsics_known"],
            mask=mask,
            camera=one["camera"],
        )

    def _decoded(self, blob: int, how: int = cv2.IMREAD_COLOR) -> np.ndarray:
        start, length = self._blobs[blob]
        decoded: np.ndarray | None = cv2.imdecode(self._bytes[start : start + length], how)
        if decoded is None:
            raise FrameError(self._file, f"frame {blob} cannot be decoded; expected what `pack` wrote")
        return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB) if decoded.ndim == 3 else decoded


def pack(
    dataset: SequenceDataset, path: Path, *, height: int, width: int, max_bytes: int = 60_000_000
) -> int:
    """Write samples of a data set to one file, which takes the place of one already there in one step.

    Args:
        dataset: What to pack.
        path: The file.
        height: Of the network's input, in pixels.
        width: Likewise.
        max_bytes: How large the file may become.

    Returns:
        How many samples were packed.

    Raises:
        ValueError: There is not room for one sample.
    """
    blobs = _Blobs()
    samples: list[tuple[int, dict[str, Any]]] = []
    described = 0
    for index in _evenly(len(dataset)):
        framed = frame(dataset[index], Augmentation(), height=height, width=width)
        before = blobs.mark()
        record = _record(framed, blobs)
        own = 2 * len(json.dumps(record))  # quotes in a string of the header are two bytes
        if blobs.size + 40 * len(blobs.places) + described + own + 4096 > max_bytes:
            blobs.back_to(before)
            break
        described += own
        samples.append((index, record))
    if not samples:
        raise ValueError(f"max_bytes is {max_bytes}; expected room for one sample of {dataset.describe()}")
    samples.sort(key=lambda pair: pair[0])
    record = {
        "blobs": blobs.places,
        "samples": [one for _, one in samples],
        "described": f"{dataset.describe()} at {width}x{height}",
    }
    with replacing(path) as partial:
        save_file(
            {"bytes": np.frombuffer(b"".join(blobs.parts), np.uint8)}, partial, {_KEY: json.dumps(record)}
        )
    return len(samples)


def _evenly(count: int) -> Iterator[int]:
    """Give runs of samples: the first ones are spread over all of them, the next ones lie between."""
    runs = -(-count // _RUN)
    bits = max(1, (runs - 1).bit_length())
    for number in range(2**bits):
        run = int(f"{number:0{bits}b}"[::-1], 2)
        yield from range(run * _RUN, min((run + 1) * _RUN, count))


class _Blobs:
    """Encoded pictures one after the other, equal ones once."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.places: list[list[int]] = []
        self.size = 0
        self._known: dict[bytes, int] = {}

    def add(self, picture: np.ndarray, kind: Literal[".jpg", ".png"]) -> int:
        """Return the number of a picture, which is encoded where it is new."""
        key = hashlib.blake2b(picture.tobytes(), digest_size=16).digest()
        if key not in self._known:
            shown = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
            options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY] if kind == ".jpg" else []
            encoded = cv2.imencode(kind, shown, options)[1].tobytes()
            self._known[key] = len(self.places)
            self.places.append([self.size, len(encoded)])
            self.parts.append(encoded)
            self.size += len(encoded)
        return self._known[key]

    def mark(self) -> int:
        """Return a place to come back to."""
        return len(self.places)

    def back_to(self, mark: int) -> None:
        """Forget what was added since."""
        del self.parts[mark:], self.places[mark:]
        self.size = sum(length for _, length in self.places)
        self._known = {key: number for key, number in self._known.items() if number < mark}


def _record(framed: FramedSample, blobs: _Blobs) -> dict[str, Any]:
    views = zip(framed.sources, framed.source_T_target, framed.source_time, strict=True)
    return {
        "key": framed.key,
        "image": blobs.add(framed.image, ".jpg"),
        "intrinsics": framed.intrinsics.tolist(),
        "views": [
            {
                "image": blobs.add(image, ".jpg"),
                "pose": None if pose is None else pose.tolist(),
                "role": _ROLES[time],
            }
            for image, pose, time in views
        ],
        "intrinsics_known": framed.intrinsics_known,
        "mask": None if framed.mask is None else blobs.add(framed.mask.astype(np.uint8) * 255, ".png"),
        "camera": framed.camera,
    }
