"""Draw what the foundation model sees: the first three principal components of its token grids, as colours.

    python benchmarks/token_grids.py PHOTO --weights dinov2_vits14_fp16.safetensors --output tokens.png

One row per chosen block, from the shallowest to the deepest, under the photograph. A picture unlike the scene
means that weights, normalisation or the order of tokens are wrong.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from model.config import FoundationConfig
from model.foundation import FoundationEncoder
from model.images import resize_image, to_model_batch


def principal_components(grid_chw: Tensor) -> np.ndarray:
    """Project a grid's tokens on their first three principal components, each stretched to 0..255."""
    channels, rows, columns = grid_chw.shape
    tokens = grid_chw.reshape(channels, -1).T
    _, _, axes = torch.pca_lowrank(tokens, q=3, niter=8)
    projected = (tokens - tokens.mean(dim=0)) @ axes
    low, high = projected.quantile(0.02, dim=0), projected.quantile(0.98, dim=0)
    stretched = ((projected - low) / (high - low)).clamp(0, 1) * 255
    return stretched.reshape(rows, columns, 3).to(torch.uint8).numpy()


def main() -> None:
    """Read a photograph, write the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photo", type=Path)
    parser.add_argument("--weights", type=Path, help="safetensors in timm's layout; timm's hub without it")
    parser.add_argument("--output", type=Path, default=Path("tokens.png"))
    parser.add_argument("--height", type=int, default=384)
    parser.add_argument("--width", type=int, default=1280)
    options = parser.parse_args()
    encoded = cv2.imread(str(options.photo), cv2.IMREAD_COLOR_RGB)
    if encoded is None:
        parser.error(f"cannot read an image from {options.photo}")
    photo = resize_image(encoded.astype(np.uint8), options.height, options.width)
    torch.manual_seed(0)
    encoder = FoundationEncoder(FoundationConfig(), options.weights or "hub")
    grids = encoder(torch.from_numpy(to_model_batch([photo], options.height, options.width)))
    rows = [photo]
    for grid in grids:
        colours = principal_components(grid[0])
        rows.append(cv2.resize(colours, (options.width, options.height), interpolation=cv2.INTER_NEAREST))
    cv2.imwrite(str(options.output), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
