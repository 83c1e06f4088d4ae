"""Every option of a request, declared once: each endpoint's model reads, checks and documents its own.

Transports bring options as names and texts, or as values that have their type already. A field's docstring
is its description in the OpenAPI document, too.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from . import bounds
from .errors import InvalidArgument
from .formats import Format, PlyEdges
from .regions import KINDS, Regions, regions_of
from .regions import MOST_CHARACTERS as MOST_REGION_CHARACTERS
from .request import (
    Anchor,
    CameraHeight,
    Colour,
    FieldOfView,
    Intrinsics,
    KnownDistance,
    KnownPoints,
    Lens,
    Size,
    Sky,
)

Value = str | int | float
Pairs = tuple[tuple[str, Value], ...]
_TRIPLE_ENDS = re.compile(r";|\]\s*,\s*\[")
OptionsT = TypeVar("OptionsT", bound=BaseModel)
_GONE = {"scale_smoothing": "steadiness"}
"""Options of the last release, with what took their place. A zero, which its clients always sent, counts for
nothing."""
MOST_LIST_CHARACTERS = 8192
"""Of a list of points."""
MOST_CHARACTERS = 256
"""Of a value: what options were read from is remembered for the next request."""


def _within(limits: bounds.Bounds) -> Any:
    return Field(ge=limits.least, le=limits.most)


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SceneOptions(_Options):
    """What a caller knows of the picture, and its size: the same for every endpoint that returns depth."""

    size: Size = "input"
    """The image's size, or the network's own."""
    fov_deg: Annotated[float, _within(bounds.FIELD_OF_VIEW)] | None = None
    """The lens: horizontal field of view. For `ply` and camera heights."""
    fx_px: Annotated[float, _within(bounds.FOCAL_LENGTH)] | None = None
    """Or its intrinsics, in pixels of the upright image."""
    fy_px: Annotated[float, _within(bounds.FOCAL_LENGTH)] | None = None
    """With `fx_px`."""
    cx_px: Annotated[float, _within(bounds.IMAGE_POSITION)] | None = None
    """With `fx_px`. The centre of the first pixel is at 0.5."""
    cy_px: Annotated[float, _within(bounds.IMAGE_POSITION)] | None = None
    """With `fx_px`."""
    camera_height_m: Annotated[float, _within(bounds.DISTANCE)] | None = None
    """Metres above flat ground that is seen: makes relative depth metric. Needs a lens."""
    known_x_px: Annotated[float, _within(bounds.PIXEL)] | None = None
    """Or a pixel of the upright image whose depth is known."""
    known_y_px: Annotated[float, _within(bounds.PIXEL)] | None = None
    """With `known_x_px`."""
    known_distance_m: Annotated[float, _within(bounds.DISTANCE)] | None = None
    """With `known_x_px`: its depth, along the optical axis."""
    known_points: Annotated[str, Field(max_length=MOST_LIST_CHARACTERS)] | None = None
    """Or several such pixels: `x,y,metres;x,y,metres;...`. Wrong ones count for little."""
    camera: str | None = None
    """A camera that the server knows by this name, in place of a lens."""
    rectify: Literal["yes", "no"] = "yes"
    """For a camera with distortion: depth of the rectified picture; `no`: of the raw one."""
    ground: Literal["yes", "no"] = "no"
    """`yes`: look for flat ground, and say how high the camera stands over it and how it is pitched."""
    sky: Sky = "none"
    """The sky, and what else is infinitely far: without depth, or `far`: as far as the farthest thing."""

    def lens(self) -> Lens | None:
        """Return the lens.

        Raises:
            InvalidArgument: It is given in part, or in two ways.
        """
        known = self._all_or_none("fx_px", "fy_px", "cx_px", "cy_px")
        if self.fov_deg is not None and known:
            raise InvalidArgument("fov_deg and intrinsics are given; expected one of them")
        if self.fov_deg is not None:
            return FieldOfView(horizontal_deg=self.fov_deg)
        return Intrinsics(**known) if known else None

    def anchor(self) -> Anchor | None:
        """Return what makes depth metric.

        Raises:
            InvalidArgument: It is given in part, or in two ways.
        """
        known = self._all_or_none("known_x_px", "known_y_px", "known_distance_m")
        ways = {
            "a camera height": self.camera_height_m is not None,
            "a known distance": bool(known),
            "known points": self.known_points is not None,
        }
        if len(given := [way for way, is_given in ways.items() if is_given]) > 1:
            raise InvalidArgument(f"{' and '.join(given)} are given; expected one of them")
        if self.camera_height_m is not None:
            return CameraHeight(height_m=self.camera_height_m)
        if self.known_points is not None:
            return KnownPoints(points=tuple(_points(self.known_points)))
        return (
            KnownDistance(**{name.removeprefix("known_"): value for name, value in known.items()})
            if known
            else None
        )

    def request_fields(self) -> dict[str, Any]:
        """Return these options as fields of a DepthRequest.

        Raises:
            InvalidArgument: They do not fit together.
        """
        return {
            "size": self.size,
            "lens": self.lens(),
            "anchor": self.anchor(),
            "camera": self.camera,
            "rectify": self.rectify == "yes",
            "ground": self.ground == "yes",
            "sky": self.sky,
        }

    def _all_or_none(self, *names: str) -> dict[str, float]:
        known = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if known and len(known) < len(names):
            missing = ", ".join(name for name in names if name not in known)
            raise InvalidArgument(
                f"{', '.join(known)} without {missing} are incomplete; expected all of them"
            )
        return known


class RegionOptions(_Options):
    """Places in the picture to which distances are wanted."""

    points: Annotated[str, Field(max_length=MOST_REGION_CHARACTERS)] | None = None
    """Pixels, as a JSON list of `[x, y]`."""
    boxes: Annotated[str, Field(max_length=MOST_REGION_CHARACTERS)] | None = None
    """Boxes, as a JSON list of `[left, top, right, bottom]`."""
    polygons: Annotated[str, Field(max_length=MOST_REGION_CHARACTERS)] | None = None
    """Polygons, as a JSON list of lists of `[x, y]`."""

    def regions(self) -> Regions | None:
        """Return the places; None where there is none.

        Raises:
            InvalidArgument: One is none; the message says which.
        """
        given = {kind: text for kind in KINDS if (text := getattr(self, kind)) is not None}
        return regions_of(given) if given else None


class _ServedOptions(SceneOptions):
    model: str | None = None
    """Name of the model; the default one where not given."""
    version: str | None = None
    """Its version; the current one where not given."""
    priority: Annotated[int, _within(bounds.PRIORITY)] = 0
    """Each step up doubles the share while others wait; at most what the API key is granted."""

    def request_fields(self) -> dict[str, Any]:
        """Return these options as fields of a DepthRequest.

        Raises:
            InvalidArgument: They do not fit together.
        """
        return {
            **super().request_fields(),
            "model": self.model,
            "version": self.version,
            "priority": self.priority,
        }


class DistanceOptions(_ServedOptions, RegionOptions):
    """What may be asked of `/v1/distances`, in its query or form."""

    def request_fields(self) -> dict[str, Any]:
        """Return these options as fields of a DepthRequest that wants no map.

        Raises:
            InvalidArgument: They do not fit together, or there is no region.
        """
        regions = self.regions()
        if not regions:
            raise InvalidArgument("no region is given; expected points, boxes or polygons")
        return {**super().request_fields(), "regions": regions, "map": False}


class DepthOptions(_ServedOptions):
    """What may be asked of `/v1/depth`, `/v1/depth/batch` and `Predict`, in their query, form or message."""

    format: Format | None = None
    """How the map is written; where not given, by `Accept`, and in a batch as `png16`."""
    colormap: str | None = None
    """For `color`: turbo, viridis, magma, inferno, plasma, cividis, gray."""
    ply_edges: PlyEdges = "keep"
    """For `ply`: `drop` leaves out the sky, and what is blurred between two surfaces."""
    near: Annotated[float, _within(bounds.DEPTH)] | None = None
    """For `color`: depth at the near end of the map; the image's own where not given."""
    far: Annotated[float, _within(bounds.DEPTH)] | None = None
    """For `color`: likewise at the far end."""

    def request_fields(self) -> dict[str, Any]:
        """Return these options as fields of a DepthRequest; `png16` where they name no format.

        Raises:
            InvalidArgument: They do not fit together.
        """
        return {
            **super().request_fields(),
            "format": self.format or Format.PNG16,
            "ply_edges": self.ply_edges,
            "colour": Colour(map=self.colormap, near=self.near, far=self.far),
        }


class LiveOptions(DepthOptions):
    """What may be asked of `/v1/stream` and `Stream`: as for one image, and how the stream is run."""

    mode: Literal["every", "latest"] = "every"
    """`latest`: a frame that waits gives its place to a newer one."""
    steadiness: Annotated[float, _within(bounds.STEADINESS)] = bounds.USUAL_STEADINESS
    """How firmly depth is held from frame to frame; 0 leaves each frame as it is."""
    max_in_flight: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    """Frames that are computed at once; the server's bound where 0 or above it."""
    frame_timeout_ms: Annotated[float, _within(bounds.MILLISECONDS)] | None = None
    """After which a frame fails."""


def _points(text: str) -> Iterator[KnownDistance]:
    """Read ``x,y,metres;x,y,metres``; a JSON list of lists will do, too."""
    for index, triple in enumerate(_TRIPLE_ENDS.split(text.strip("[] ;"))):
        numbers = [word.strip(" []") for word in triple.split(",")]
        try:
            x_px, y_px, distance_m = (float(word) for word in numbers)
        except ValueError:
            raise InvalidArgument(
                f"known_points[{index}] is {triple[:40]!r}; expected x,y,metres and ; before the next"
            ) from None
        yield KnownDistance(x_px=x_px, y_px=y_px, distance_m=distance_m)


def read_options(
    kind: type[OptionsT], pairs: Iterable[tuple[str, Value]], *, called: str = "option"
) -> OptionsT:
    """Read options; a blank text is an option that is not given.

    Args:
        kind: The endpoint's model.
        pairs: Names and values.
        called: What its callers call an option.

    Raises:
        InvalidArgument: A name is unknown or given twice, or a value is none that it may have.
    """
    given: dict[str, Value] = {}
    for name, value in pairs:
        if name in _GONE and _GONE[name] in kind.model_fields:
            if value in (0, "", "0", "0.0"):
                continue
            raise InvalidArgument(f"the {called} {name!r} is gone; expected {_GONE[name]} in its place")
        if name not in kind.model_fields:
            known = ", ".join(sorted(kind.model_fields))
            raise InvalidArgument(f"there is no {called} {name[:40]!r}; expected one of {known}")
        if name in given:
            raise InvalidArgument(f"the {called} {name!r} is given twice; expected once")
        most = schemas(kind)[name].get("maxLength", MOST_CHARACTERS)
        if isinstance(value, str) and len(value) > most:
            raise InvalidArgument(
                f"the {called} {name!r} has {len(value)} characters; expected at most {most}"
            )
        given[name] = value
    there = {name: value for name, value in given.items() if not isinstance(value, str) or value.strip()}
    try:
        return kind.model_validate(there)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = str(first["loc"][0])
        raise InvalidArgument(
            f"{name} is {str(first['input'])[:40]!r}; expected {_expected(schemas(kind)[name])}"
        ) from None


def read_number(text: str | None, name: str, limits: bounds.Bounds) -> float | None:
    """Read a number that comes by itself, such as a header's; None where there is none.

    Raises:
        InvalidArgument: It is no number, or beyond its bounds.
    """
    if text is None or not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        raise InvalidArgument(f"{name} is {text[:40]!r}; expected a number") from None
    limits.check(name, value)
    return value


@lru_cache
def schemas(kind: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each option by its name, with its description."""
    document = kind.model_json_schema()
    return {name: _flat(schema, document.get("$defs", {})) for name, schema in document["properties"].items()}


def _flat(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out that an option may be absent, and the indirections that pydantic writes."""
    kind: dict[str, Any] = dict(schema)
    for branch in kind.pop("anyOf", ()):
        if branch.get("type") != "null":
            kind |= branch
    if "$ref" in kind:
        kind |= definitions[kind.pop("$ref").rpartition("/")[2]] | {"description": schema["description"]}
    return {
        name: value for name, value in kind.items() if name != "title" and (name, value) != ("default", None)
    }


def _expected(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    if schema["type"] not in ("number", "integer"):
        return f"a {schema['type']}"
    number = "a whole number" if schema["type"] == "integer" else "a number"
    if "minimum" in schema:
        least, most = schema["minimum"], schema["maximum"]
        number += (
            f" from {least} to {most}" if schema["type"] == "integer" else f" from {least:g} to {most:g}"
        )
    return number
