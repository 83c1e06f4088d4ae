"""What a synthetic world is made of: its size, seed and mix of styles."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, get_args

Style = Literal["city", "residential", "rural", "arterial", "forest", "jam"]
STYLES: tuple[Style, ...] = get_args(Style)
EVERYDAY_STYLES: tuple[Style, ...] = ("city", "residential", "rural", "arterial")
"""What is drawn where nothing is said: without the dark road through a forest and the dense, slow traffic."""

DRAWING_VERSION = 3
"""Raised whenever the same settings give other pixels, so that frames kept on disk are not mixed up."""

_NOT_DECIDING = ("folder", "sequences", "neighbours")
_LEAST = {"sequences": 1, "frames": 1, "baseline_m": 1e-3, "frames_per_s": 0.1, "seed": 0, "noise": 0}


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """A number of sequences, each its own street, car and weather."""

    sequences: int = 8
    frames: int = 24
    """Samples of each sequence."""
    neighbours: bool = True
    """Whether the frames before and after are sources; one more is drawn at each end of a sequence then."""
    height: int = 192
    """Of the images, in pixels."""
    width: int = 640
    stereo: bool = True
    """Whether a second camera, to the right, is a source."""
    baseline_m: float = 0.54
    seed: int = 0
    """Other seeds give other worlds: hold out by the seed."""
    styles: tuple[str, ...] = EVERYDAY_STYLES
    """Sequences take these in turn; a style named twice comes twice as often."""
    frames_per_s: float = 10.0
    min_speed_m_per_s: float = 3.0
    max_speed_m_per_s: float = 15.0
    noise: float = 1.0
    """Of the sensor, relative to what is usual; 0 gives clean images."""
    folder: Path | None = None
    """Where drawn frames are kept, about 1 MB each at 640x192; None: they are drawn whenever asked for."""

    def __post_init__(self) -> None:
        for field in fields(self):  # 4 and 4.0 give the same pixels, so they must give the same fingerprint
            if isinstance(field.default, float):
                object.__setattr__(self, field.name, float(getattr(self, field.name)))
        for name in ("height", "width"):
            if not 32 <= getattr(self, name) <= 4096:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 32 to 4096 pixels")
        strange = [style for style in self.styles if style not in STYLES]
        if strange or not self.styles:
            raise ValueError(f"styles is {self.styles}; expected some of {', '.join(STYLES)}")
        if not 0 < self.min_speed_m_per_s <= self.max_speed_m_per_s <= 40:
            raise ValueError(
                f"speeds are {self.min_speed_m_per_s} to {self.max_speed_m_per_s} m/s; "
                "expected 0 < the lower <= the upper <= 40"
            )
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least {least}")

    def style_of(self, sequence: int) -> str:
        """Return the style of a sequence."""
        return self.styles[sequence % len(self.styles)]

    def fingerprint(self) -> str:
        """Return a hash of everything that decides pixels; how many and which are drawn does not."""
        deciding = {name: value for name, value in asdict(self).items() if name not in _NOT_DECIDING}
        text = json.dumps({"version": DRAWING_VERSION, **deciding}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
