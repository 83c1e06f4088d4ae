"""Places in a picture, and the distances to them."""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from .errors import InvalidArgument

Corner = tuple[float, float]
Kind = Literal["points", "boxes", "polygons"]
KINDS: tuple[Kind, ...] = ("points", "boxes", "polygons")
MOST_REGIONS = 256
MOST_CORNERS = 1024
"""Of all polygons of a request together."""
MOST_CHARACTERS = 16_384
"""Of the text of each kind."""
_DIGITS = 4
"""Of a distance, as it is told: half of a thousandth at most is lost, and bytes are saved."""


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Points, boxes and polygons, in pixels of the picture that the depth is of; centres at +0.5."""

    points: tuple[Corner, ...] = ()
    """x and y."""
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    """Left, top, right and bottom; a pixel counts where its centre lies inside."""
    polygons: tuple[tuple[Corner, ...], ...] = ()
    """Three corners or more; inside is what the even-odd rule says."""

    def __post_init__(self) -> None:
        if (count := len(self)) > MOST_REGIONS:
            raise InvalidArgument(f"{count} regions are asked for; expected at most {MOST_REGIONS}")
        if (corners := sum(map(len, self.polygons))) > MOST_CORNERS:
            raise InvalidArgument(f"the polygons have {corners} corners; expected at most {MOST_CORNERS}")
        for kind in KINDS:
            for index, region in enumerate(getattr(self, kind)):
                _check(kind, index, region)

    def __len__(self) -> int:
        return len(self.points) + len(self.boxes) + len(self.polygons)


@dataclass(frozen=True, kw_only=True)
class Distance:
    """How far a region is, along the optical axis, in the answer's unit; None where no pixel has depth."""

    median: float | None = None
    p10: float | None = None
    """The 10th percentile."""
    p90: float | None = None
    nearest: float | None = None
    """The smallest depth."""
    xyz: tuple[float, float, float] | None = None
    """The middle of its points: right, down and forward of the camera; None where no lens is known."""
    share: float
    """Of its pixels that have depth."""


@dataclass(frozen=True, kw_only=True)
class Distances:
    """A distance for each region, in their order."""

    points: tuple[Distance, ...] = ()
    boxes: tuple[Distance, ...] = ()
    polygons: tuple[Distance, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values of four digits, without the kinds that were not asked for."""
        return {
            kind: [_plain(distance) for distance in found] for kind in KINDS if (found := getattr(self, kind))
        }


def regions_of(texts: dict[Kind, str]) -> Regions:
    """Read regions from JSON lists, such as ``[[x0, y0, x1, y1]]`` for boxes.

    Raises:
        InvalidArgument: One is none; the message says which.
    """
    return regions_of_lists({kind: _list(kind, text) for kind, text in texts.items()})


def regions_of_lists(given: dict[Kind, Any]) -> Regions:
    """Read regions from lists of numbers; likewise."""
    polygons = [
        [_numbers("polygons", index, corner, 2) for corner in _list_in("polygons", index, polygon)]
        for index, polygon in enumerate(given.get("polygons", ()))
    ]
    return Regions(
        points=tuple(
            _numbers("points", index, each, 2) for index, each in enumerate(given.get("points", ()))
        ),
        boxes=tuple(_numbers("boxes", index, each, 4) for index, each in enumerate(given.get("boxes", ()))),
        polygons=tuple(map(tuple, polygons)),
    )


def distances_of(told: dict[str, Any]) -> Distances:
    """Read what `Distances.to_json` wrote.

    Raises:
        KeyError: Something is missing; likewise `TypeError`.
    """

    def one(plain: dict[str, Any]) -> Distance:
        xyz = plain.get("xyz")
        return Distance(**{**plain, "xyz": None if xyz is None else tuple(xyz)})

    return Distances(**{kind: tuple(map(one, told.get(kind, ()))) for kind in KINDS})


def write_distances(distances: Distances, message: Any) -> None:
    """Write distances into a message of that name."""
    for kind in KINDS:
        for distance in getattr(distances, kind):
            told = getattr(message, kind).add()
            for name, value in asdict(distance).items():
                if name == "xyz":
                    told.xyz.extend(value or ())
                elif value is not None:
                    setattr(told, name, value)


def read_distances(message: Any) -> Distances:
    """Read what `write_distances` wrote."""

    def one(told: Any) -> Distance:
        numbers = ("median", "p10", "p90", "nearest")
        known = {name: getattr(told, name) for name in numbers if told.HasField(name)}
        x_y_z = tuple(told.xyz)
        return Distance(**known, share=told.share, xyz=x_y_z if len(x_y_z) == 3 else None)

    return Distances(**{kind: tuple(map(one, getattr(message, kind))) for kind in KINDS})


def regions_in(message: Any) -> Regions | None:
    """Read a `Regions` message; None where it names none.

    Raises:
        InvalidArgument: One is none; the message says which.
    """
    regions = Regions(
        points=tuple((each.x_px, each.y_px) for each in message.points),
        boxes=tuple((each.left_px, each.top_px, each.right_px, each.bottom_px) for each in message.boxes),
        polygons=tuple(
            tuple((each.x_px, each.y_px) for each in polygon.corners) for polygon in message.polygons
        ),
    )
    return regions if len(regions) else None


def write_regions(regions: Regions, message: Any) -> None:
    """Write regions into a message of that name."""
    for x, y in regions.points:
        message.points.add(x_px=x, y_px=y)
    for left, top, right, bottom in regions.boxes:
        message.boxes.add(left_px=left, top_px=top, right_px=right, bottom_px=bottom)
    for polygon in regions.polygons:
        added = message.polygons.add()
        for x, y in polygon:
            added.corners.add(x_px=x, y_px=y)


def _list(kind: Kind, text: str) -> Any:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise InvalidArgument(f"{kind} is {text[:40]!r}; expected a JSON list")
    return found


def _list_in(kind: Kind, index: int, value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise InvalidArgument(f"{kind}[{index}] is {str(value)[:40]}; expected a list of corners")
    return value


def _numbers(kind: Kind, index: int, value: Any, count: int) -> Any:
    numbers = tuple(value) if isinstance(value, (list, tuple)) else ()
    if len(numbers) != count or not all(type(each) in (int, float) for each in numbers):
        raise InvalidArgument(f"{kind}[{index}] is {str(value)[:60]}; expected {count} numbers")
    return tuple(float(each) for each in numbers)


def _check(kind: Kind, index: int, region: Any) -> None:
    where = f"{kind}[{index}]"
    corners = region if kind == "polygons" else (region,)
    if not all(math.isfinite(number) and abs(number) <= 1e7 for corner in corners for number in corner):
        raise InvalidArgument(f"{where} is {str(region)[:60]}; expected pixels within 10,000,000")
    if kind == "boxes" and not (region[0] < region[2] and region[1] < region[3]):
        raise InvalidArgument(
            f"{where} is {list(region)}; expected [left, top, right, bottom] with left < right, top < bottom"
        )
    if kind == "polygons" and len(region) < 3:
        raise InvalidArgument(f"{where} has {len(region)} corners; expected at least 3")


def _plain(distance: Distance) -> dict[str, Any]:
    told = {name: value for name, value in asdict(distance).items() if value is not None}
    for name, value in told.items():
        if name == "xyz":
            decimals = _decimals(value[2])
            told[name] = [round(each, decimals) for each in value]
        else:
            told[name] = round(value, _decimals(value))
    return told


def _decimals(value: float) -> int:
    return max(0, _DIGITS - 1 - math.floor(math.log10(abs(value)))) if value else 0
