"""Photographs as bytes until they are on the device, and other light for the networks made there.

An eighth of the bytes crosses to the device, and no core of the host turns colours. It is the arithmetic of
`training.data.augment`, but for OpenCV's rounding of hue to 2 degrees.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor
from torch.nn import functional

from training.data.augment import SHADE_PATCHES, Augmentation, hue_steps
from training.data.batch import Batch, mapped

_GREY = (0.299, 0.587, 0.114)
_LARGEST = 255.0
_HUE_STEP = 1 / 30
"""OpenCV's step of 2 degrees, where the colour circle has six parts."""


@dataclass(frozen=True, kw_only=True)
class Light:
    """What the networks see samples in, in place of the light in which they were photographed."""

    changes: Bool[Tensor, " batch"]
    """Whether it is another light at all."""
    jitter: Float32[Tensor, "batch 4"]
    """Factors of brightness, contrast and saturation, and steps of hue."""
    stops: Float32[Tensor, "batch 1 rows columns"]
    """By how many halvings each patch is darker."""

    @classmethod
    def of(cls, drawn: Sequence[Augmentation]) -> "Light":
        """Return what was drawn for samples."""
        jitter = np.tile(np.array([1, 1, 1, 0], np.float32), (len(drawn), 1))
        stops = np.zeros((len(drawn), 1, *SHADE_PATCHES), np.float32)
        for row, one in enumerate(drawn):
            if one.jitter is not None:
                colours = one.jitter
                steps = hue_steps(colours.hue)
                jitter[row] = colours.brightness, colours.contrast, colours.saturation, steps
            if one.shade is not None:
                stops[row, 0] = one.shade.stops
        changes = torch.tensor([one.relights for one in drawn])
        return cls(changes=changes, jitter=torch.from_numpy(jitter), stops=torch.from_numpy(stops))


@dataclass(frozen=True, kw_only=True)
class RawBatch:
    """A batch whose images are bytes; `to` makes a `Batch` of it, on the device."""

    image: UInt8[Tensor, "batch height width 3"]
    sources: UInt8[Tensor, "batch views height width 3"]
    light: Light | None
    """None: as photographed."""
    facts: Mapping[str, Any]
    """All other fields of the batch, by name."""

    def pin_memory(self) -> "RawBatch":
        """Return the batch in page-locked memory."""
        return self._mapped(lambda tensor: tensor.pin_memory())

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on a device, without waiting for it."""
        there = self._mapped(lambda tensor: tensor.to(device, non_blocking=True))
        image, sources = _planes(there.image), _planes(there.sources)
        augmented, relit_sources = image, None
        if there.light is not None:
            every = relight(torch.cat((image[:, None], sources), dim=1), there.light)
            augmented, relit_sources = every[:, 0], every[:, 1:]
        return Batch(
            image=image,
            image_augmented=augmented,
            sources=sources,
            sources_augmented=relit_sources,
            **there.facts,
        )

    def _mapped(self, function: Callable[[Tensor], Tensor]) -> "RawBatch":
        light = self.light
        if light is not None:
            light = Light(**{name: function(value) for name, value in vars(light).items()})
        return RawBatch(
            image=function(self.image),
            sources=function(self.sources),
            light=light,
            facts={name: mapped(value, function) for name, value in self.facts.items()},
        )


def relight(
    images: Float[Tensor, "batch views 3 height width"], light: Light
) -> Float[Tensor, "batch views 3 height width"]:
    """Return images in [0, 1] of samples and their views in the colours and the light that were drawn."""
    brightness, contrast, saturation, steps = light.jitter.T[..., None, None, None, None]
    values = images * _LARGEST
    # 1. Contrast is about each image's own mean grey.
    mean = _grey(values).mean(dim=(-2, -1), keepdim=True) * brightness
    values = _rounded(values * (brightness * contrast) + mean * (1 - contrast))
    # 2. Saturation is a blend with grey.
    values = _rounded(torch.lerp(_grey(values), values, saturation))
    # 3. Hue turns.
    values = _turned(values, steps)
    # 4. Patches are darker, with smooth transitions.
    gain = functional.interpolate(
        torch.exp2(-light.stops), images.shape[-2:], mode="bilinear", align_corners=False
    )
    values = _rounded(values * gain[:, None])
    return torch.where(light.changes[:, None, None, None, None], values / _LARGEST, images)


def _turned(
    values: Float[Tensor, "batch views 3 height width"], steps: Float[Tensor, "batch 1 1 1 1"]
) -> Float[Tensor, "batch views 3 height width"]:
    """Turn the hue of RGB by steps of 2 degrees: to HSV and back (Smith, SIGGRAPH 1978)."""
    red, green, blue = values.unbind(dim=2)
    highest = values.amax(dim=2)
    chroma = highest - values.amin(dim=2)
    over = chroma.clamp(min=1e-6)
    sextant = torch.where(
        highest == red,
        (green - blue) / over,
        torch.where(highest == green, 2 + (blue - red) / over, 4 + (red - green) / over),
    )
    sextant = sextant + steps[:, :, 0] * _HUE_STEP
    channels = []
    for offset in (5.0, 3.0, 1.0):
        place = torch.remainder(sextant + offset, 6.0)
        channels.append(highest - chroma * torch.minimum(place, 4 - place).clamp(0, 1))
    return _rounded(torch.stack(channels, dim=2))


def _grey(values: Float[Tensor, "batch views 3 _ _"]) -> Float[Tensor, "batch views 1 _ _"]:
    red, green, blue = values[:, :, :1], values[:, :, 1:2], values[:, :, 2:]
    return _GREY[0] * red + _GREY[1] * green + _GREY[2] * blue


def _rounded(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    return values.round().clamp(0, _LARGEST)


def _planes(pixels: UInt8[Tensor, "*batch height width 3"]) -> Float[Tensor, "*batch 3 height width"]:
    """Return channels first in [0, 1], to the bit as `collate` has them."""
    return pixels.movedim(-1, -3).float() * float(np.float32(1 / 255))
