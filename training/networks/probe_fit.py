"""`python -m training.probe_fit`: fit a token probe on the synthetic world, and say how good it is.

Held-out streets judge the fit; `--look` shows it on photographs, where nobody knows the truth.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
import tyro
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from model.config import FoundationConfig
from model.foundation import FoundationEncoder
from model.images import resize_image
from model.weights import WeightsSource
from training.data.augment import AugmentConfig, draw
from training.data.order import generator
from training.data.synthetic import Kind, SyntheticConfig, SyntheticDataset
from training.networks.semantics import CLASSES, TokenProbe, fit_logistic, save_probe, shares_in_cells

_log = logging.getLogger(__name__)

KINDS = {"sky": (Kind.SKY,), "road": (Kind.ROAD,), "vehicle": (Kind.CAR, Kind.LORRY)}
"""Which kinds of the synthetic world make up each class."""

_OTHER_COLOURS = AugmentConfig(jitter=1.0, brightness=0.5, contrast=0.5, saturation=0.9, hue=0.08)
_GREY = 0.15
"""Share of the variants without colour, as some cameras give."""

Image = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True, kw_only=True)
class ProbeFitConfig:
    """What the probe is fitted on."""

    out: Path = Path("probe.safetensors")
    foundation: FoundationConfig = field(default_factory=FoundationConfig)
    foundation_weights: WeightsSource = "hub"
    """Of the foundation model: "hub", "random" or a file."""
    world: SyntheticConfig = field(default_factory=lambda: SyntheticConfig(sequences=40, frames=2, seed=1000))
    held_out: SyntheticConfig = field(
        default_factory=lambda: SyntheticConfig(sequences=8, frames=2, seed=2000)
    )
    variants: int = 3
    """Each frame is also seen so many times by other cameras: other skies, colours, exposure, blur, JPEG."""
    look: Path | None = None
    """A folder of photographs; what the probe sees in them is written beside `out`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    config = tyro.cli(
        ProbeFitConfig, args=arguments, prog="python -m training.probe_fit", description=__doc__
    )
    fit(config)
    return 0


def fit(config: ProbeFitConfig) -> None:
    """Fit, judge on held-out streets, and write the probe."""
    encoder = FoundationEncoder(config.foundation, config.foundation_weights)
    tokens, shares = _tokens_and_shares(encoder, config.world, config.variants)
    weight, bias = fit_logistic(tokens, shares)
    probe = TokenProbe(config.foundation, encoder.fingerprint, encoder.channels)
    probe.load_state_dict({"weight": weight, "bias": bias})
    save_probe(probe, config.out)
    _log.info("fitted on %d tokens: %s", len(tokens), config.out)
    held_out, truth = _tokens_and_shares(encoder, config.held_out, 0)
    for name, quality in judge((held_out @ weight.T + bias).sigmoid(), truth).items():
        _log.info("%-8s on held-out streets: precision %.3f, recall %.3f", name, *quality)
    if config.look is not None:
        for path in sorted(config.look.iterdir()):
            if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
                _look(
                    probe, encoder, path, config.out.with_name(f"{config.out.stem}-{path.stem}.jpg"), config
                )


def judge(
    probability: Float[Tensor, "tokens classes"], shares: Float[Tensor, "tokens classes"]
) -> dict[str, tuple[float, float]]:
    """Return precision and recall of each class, among tokens that clearly are of it or are not."""
    quality = {}
    for index, name in enumerate(CLASSES):
        share, said = shares[:, index], probability[:, index] >= 0.5
        clear = (share > 0.9) | (share < 0.1)
        yes, said = (share > 0.9)[clear], said[clear]
        hits = float((yes & said).sum())
        quality[name] = (hits / max(1.0, float(said.sum())), hits / max(1.0, float(yes.sum())))
    return quality


def _tokens_and_shares(
    encoder: FoundationEncoder, world: SyntheticConfig, variants: int
) -> tuple[Float[Tensor, "tokens channels"], Float[Tensor, "tokens classes"]]:
    dataset = SyntheticDataset(world)
    all_tokens, all_shares = [], []
    for index in range(len(dataset)):
        frame = dataset.frame(index)
        masks = {
            name: torch.from_numpy(np.isin(frame.kinds, kinds)).float()[None] for name, kinds in KINDS.items()
        }
        for variant in range(variants + 1):
            image = frame.image
            if variant:
                random = generator(index, variant)
                image = _otherwise(_under_another_sky(image, frame.sky, random), random)
            grid = encoder(_to_tensor(image))[-1]
            shares = shares_in_cells(masks, grid.shape[-2], grid.shape[-1])
            all_tokens.append(grid[0].flatten(1).T)
            all_shares.append(shares[0].flatten(1).T)
    return torch.cat(all_tokens), torch.cat(all_shares)


def _under_another_sky(
    image: Image, sky: Bool[np.ndarray, "height width"], random: np.random.Generator
) -> Image:
    """Return the image with its sky in other colours: deep blue, grey, white or burnt out.

    Drawn skies are fewer and tamer than real ones, and tokens of a deep blue one lie far from theirs.
    """
    hue, saturation = random.uniform(190, 230), random.choice((0.0, random.uniform(0.05, 0.9)))
    ends = np.array(
        [[hue, saturation * random.uniform(0.4, 1), value] for value in random.uniform(0.4, 1.05, 2)]
    )
    rows = np.linspace(ends[0], ends[1], len(image)).astype(np.float32)[:, None]
    gradient = cv2.cvtColor(rows, cv2.COLOR_HSV2RGB) * 255
    share = cv2.GaussianBlur(sky.astype(np.float32), (0, 0), 0.7)[..., None] * random.uniform(0.5, 1)
    mixed: Image = (image * (1 - share) + gradient * share).clip(0, 255).astype(np.uint8)
    return mixed


def _otherwise(image: Image, random: np.random.Generator) -> Image:
    """Return the image as another camera might have taken it, of the same size."""
    jitter = draw(_OTHER_COLOURS, random).jitter
    if jitter is not None:
        image = jitter(image)
    if random.random() < _GREY:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    image = cv2.GaussianBlur(image, (0, 0), random.uniform(0.1, 1.2))
    image = (255 * (image / 255.0) ** random.uniform(0.5, 1.8)).astype(np.uint8)
    coded = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, int(random.integers(40, 95))))[1]
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    if decoded is None:
        raise RuntimeError("OpenCV cannot read the JPEG that it has just written")
    return np.asarray(decoded, np.uint8)


def _look(
    probe: TokenProbe, encoder: FoundationEncoder, path: Path, out: Path, config: ProbeFitConfig
) -> None:
    """Write the photograph with vehicles in red, road in green and sky in blue."""
    photograph = cv2.imread(str(path))
    if photograph is None:
        _log.warning("%s is no image", path)
        return
    image = resize_image(photograph[..., ::-1], config.world.height, config.world.width)
    found = probe(encoder(_to_tensor(image)))
    colours = torch.cat([found[name][0] for name in ("sky", "road", "vehicle")]).permute(1, 2, 0).numpy()
    shown = cv2.resize(colours, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    cv2.imwrite(str(out), (image[..., ::-1] * 0.5 + 255 * 0.5 * shown).astype(np.uint8))


def _to_tensor(image: Image) -> Float[Tensor, "1 3 height width"]:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255


if __name__ == "__main__":
    sys.exit(main())
