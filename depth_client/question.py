"""One call, as both transports carry it: the request, the caller, the id and the deadline."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

from depth_client.contract import USUAL_STEADINESS, Anchor, DepthRequest, Lens, Pose, Regions, Size, Sky
from depth_client.errors import DeadlineExceeded, InvalidArgument
from depth_client.images import Picture, image_bytes
from depth_client.outgoing import Outgoing
from depth_client.result import Wire, wire_format

Propagate = Callable[[dict[str, str]], Any]
"""Writes trace context into headers, as ``opentelemetry.propagate.inject`` does."""


class Wanted(TypedDict, total=False):
    """How depth is wanted; everything may be left out."""

    model: str
    """By its name; the service's default model where absent."""
    version: str
    """The current one where absent."""
    size: Size
    """`input`: as many pixels as the upright picture has; `model`: as the network answers, and fewer."""
    lens: Lens
    """FieldOfView or Intrinsics: metres are adapted to it, and it gives points in space. It goes before what
    the photograph's EXIF data says."""
    camera: str
    """A camera that the service knows by this name, in place of a lens."""
    rectify: bool
    """For a camera with distortion: depth of the straight picture, or of the raw one."""
    anchor: Anchor
    """CameraHeight, KnownDistance, KnownPoints or SparseDepth: makes depth metric."""
    ground: bool
    """Whether to look for flat ground, and say how high the camera stands over it, and how it is pitched."""
    sky: Sky
    """What is infinitely far has no depth (`none`, the default), or that of the farthest thing (`far`)."""
    priority: int
    """Higher goes first among those that wait in the service."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One question on its way."""

    headers: dict[str, str] = field(repr=False)
    """With names in small letters, as both HTTP and gRPC take them."""
    deadline_s: float
    """The instant of ``time.monotonic`` by which there has to be an answer."""

    @property
    def request_id(self) -> str:
        """Under which the service logs it; the same in every attempt."""
        return self.headers["x-request-id"]

    def remaining_s(self) -> float:
        """Return the seconds that are left before the deadline.

        Raises:
            DeadlineExceeded: Nothing is.
        """
        left_s = self.deadline_s - time.monotonic()
        if left_s <= 0:
            error = DeadlineExceeded("the call's time was over before there was an answer")
            error.request_id = self.request_id
            raise error
        return left_s


@dataclass(frozen=True, kw_only=True)
class DepthCall(Call):
    """A question for the depth of one picture."""

    request: DepthRequest


@dataclass(frozen=True, kw_only=True)
class StreamCall(Call):
    """A question for the depth of every frame that follows; the deadline is that of opening."""

    request: DepthRequest
    """Without a picture."""
    steadiness: float = USUAL_STEADINESS
    frame_timeout_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The caller, with the defaults of its calls."""

    api_key: str | None = field(repr=False)
    timeout_s: float
    jpeg_quality: int | None
    propagate: Propagate | None

    def __post_init__(self) -> None:
        _check_timeout(self.timeout_s)

    def call(self, *, timeout_s: float | None = None, request_id: str | None = None) -> Call:
        """Begin a question."""
        headers = {"x-request-id": request_id or secrets.token_hex(16)}
        if self.api_key is not None:
            headers["authorization"] = f"Bearer {self.api_key}"
        if self.propagate is not None:
            self.propagate(headers)
        timeout_or_default_s = self.timeout_s if timeout_s is None else timeout_s
        _check_timeout(timeout_or_default_s)
        return Call(headers=headers, deadline_s=time.monotonic() + timeout_or_default_s)

    def bytes_of(self, picture: Picture) -> bytes:
        """Return a picture as it is sent."""
        return image_bytes(picture, jpeg_quality=self.jpeg_quality)

    def outgoing(
        self,
        regions_of: Callable[[Any], Regions | None] | None,
        pose_of: Callable[[Any], Pose | None] | None,
    ) -> Callable[[Any], Outgoing]:
        """Return what makes of a frame what is sent, with what is said of it."""

        def made(frame: Any) -> Outgoing:
            return Outgoing(
                image=self.bytes_of(frame),
                regions=None if regions_of is None else regions_of(frame),
                pose=None if pose_of is None else pose_of(frame),
            )

        return made


def depth_call(call: Call, request: DepthRequest) -> DepthCall:
    """Ask for the depth of one picture."""
    request = replace(request, request_id=call.request_id)
    return DepthCall(headers=call.headers, deadline_s=call.deadline_s, request=request)


def request_of(wire: Wire, wanted: Wanted, image: bytes = b"") -> DepthRequest:
    """Return the record of a request for numbers.

    Raises:
        InvalidArgument: Something is wanted that cannot be; the message says what.
    """
    if "smoothing" in wanted:  # of earlier releases
        raise InvalidArgument("smoothing is gone; expected steadiness in its place, a weight from 0 to 1")
    return DepthRequest(image=image, format=wire_format(wire), **wanted)


def _check_timeout(timeout_s: float) -> None:
    if not timeout_s > 0:
        raise InvalidArgument(f"the timeout is {timeout_s}; expected more than 0 seconds")
