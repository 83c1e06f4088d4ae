"""Draw a synthetic world into a folder before training: ``python -m training.data.synthetic --folder ...``.

Training with the same settings then reads what is there. With ``--judged-by``, photographs and their exact
depth are written too, as `depth-evaluate --protocol folder` reads them.
"""

import logging
import time
from pathlib import Path

import cv2
import numpy as np
import tyro

from training.data.synthetic.config import SyntheticConfig
from training.data.synthetic.dataset import SyntheticDataset, keep_all

_log = logging.getLogger(__name__)
_PNG_PER_METRE = 256.0
"""KITTI's own encoding: uint16, 0 where nothing was measured."""
_FARTHEST_M = 255.0


def run(config: SyntheticConfig, *, processes: int = 1, judged_by: Path | None = None) -> None:
    """Draw every frame that is not yet in the folder.

    Args:
        config: What to draw; its folder is where.
        processes: How many draw at once.
        judged_by: Where to write image/ and depth/ (PNG, metres x 256, 0 beyond 255 m) as well.
    """
    # Each process draws on one core; OpenCV's own threads would only fight over them.
    cv2.setNumThreads(1)
    started = time.monotonic()
    for count, _ in enumerate(keep_all(config, processes), start=1):
        left_s = (time.monotonic() - started) / count * (config.sequences - count)
        _log.info("%d of %d sequences, %.0f s left", count, config.sequences, left_s)
    if judged_by is not None:
        write_judged(SyntheticDataset(config), judged_by)


def write_judged(dataset: SyntheticDataset, folder: Path) -> None:
    """Write every target as image/SEQUENCE_FRAME.png with its depth/SEQUENCE_FRAME.png."""
    for part in ("image", "depth"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for index, key in enumerate(dataset.keys):
        name = "_".join(key.split("/")[-2:]) + ".png"
        frame = dataset.frame(index)
        depth_m = np.where(frame.depth_m < _FARTHEST_M, frame.depth_m, 0)
        _write(folder / "image" / name, cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
        _write(folder / "depth" / name, np.round(depth_m * _PNG_PER_METRE).astype(np.uint16))


def _write(path: Path, image: np.ndarray) -> None:
    if not cv2.imwrite(str(path), image):
        raise OSError(f"{path} could not be written")


def main() -> None:
    """Read the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    tyro.cli(run, config=(tyro.conf.OmitArgPrefixes,))


if __name__ == "__main__":
    main()
