"""What a request's query and headers ask for, as the records that the engine takes.

It does not know what any of it means; the records check themselves.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from service.errors import InvalidArgument
from service.request import Anchor, CameraHeight, Colour, FieldOfView, Format, Intrinsics, KnownDistance, Lens
from service.rest.errors import NotAcceptable

Pairs = tuple[tuple[str, str], ...]
_INTRINSICS = ("fx_px", "fy_px", "cx_px", "cy_px")
_KNOWN_DISTANCE = ("known_x_px", "known_y_px", "known_distance_m")
DEPTH_NAMES = frozenset(
    (
        "format",
        "size",
        "model",
        "version",
        "priority",
        "fov_deg",
        "camera_height_m",
        "colormap",
        "near",
        "far",
        *_INTRINSICS,
        *_KNOWN_DISTANCE,
    )
)
_FORMAT_OF_MEDIA_TYPE = {
    "image/png": Format.PNG16,
    "image/*": Format.PNG16,
    "*/*": Format.PNG16,
    "image/jxl": Format.JXL,
    "application/json": Format.JSON,
    "application/x-npy": Format.NPY,
    "model/ply": Format.PLY,
}
"""What ``Accept`` can ask for; formats that share a media type have to be asked for by name."""


def query_pairs(query: bytes) -> Pairs:
    """Take a query apart."""
    return tuple(parse_qsl(query.decode("latin-1"), keep_blank_values=True))


@lru_cache(maxsize=256)
def depth_options(pairs: Pairs, accept: str = "") -> Mapping[str, Any]:
    """Answer the fields of a DepthRequest that say how depth is wanted.

    Raises:
        InvalidArgument: A name is unknown or given twice, or a value cannot be read.
        NotAcceptable: No format is named, and ``Accept`` allows none that we write.
    """
    given = unique(pairs, DEPTH_NAMES)
    return {
        "format": _format(given.get("format"), accept),
        "size": given.get("size", "input"),
        "model": given.get("model") or None,
        "version": given.get("version") or None,
        "priority": read_whole(given.get("priority"), "priority") or 0,
        "lens": _lens(given),
        "anchor": _anchor(given),
        "colour": Colour(
            map=given.get("colormap") or None,
            near=read_number(given.get("near"), "near"),
            far=read_number(given.get("far"), "far"),
        ),
    }


def unique(pairs: Pairs, known: Iterable[str]) -> dict[str, str]:
    """Answer the pairs as a dictionary.

    Raises:
        InvalidArgument: A name is unknown, or is there twice.
    """
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise InvalidArgument(
                f"there is no option {name[:40]!r}; expected one of {', '.join(sorted(known))}"
            )
        if name in given:
            raise InvalidArgument(f"the option {name!r} is given twice; expected once")
        given[name] = value
    return given


def read_number(text: str | None, name: str) -> float | None:
    """Read a number, where there is one.

    Raises:
        InvalidArgument: It is none.
    """
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        raise InvalidArgument(f"{name} is {text[:40]!r}; expected a number") from None


def read_whole(text: str | None, name: str) -> int | None:
    """Read a whole number, where there is one.

    Raises:
        InvalidArgument: It is none.
    """
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise InvalidArgument(f"{name} is {text[:40]!r}; expected a whole number") from None


def _format(name: str | None, accept: str) -> Format:
    if name is not None:
        try:
            return Format(name)
        except ValueError:
            expected = ", ".join(Format)
            raise InvalidArgument(f"format is {name[:40]!r}; expected one of {expected}") from None
    if not accept:
        return Format.PNG16
    wanted = []
    for place, entry in enumerate(accept.split(",")):
        media_type, *parameters = (word.strip().lower() for word in entry.split(";"))
        quality = next((word[2:] for word in parameters if word.startswith("q=")), "1")
        if media_type in _FORMAT_OF_MEDIA_TYPE and quality.strip("0."):
            wanted.append(
                (-float(quality) if quality.replace(".", "", 1).isdigit() else 0.0, place, media_type)
            )
    if not wanted:
        raise NotAcceptable(
            f"expected Accept to allow one of {', '.join(_FORMAT_OF_MEDIA_TYPE)}, or ?format="
        )
    return _FORMAT_OF_MEDIA_TYPE[min(wanted)[2]]


def _lens(given: Mapping[str, str]) -> Lens | None:
    fov_deg = read_number(given.get("fov_deg"), "fov_deg")
    values = {name: read_number(given.get(name), name) for name in _INTRINSICS}
    known = {name: value for name, value in values.items() if value is not None}
    if fov_deg is not None and known:
        raise InvalidArgument("fov_deg and intrinsics are given; expected one of them")
    if fov_deg is not None:
        return FieldOfView(horizontal_deg=fov_deg)
    if not known:
        return None
    if len(known) < len(_INTRINSICS):
        raise InvalidArgument(f"intrinsics are incomplete; expected {', '.join(_INTRINSICS)}")
    return Intrinsics(**known)


def _anchor(given: Mapping[str, str]) -> Anchor | None:
    height_m = read_number(given.get("camera_height_m"), "camera_height_m")
    values = [read_number(given.get(name), name) for name in _KNOWN_DISTANCE]
    x_px, y_px, distance_m = values
    if height_m is not None and any(value is not None for value in values):
        raise InvalidArgument("a camera height and a known distance are given; expected one of them")
    if height_m is not None:
        return CameraHeight(height_m=height_m)
    if x_px is None and y_px is None and distance_m is None:
        return None
    if x_px is None or y_px is None or distance_m is None:
        raise InvalidArgument(f"the known distance is incomplete; expected {', '.join(_KNOWN_DISTANCE)}")
    return KnownDistance(x_px=x_px, y_px=y_px, distance_m=distance_m)
