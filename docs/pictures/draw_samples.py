"""Draw the playground's samples: streets of the synthetic world, of a seed that is not training's default.

python docs/pictures/draw_samples.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from training.data.synthetic import SyntheticConfig, SyntheticDataset

SEQUENCES = {"crossing": 7, "city": 4}
FRAMES, FRAME = 8, 3
CONFIG = SyntheticConfig(sequences=8, frames=FRAMES, height=384, width=1280, seed=7, stereo=False, noise=0.5)


def main(folder: Path) -> None:
    """Draw each sample, and print its lens's horizontal field of view."""
    folder.mkdir(parents=True, exist_ok=True)
    world = SyntheticDataset(CONFIG)
    for name, sequence in SEQUENCES.items():
        frame = world.frame(sequence * FRAMES + FRAME)
        fov_deg = 2 * np.degrees(np.arctan(CONFIG.width / 2 / frame.intrinsics[0, 0]))
        Image.fromarray(frame.image).save(folder / f"{name}.jpg", quality=85, optimize=True, progressive=True)
        print(f"{name}: {fov_deg:.0f} degrees", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
