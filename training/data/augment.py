"""Random changes that leave the geometry true: flips, resized crops, and other light for the networks only.

Every choice is drawn from a generator that the caller seeds, once for a sample and its views.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from model.images import resize_image

Image = UInt8[np.ndarray, "height width 3"]
_HUE_STEPS = 180
"""OpenCV's hue of uint8 images: 2 degrees a step."""
SHADE_PATCHES = (3, 5)
"""Rows and columns of patches of uneven light: as large as a hedge, a house or a lorry."""

_WHOLE = 1 - 1e-3


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How often and how far samples are changed."""

    flip: float = 0.5
    """Probability of a horizontal flip."""
    jitter: float = 0.5
    """Probability of a colour jitter."""
    brightness: float = 0.2
    """Factors are drawn from 1 - this to 1 + this; likewise for the next two."""
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.1
    """Shifts are drawn from - this to + this; 1 is the whole colour circle."""
    shade: float = 0.0
    """Probability that parts of the image lie in the shade."""
    shade_stops: float = 3.0
    """How dark the darkest shade is; each stop halves the light."""
    crop: float = 0.0
    """Probability of a crop that is resized to the whole."""
    max_zoom: float = 1.25
    """The smallest crop is this much smaller than the image, in height and width."""
    resampled_tokens: bool = False
    """Whether a crop takes its part of the whole image's tokens, which may be cached, rather than tokens of
    its own: nearly the same for small crops, and without asking the foundation model. Images are then kept at
    the network's size, so that crops are up to `max_zoom` less sharp."""

    def __post_init__(self) -> None:
        for name in ("flip", "jitter", "shade", "crop"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a probability, 0 to 1")
        for name in ("brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 up to below 1")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"hue is {self.hue}; expected 0 to 0.5")
        if self.shade_stops < 0:
            raise ValueError(f"shade_stops is {self.shade_stops}; expected at least 0")
        if self.max_zoom < 1:
            raise ValueError(f"max_zoom is {self.max_zoom}; expected at least 1")

    @property
    def zoom(self) -> float:
        """How much finer than the network's input images must be kept for crops to stay sharp."""
        return self.max_zoom if self.crop and not self.resampled_tokens else 1.0


NO_AUGMENTATION = AugmentConfig(flip=0.0, jitter=0.0, crop=0.0)
"""For evaluation, and for looking at data."""


@dataclass(frozen=True, kw_only=True)
class ColourJitter:
    """Factors for one sample and its views."""

    brightness: float
    contrast: float
    saturation: float
    hue: float

    def __call__(self, image: Image) -> Image:
        """Return the image with other colours.

        Brightness and contrast are one linear map (contrast about the image's mean grey), then saturation is
        a blend with grey, then the hue turns.
        """
        grey_mean = float(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean()) * self.brightness
        levels = np.arange(256) * (self.brightness * self.contrast) + grey_mean * (1 - self.contrast)
        image = cv2.LUT(image, np.clip(np.round(levels), 0, 255).astype(np.uint8))
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        image = cv2.addWeighted(image, self.saturation, grey, 1 - self.saturation, 0)
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        turned = (np.arange(256) + hue_steps(self.hue)) % _HUE_STEPS
        hsv[..., 0] = cv2.LUT(hsv[..., 0], turned.astype(np.uint8))
        jittered: Image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        return jittered


def hue_steps(hue: float) -> int:
    """Return a shift of hue, as a share of the colour circle, in steps of 2 degrees."""
    return round(hue * _HUE_STEPS)


@dataclass(frozen=True, kw_only=True)
class Shade:
    """Uneven light on one sample and its views, so that what is dark is not taken for what is near."""

    stops: tuple[tuple[float, ...], ...]
    """By how many halvings each patch is darker, row by row."""

    def __call__(self, image: Image) -> Image:
        """Return the image with patches darkened, and smooth transitions between them."""
        rows, columns = image.shape[:2]
        gain = np.exp2(-np.array(self.stops, np.float32))
        gain = cv2.resize(gain, (columns, rows), interpolation=cv2.INTER_LINEAR)
        shaded: Image = np.round(image * gain[..., None]).astype(np.uint8)
        return shaded


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A window of the image, as shares of its height and width."""

    top: float
    left: float
    side: float
    """Height and width of the window; the aspect stays."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What was drawn for one sample; the same for its target and all views."""

    flip: bool = False
    crop: Crop | None = None
    jitter: ColourJitter | None = None
    shade: Shade | None = None

    def relight(self, image: Image) -> Image:
        """Return the image in the colours and the light that the networks see."""
        if self.jitter is not None:
            image = self.jitter(image)
        return image if self.shade is None else self.shade(image)

    @property
    def relights(self) -> bool:
        """Whether that is another image at all."""
        return self.jitter is not None or self.shade is not None


def draw(config: AugmentConfig, random: np.random.Generator) -> Augmentation:
    """Draw the changes of one sample.

    The number of draws is always the same, so that one option does not shift the others.
    """
    flip, crop, jitter = random.random(3) < (config.flip, config.crop, config.jitter)
    factors = random.uniform(-1, 1, 4)
    zoom, top, left = random.random(3)
    shade, darkest = random.random(2)
    # About half of the patches stay in the light.
    patches = np.maximum(0, random.uniform(-1, 1, SHADE_PATCHES))
    side = 1 / (1 + zoom * (config.max_zoom - 1))
    return Augmentation(
        flip=bool(flip),
        crop=Crop(top=top * (1 - side), left=left * (1 - side), side=side) if crop else None,
        jitter=ColourJitter(
            brightness=1 + factors[0] * config.brightness,
            contrast=1 + factors[1] * config.contrast,
            saturation=1 + factors[2] * config.saturation,
            hue=factors[3] * config.hue,
        )
        if jitter
        else None,
        shade=Shade(stops=tuple(map(tuple, (darkest * config.shade_stops * patches).tolist())))
        if shade < config.shade
        else None,
    )


@dataclass(frozen=True, kw_only=True)
class Framing:
    """Crop, resize and flip of one sample, for images, intrinsics, poses and depth alike.

    The window is settled to whole pixels of the images that are given, so that all of them agree.
    """

    top_px: int
    left_px: int
    rows_px: int
    columns_px: int
    height: int
    width: int
    flip: bool

    def image(self, image: UInt8[np.ndarray, "rows columns 3"]) -> UInt8[np.ndarray, "height width 3"]:
        """Return the framed image, C-contiguous."""
        window = image[
            self.top_px : self.top_px + self.rows_px, self.left_px : self.left_px + self.columns_px
        ]
        framed = resize_image(window, self.height, self.width)
        return cv2.flip(framed, 1) if self.flip else np.ascontiguousarray(framed)

    def intrinsics(self, intrinsics: Float32[np.ndarray, "3 3"]) -> Float32[np.ndarray, "3 3"]:
        """Return the intrinsics of the framed image. Pixel centres at +0.5 make this exact."""
        scale_x, scale_y = self.width / self.columns_px, self.height / self.rows_px
        change: Float64[np.ndarray, "3 3"] = np.array(
            [[scale_x, 0, -self.left_px * scale_x], [0, scale_y, -self.top_px * scale_y], [0, 0, 1]]
        )
        framed = change @ intrinsics
        if self.flip:
            framed[0, 2] = self.width - framed[0, 2]
            framed[0, 1] = -framed[0, 1]
        result: Float32[np.ndarray, "3 3"] = framed.astype(np.float32)
        return result

    def pose(self, source_T_target: Float32[np.ndarray, "4 4"]) -> Float32[np.ndarray, "4 4"]:
        """Return the move between the framed images' cameras: a flip mirrors the world left to right."""
        if not self.flip:
            return source_T_target
        mirror = np.array([-1, 1, 1, 1], np.float32)
        mirrored: Float32[np.ndarray, "4 4"] = mirror[:, None] * source_T_target * mirror
        return mirrored

    def mask(self, mask: Bool[np.ndarray, "rows columns"]) -> Bool[np.ndarray, "height width"]:
        """Return the framed mask."""
        window = mask[self.top_px : self.top_px + self.rows_px, self.left_px : self.left_px + self.columns_px]
        framed = shrink_mask(window, self.height, self.width)
        return np.ascontiguousarray(framed[:, ::-1]) if self.flip else framed

    def depth(self, depth_m: Float32[np.ndarray, "rows columns"]) -> Float32[np.ndarray, "height width"]:
        """Return the framed depth, never interpolated: see `resize_depth`."""
        window = depth_m[
            self.top_px : self.top_px + self.rows_px, self.left_px : self.left_px + self.columns_px
        ]
        framed = resize_depth(window, self.height, self.width)
        return np.ascontiguousarray(framed[:, ::-1]) if self.flip else framed


def shrink_mask(
    mask: Bool[np.ndarray, "rows columns"], height: int, width: int
) -> Bool[np.ndarray, "height width"]:
    """Resize a mask; a pixel that covers any that is False is False."""
    shrunk: Bool[np.ndarray, "height width"] = (
        cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) > _WHOLE
    )
    return shrunk


def framing(augmentation: Augmentation, *, rows: int, columns: int, height: int, width: int) -> Framing:
    """Settle how images of `rows` x `columns` become `height` x `width`."""
    crop = augmentation.crop
    side = 1.0 if crop is None else crop.side
    rows_px, columns_px = max(1, round(rows * side)), max(1, round(columns * side))
    top, left = (0.0, 0.0) if crop is None else (crop.top, crop.left)
    return Framing(
        top_px=min(round(rows * top), rows - rows_px),
        left_px=min(round(columns * left), columns - columns_px),
        rows_px=rows_px,
        columns_px=columns_px,
        height=height,
        width=width,
        flip=augmentation.flip,
    )


def resize_depth(
    depth_m: Float32[np.ndarray, "rows columns"], height: int, width: int
) -> Float32[np.ndarray, "height width"]:
    """Resize depth with holes without inventing any.

    Dense depth is sampled at the new pixels' centres. Of sparse depth, as from LiDAR, each measurement moves
    to the pixel that it falls into, and the nearest is kept, so that few are lost.
    """
    rows, columns = depth_m.shape
    if (rows, columns) == (height, width):
        return depth_m
    if np.count_nonzero(depth_m) > depth_m.size // 2:
        at_row = ((np.arange(height) + 0.5) * rows / height).astype(np.int64)
        at_column = ((np.arange(width) + 0.5) * columns / width).astype(np.int64)
        sampled: Float32[np.ndarray, "height width"] = depth_m[at_row[:, None], at_column]
        return sampled
    row, column = np.nonzero(depth_m)
    target = (
        ((row + 0.5) * height / rows).astype(np.int64),
        ((column + 0.5) * width / columns).astype(np.int64),
    )
    resized = np.full((height, width), np.inf, np.float32)
    np.minimum.at(resized, target, depth_m[row, column])
    resized[np.isinf(resized)] = 0
    return resized
