"""The photographs that every server is asked about: drawn, so that nobody's licence is in the way.

Five streets of the training's synthetic world at five sizes, as JPEG at quality 90.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2

from training.data.synthetic.config import SyntheticConfig
from training.data.synthetic.dataset import SyntheticDataset

SIZES = ((375, 1242), (1080, 1920), (720, 1280), (480, 640), (1024, 768))
"""Height and width in pixels; the mix asks for each of these in turn."""
PAYLOADS: dict[str, tuple[tuple[int, int], ...]] = {
    "375x1242": SIZES[:1],
    "1080p": SIZES[1:2],
    "mixed": SIZES,
}
"""The sizes of what one cell asks for, by the name of the payload."""

_QUALITY = 90
_SEED = 20_261_123
"""A world that no network was trained on."""


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """One JPEG file."""

    height: int
    width: int
    path: Path

    @property
    def name(self) -> str:
        """Height and width."""
        return self.path.stem


def photographs(folder: Path, payload: str) -> list[Photograph]:
    """Return a payload's photographs; what is not yet in the folder is drawn."""
    return [_photograph(folder, height, width) for height, width in PAYLOADS[payload]]


def _photograph(folder: Path, height: int, width: int) -> Photograph:
    path = folder / f"{height}x{width}.jpg"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        world = SyntheticConfig(sequences=1, frames=1, height=height, width=width, seed=_SEED, stereo=False)
        image = cv2.cvtColor(SyntheticDataset(world).frame(0).image, cv2.COLOR_RGB2BGR)
        _, file = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        path.write_bytes(file.tobytes())
    return Photograph(height=height, width=width, path=path)
