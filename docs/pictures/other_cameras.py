"""Draw photographs beside the depth that a checkpoint gives them, for the model card.

python docs/pictures/other_cameras.py PHOTO ... --output docs/pictures/other-cameras.jpg

Each depth has its own colours, from its nearest (light) to its farthest (dark) 2 percent.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from model.predictor import Predictor
from training.judge.colour import colour_depth

ROOT = Path(__file__).parents[2]
_HEIGHT = 220
_GAP = 6


def beside(photo: Image.Image, predictor: Predictor) -> Image.Image:
    """Return a photograph with its depth at its right, both `_HEIGHT` pixels high."""
    image = np.asarray(photo.convert("RGB"))
    depth = predictor.predict([image])[0]
    nearest, farthest = np.quantile(depth, (0.02, 0.98))
    coloured = Image.fromarray(colour_depth(depth, float(nearest), float(farthest)))
    width = round(photo.width * _HEIGHT / photo.height)
    pair = Image.new("RGB", (2 * width + 1, _HEIGHT), "white")
    for place, half in enumerate((Image.fromarray(image), coloured)):
        pair.paste(half.resize((width, _HEIGHT), Image.Resampling.LANCZOS), (place * (width + 1), 0))
    return pair


def sheet(pairs: list[Image.Image], columns: int = 2) -> Image.Image:
    """Return pairs in rows, each column as wide as its widest."""
    widths = [max(pair.width for pair in pairs[place::columns]) for place in range(columns)]
    rows = -(-len(pairs) // columns)
    page = Image.new("RGB", (sum(widths) + _GAP * (columns - 1), rows * (_HEIGHT + _GAP) - _GAP), "white")
    for place, pair in enumerate(pairs):
        row, column = divmod(place, columns)
        page.paste(pair, (sum(widths[:column]) + column * _GAP, row * (_HEIGHT + _GAP)))
    return page


def main() -> None:
    """Draw the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "model/pretrained/student.safetensors")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    predictor = Predictor.from_checkpoint(arguments.checkpoint)
    pairs = [beside(Image.open(path), predictor) for path in arguments.photos]
    sheet(pairs).save(arguments.output, quality=85, optimize=True)


if __name__ == "__main__":
    main()
