"""The lens that a photograph's EXIF data names; values that no lens has are ignored."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image

from service.contract.request import Intrinsics

_FILM_DIAGONAL_MM = math.hypot(36, 24)
"""A 35 mm equivalent has the same diagonal angle of view (CIPA DCG-001)."""
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
"""Of FocalPlaneResolutionUnit: inch, centimetre, and what some cameras write beside the standard."""
_EQUIVALENT_MM = (4.0, 3000.0)
"""What lenses have, from fish eyes to telescopes."""
_CROP_FACTORS = (0.3, 15.0)
"""How much smaller than film sensors are, from large format to the smallest of phones."""
_PHONE_CROP = 2.6
"""Below this, a sensor with a digital zoom is larger than any phone's: the equivalent then lacks the zoom."""
_SAME_SHAPE = 0.02
"""By how much the aspect of a photograph may differ from what the camera wrote."""


@dataclass(frozen=True, kw_only=True)
class ExifLens:
    """What was found."""

    lens: Intrinsics | None = None
    """In pixels of the upright photograph; None where it says nothing, or nothing that can be."""
    notice: str = ""
    """Why what it says is ignored; empty where it is not."""


@dataclass(frozen=True, kw_only=True)
class _Said:
    """The tags that count, as numbers; 0 where they are missing."""

    equivalent_mm: float
    focal_mm: float
    zoom: float
    per_mm: tuple[float, float]
    """Stored pixels on a millimetre of the sensor, across and down."""
    stored: tuple[float, float]
    """Width and height that the camera wrote."""


def exif_lens(exif: Image.Exif, width: int, height: int, *, lying: bool) -> ExifLens:
    """Return the lens of a photograph.

    The 35 mm equivalent counts first, and counts a digital zoom already (as iPhones write it), unless the
    sensor would then be too large for one; else the focal length with the sensor's pixels on a millimetre.

    Args:
        exif: Its data.
        width: Of the photograph as it is stored, in pixels.
        height: Likewise.
        lying: Whether it has to be turned by a quarter to be upright.
    """
    said = _read(exif)
    if not (said.equivalent_mm or (said.focal_mm and all(said.per_mm))):
        return ExifLens()
    if all(said.stored) and not _same_shape(said.stored, (width, height)):
        return _ignored(
            f"was of {said.stored[0]:g}x{said.stored[1]:g} pixels, and it is cut to {width}x{height}"
        )
    if said.equivalent_mm:
        least, most = _EQUIVALENT_MM
        if not least <= said.equivalent_mm <= most:
            return _ignored(f"has a 35 mm equivalent of {said.equivalent_mm:g} mm")
        factor = said.equivalent_mm / said.focal_mm if said.focal_mm else _PHONE_CROP * said.zoom
        if not _CROP_FACTORS[0] <= factor <= _CROP_FACTORS[1] * said.zoom:
            return _ignored(f"has a lens of {said.focal_mm:g} mm, equivalent to {said.equivalent_mm:g} mm")
        zoom = said.zoom if factor < _PHONE_CROP * said.zoom else 1.0
        focal_px = zoom * said.equivalent_mm / _FILM_DIAGONAL_MM * math.hypot(width, height)
        focal = (focal_px, focal_px)
    else:
        resized = width / said.stored[0] if said.stored[0] else 1.0
        across, down = (said.focal_mm * each * resized * said.zoom for each in said.per_mm)
        equivalent_mm = across * _FILM_DIAGONAL_MM / math.hypot(width, height)
        if not _EQUIVALENT_MM[0] <= equivalent_mm <= _EQUIVALENT_MM[1] or not 0.5 <= across / down <= 2:
            return _ignored(
                f"has a lens of {said.focal_mm:g} mm over {said.per_mm[0]:g} x {said.per_mm[1]:g} pixels/mm"
            )
        focal = (across, down)
    size = (height, width) if lying else (width, height)
    across, down = focal[::-1] if lying else focal
    return ExifLens(lens=Intrinsics(fx_px=across, fy_px=down, cx_px=size[0] / 2, cy_px=size[1] / 2))


def _read(exif: Image.Exif) -> _Said:
    tags = exif.get_ifd(ExifTags.IFD.Exif)
    unit_mm = _MM_PER_UNIT.get(int(_number(tags, ExifTags.Base.FocalPlaneResolutionUnit) or 2), 0.0)
    across, down = (
        _number(tags, tag) / unit_mm if unit_mm else 0.0
        for tag in (ExifTags.Base.FocalPlaneXResolution, ExifTags.Base.FocalPlaneYResolution)
    )
    return _Said(
        equivalent_mm=_number(tags, ExifTags.Base.FocalLengthIn35mmFilm),
        focal_mm=_number(tags, ExifTags.Base.FocalLength),
        zoom=max(1.0, _number(tags, ExifTags.Base.DigitalZoomRatio)),
        per_mm=(across, down or across),
        stored=(_number(tags, ExifTags.Base.ExifImageWidth), _number(tags, ExifTags.Base.ExifImageHeight)),
    )


def _number(tags: Mapping[int, Any], tag: int) -> float:
    """Return a tag's positive number, and 0 for whatever else it is."""
    try:
        value = float(tags.get(tag, 0))
    except (TypeError, ValueError, ArithmeticError):
        return 0.0
    return value if 0 < value < math.inf else 0.0


def _same_shape(stored: tuple[float, float], size: tuple[int, int]) -> bool:
    """Whether the photograph has the shape that the camera wrote, standing or lying."""
    aspect, written = size[0] / size[1], stored[0] / stored[1]
    return any(abs(aspect / each - 1) <= _SAME_SHAPE for each in (written, 1 / written))


def _ignored(what: str) -> ExifLens:
    return ExifLens(
        notice=f"by its EXIF data the photograph {what}; that lens is ignored, and a given one counts"
    )
