"""The synthetic world as training samples, drawn when asked for or read from where they were kept.

A sample is a pure function of the configuration and its number.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Float32

from training.data.sequence import Sample, View
from training.data.synthetic.config import SyntheticConfig
from training.data.synthetic.frame import SyntheticFrame
from training.data.synthetic.render import draw
from training.data.synthetic.store import FrameStore
from training.data.synthetic.world import World, build_world

_WORLDS_KEPT = 8
"""About 100 MB each."""
_FRAMES_KEPT_BYTES = 2**28

Key = TypeVar("Key")
Value = TypeVar("Value")


class _Recent(Generic[Key, Value]):
    """The last used values of a function that is dear to compute; threads wait for each other's."""

    def __init__(self, make: Callable[[Key], Value], kept: int) -> None:
        self._make = make
        self._kept = kept
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._making: dict[Key, threading.Lock] = {}
        self._lock = threading.Lock()

    def __call__(self, key: Key) -> Value:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._values:
                    return self._values[key]
            value = self._make(key)
            with self._lock:
                self._values[key] = value
                self._making.pop(key, None)
                while len(self._values) > self._kept:
                    self._values.popitem(last=False)
            return value


class SyntheticDataset:
    """Drives through streets that do not exist."""

    def __init__(self, config: SyntheticConfig) -> None:
        self.config = config
        self._start()

    def _start(self) -> None:
        config = self.config
        folder = config.folder
        self._store = None if folder is None else FrameStore(folder / config.fingerprint())
        self._world: _Recent[int, World] = _Recent(
            lambda sequence: build_world(config, sequence), _WORLDS_KEPT
        )
        self._frame: _Recent[tuple[int, int, bool], SyntheticFrame] = _Recent(
            self._read_or_draw, max(_FRAMES_KEPT_BYTES // (config.height * config.width * 10), 8)
        )
        name = f"synthetic-{config.fingerprint()}"
        self._keys = tuple(
            f"{name}/{sequence:05d}/{frame:05d}"
            for sequence in range(config.sequences)
            for frame in range(config.frames)
        )

    def __getstate__(self) -> SyntheticConfig:
        return self.config

    def __setstate__(self, config: SyntheticConfig) -> None:
        self.config = config
        self._start()

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Sample:
        target = self.frame(index)
        sequence, frame = self._place(index)
        views = []
        if self.config.neighbours:
            views += [("previous", frame - 1, False), ("next", frame + 1, False)]
        if self.config.stereo:
            views.append(("stereo", frame, True))
        sources = []
        for role, moment, right in views:
            seen = self._frame((sequence, moment, right))
            sources.append(
                View(image=seen.image, source_T_target=source_T_target(seen, target), role=role)  # type: ignore[arg-type]
            )
        return Sample(
            key=self._keys[index],
            image=target.image,
            intrinsics=target.intrinsics,
            sources=tuple(sources),
            depth_m=target.depth_m,
            depth_is_label=True,
        )

    def frame(self, index: int, *, right: bool = False) -> SyntheticFrame:
        """Return all that is known of a sample's target, or of its companion to the right."""
        sequence, frame = self._place(index)
        return self._frame((sequence, frame, right))

    def world(self, sequence: int) -> World:
        """Return a sequence's world."""
        return self._world(sequence)

    @property
    def keys(self) -> Sequence[str]:
        """The samples' keys, without drawing any image."""
        return self._keys

    def describe(self) -> str:
        """Say in a line what there is."""
        config = self.config
        return (
            f"synthetic world, seed {config.seed}: {len(self)} frames of {config.sequences} drives through "
            f"{', '.join(dict.fromkeys(config.styles))} at {config.width}x{config.height}"
            f"{', with stereo views' if config.stereo else ''}, known poses, exact depth"
        )

    def _place(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of a synthetic world of {len(self)}")
        return divmod(index, self.config.frames)

    def _read_or_draw(self, key: tuple[int, int, bool]) -> SyntheticFrame:
        sequence, frame, right = key
        kept = None if self._store is None else self._store.read(sequence, frame, right)
        if kept is not None:
            return kept
        world, config = self._world(sequence), self.config
        camera = world.drive.camera(world.road, frame, config.height, config.width, right=right)
        drawn = draw(world, camera, frame, noise=config.noise, eye=int(right))
        if self._store is not None:
            self._store.write(sequence, frame, right, drawn)
        return drawn


def source_T_target(source: SyntheticFrame, target: SyntheticFrame) -> Float32[np.ndarray, "4 4"]:
    """Return the transform from the target's camera to the source's."""
    relative = np.linalg.inv(source.world_T_camera.astype(np.float64)) @ target.world_T_camera
    transform: Float32[np.ndarray, "4 4"] = relative.astype(np.float32)
    return transform


def keep_all(config: SyntheticConfig, processes: int = 1) -> Iterator[int]:
    """Draw what is not yet in the folder, sequence after sequence, and yield the number of each when done.

    Raises:
        ValueError: The configuration has no folder.
    """
    if config.folder is None:
        raise ValueError("folder is None; expected where to keep the frames")
    if processes == 1:
        for sequence in range(config.sequences):
            yield _keep(config, sequence)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(_keep, [config] * config.sequences, range(config.sequences))


def _keep(config: SyntheticConfig, sequence: int) -> int:
    dataset = SyntheticDataset(config)
    for frame in range(config.frames):
        dataset[sequence * config.frames + frame]
    return sequence
