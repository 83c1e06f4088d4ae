"""What a request for depth brings: images and options, as a bare image, as a form or as JSON."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.types import Receive, Scope

from service.contract.bounds import DEPTH, MILLISECONDS
from service.contract.errors import DeadlineExceeded, InvalidArgument
from service.contract.options import DepthOptions, DistanceOptions, Pairs, Value, read_number, read_options
from service.contract.regions import KINDS, MOST_CORNERS, MOST_REGIONS
from service.contract.regions import MOST_CHARACTERS as MOST_REGION_CHARACTERS
from service.contract.request import SparseDepth
from service.rest.body import read_request_body
from service.rest.errors import BodyTooLarge, UnsupportedMediaType
from service.rest.multipart import Part, parse_form
from service.rest.options import depth_fields, query_pairs
from service.scheduling.budget import Share
from service.transports.frontend import Frontend
from service.transports.threads import by_size

IMAGE = "image"
"""What images are called in forms and in JSON; everything else there is an option, as in the query."""
SPARSE = "sparse_depth"
"""But for this, in forms: a depth image with holes."""
SPARSE_STEPS = "sparse_depth_steps_per_metre"
AskedOptions = DepthOptions | DistanceOptions
_FORM, _JSON = "multipart/form-data", "application/json"
_RAW = ("application/octet-stream", "binary/octet-stream", "application/x-www-form-urlencoded", "")
"""What a body of bare image bytes may call itself beside image/*; S3 and curl call everything so."""
_NAMES = ("accept", "content-encoding", "content-length", "content-type", "x-request-deadline-ms")
_WANTED = {name.encode(): name for name in _NAMES}
_MAX_OPTIONS = 32
_MAX_OPTION_BYTES = 4 * MOST_REGION_CHARACTERS
_MOST_JSON_MARKS = {DepthOptions: 4 * _MAX_OPTIONS, DistanceOptions: 8 * MOST_REGIONS + 4 * MOST_CORNERS}
"""Commas, colons and brackets in a JSON body."""
_MOST_DIGITS = 32
_USUAL_STEPS = 256.0
_MOST_JSON_BYTES = 16 * 2**20
_DECODED_AT_ONCE = 2**20
"""Characters of base64, between which other threads have their turn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """What a request brought."""

    images: Sequence[bytes]
    wanted: Mapping[str, Any]
    """The fields of a DepthRequest that say how depth is wanted."""
    known: Sequence[SparseDepth] = ()
    """Depth with holes, of each image; empty where there is none."""
    deadline_s: float

    def fields(self, place: int) -> Mapping[str, Any]:
        """Return the fields of one image's DepthRequest that say how its depth is wanted."""
        return {**self.wanted, "anchor": self.known[place]} if self.known else self.wanted


async def read_upload(
    frontend: Frontend,
    scope: Scope,
    receive: Receive,
    share: Share,
    *,
    max_images: int,
    asked: type[AskedOptions] = DepthOptions,
) -> Upload:
    """Read a request.

    Args:
        frontend: Has the limits, and the clock.
        scope: The request's.
        receive: The request's.
        share: Where the bytes of its body are counted.
        max_images: One: as a bare image, a form or JSON, and `Accept` counts. More: as a form.
        asked: The endpoint's options.

    Raises:
        ServiceError: It is none that can be answered; likewise HttpError.
    """
    said = {_WANTED[name]: value.decode("latin-1") for name, value in scope["headers"] if name in _WANTED}
    remaining_ms = read_number(said.get("x-request-deadline-ms"), "X-Request-Deadline-Ms", MILLISECONDS)
    deadline_s = frontend.deadline_s(None if remaining_ms is None else remaining_ms / 1e3)
    content_type = said.get("content-type", "")
    kind = _kind_of(content_type, one=max_images == 1)
    query, accept = query_pairs(scope["query_string"]), said.get("accept", "") if max_images == 1 else ""
    # What is wrong with the query is told before a body is read: it may be large.
    wanted = _wanted_by(asked, query, accept, partly=kind in (_FORM, _JSON))
    left_s = deadline_s - frontend.clock.now()
    if left_s <= 0:
        raise DeadlineExceeded("the deadline passed before the body was read")
    body = await read_request_body(
        receive,
        said,
        share,
        frontend.settings,
        # Nobody waits for an upload that can no longer be answered in time.
        timeout_s=min(frontend.settings.body_timeout_s, left_s),
    )
    images: list[bytes] = [body]
    known: Sequence[SparseDepth] = ()
    if kind == _FORM:
        most = 2 * max_images + _MAX_OPTIONS
        parts = await by_size(len(body), parse_form, body, content_type, max_parts=most)
        images, pairs, known = _taken_apart(parts)
        wanted = _fields(asked, (*query, *pairs), accept)
        _check_known(known, wanted, len(images))
    elif kind == _JSON:
        image, pairs = await by_size(len(body), _read_json, body, _MOST_JSON_MARKS[asked])
        share.take(len(image))
        images, wanted = [image], _fields(asked, (*query, *pairs), accept)
    if not 1 <= len(images) <= max_images:
        raise InvalidArgument(f"the form has {len(images)} images; expected 1 to {max_images}")
    if not all(images):
        raise InvalidArgument("an image is empty; expected the bytes of a JPEG, PNG, WebP or AVIF file")
    return Upload(images=images, wanted=wanted, known=known, deadline_s=deadline_s)


def _kind_of(content_type: str, *, one: bool) -> str:
    """Return the media type of a body that is taken here."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == _FORM or (one and (kind == _JSON or kind in _RAW or kind.startswith("image/"))):
        return kind
    expected = f"image/*, application/octet-stream, {_JSON} or {_FORM}" if one else _FORM
    raise UnsupportedMediaType(f"the body's type is {content_type[:80]!r}; expected {expected}")


def _fields(asked: type[AskedOptions], pairs: Pairs, accept: str) -> Mapping[str, Any]:
    if asked is DepthOptions:
        return depth_fields(pairs, accept)
    return read_options(asked, pairs).request_fields()


def _check_known(known: Sequence[SparseDepth], wanted: Mapping[str, Any], images: int) -> None:
    """Compare a form's depth images with holes with its other parts."""
    if known and len(known) != images:
        raise InvalidArgument(f"{SPARSE} is given {len(known)} times for {images} images; expected one each")
    if known and wanted["anchor"] is not None:
        raise InvalidArgument(f"{SPARSE} and another anchor are given; expected one of them")


def _wanted_by(asked: type[AskedOptions], query: Pairs, accept: str, *, partly: bool) -> Mapping[str, Any]:
    """Return what a query asks for; nothing where it is only checked, because the body has the other part."""
    if partly:
        read_options(asked, query)
        return {}
    return _fields(asked, query, accept)


def _taken_apart(parts: Sequence[Part]) -> tuple[list[bytes], Pairs, list[SparseDepth]]:
    """Return the images of a form, its options, and its depth images with holes."""
    images: list[bytes] = []
    pairs: Pairs = ()
    sparse: list[bytes] = []
    steps = None
    for part in parts:
        if part.name == SPARSE:
            sparse.append(part.data)
        elif part.name == SPARSE_STEPS:
            steps = read_number(part.data[:_MOST_DIGITS].decode(errors="replace"), SPARSE_STEPS, DEPTH)
        elif part.name == IMAGE or part.filename is not None:
            images.append(part.data)
        elif len(part.data) > _MAX_OPTION_BYTES:
            raise InvalidArgument(
                f"the option {part.name[:40]!r} has {len(part.data)} bytes; "
                f"expected at most {_MAX_OPTION_BYTES}"
            )
        else:
            pairs += ((part.name, part.data.decode(errors="replace")),)
    return images, pairs, [SparseDepth(png=one, steps_per_metre=steps or _USUAL_STEPS) for one in sparse]


def _read_json(body: bytes, most_marks: int) -> tuple[bytes, Pairs]:
    """Return the image of a JSON object, and its options; `null` is an option that is not given."""
    if len(body) > _MOST_JSON_BYTES:
        raise BodyTooLarge(
            f"the JSON has {len(body)} bytes; expected at most {_MOST_JSON_BYTES}, or the image's own bytes"
        )
    # Before it is parsed: base64 has none of these, and a list of millions would keep everybody waiting.
    if sum(map(body.count, (b",", b"[", b"{", b":"))) > most_marks:
        raise InvalidArgument(
            f"the JSON has too many values; expected {IMAGE!r} and at most {_MAX_OPTIONS} options"
        )
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"the body is no JSON: {error.msg} at character {error.pos}") from None
    if not isinstance(said, dict) or not isinstance(said.get(IMAGE), str):
        raise InvalidArgument(
            f"the JSON has no {IMAGE!r}; expected an object in which it is a text of base64"
        )
    text: str = said.pop(IMAGE)
    return _decoded(text.partition(",")[2] if text.startswith("data:") else text), tuple(_options_in(said))


def _options_in(said: Mapping[str, Any]) -> list[tuple[str, Value]]:
    pairs: list[tuple[str, Value]] = []
    for name, value in said.items():
        if isinstance(value, list) and name in KINDS:
            pairs.append((name, orjson.dumps(value).decode()))
            continue
        if isinstance(value, bool) or not isinstance(value, str | int | float | None):
            raise InvalidArgument(
                f"the option {name[:40]!r} is {str(value)[:40]!r}; expected a text or a number"
            )
        if value is not None:
            pairs.append((name, value))
    return pairs


def _decoded(text: str) -> bytes:
    """Return what base64 holds, with or without its line breaks and its padding."""
    try:
        packed = text.encode("ascii").translate(None, b" \t\r\n")
        packed += b"=" * (-len(packed) % 4)
        places = range(0, len(packed), _DECODED_AT_ONCE)
        pieces = (packed[place : place + _DECODED_AT_ONCE] for place in places)
        return b"".join(base64.b64decode(piece, validate=True) for piece in pieces)
    except (UnicodeEncodeError, binascii.Error):
        raise InvalidArgument(
            f"the image is {text[:40]!r}; expected a photograph's file in base64, or a data: address "
            "(other addresses are never fetched)"
        ) from None
