"""Draw a synthetic world into a folder before training: ``python -m training.data.synthetic --folder ...``.

Training with the same settings then reads what is there. This module knows nothing of drawing.
"""

import logging
import time

import cv2
import tyro

from training.data.synthetic.config import SyntheticConfig
from training.data.synthetic.dataset import keep_all

_log = logging.getLogger(__name__)


def run(config: SyntheticConfig, *, processes: int = 1) -> None:
    """Draw every frame that is not yet in the folder.

    Args:
        config: What to draw; its folder is where.
        processes: How many draw at once.
    """
    # Each process draws on one core; OpenCV's own threads would only fight over them.
    cv2.setNumThreads(1)
    started = time.monotonic()
    for count, _ in enumerate(keep_all(config, processes), start=1):
        left_s = (time.monotonic() - started) / count * (config.sequences - count)
        _log.info("%d of %d sequences, %.0f s left", count, config.sequences, left_s)


def main() -> None:
    """Read the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    tyro.cli(run, config=(tyro.conf.OmitArgPrefixes,))


if __name__ == "__main__":
    main()
