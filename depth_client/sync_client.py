"""The client for programs that wait: scripts, threads, notebooks."""

import atexit
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack
from weakref import WeakSet

from depth_client.connection import Tls, connection_to
from depth_client.contract import USUAL_STEADINESS, Colour, DepthAnswer, DepthRequest, Format, Pose, Regions
from depth_client.errors import ServiceError, Unavailable
from depth_client.images import Picture
from depth_client.question import Call, Caller, Propagate, Wanted, depth_call, request_of
from depth_client.result import (
    DepthResult,
    DistancesResult,
    FrameResult,
    ModelDescription,
    Outcome,
    Wire,
    distances_result,
    result_of,
)
from depth_client.retry import Retry
from depth_client.stream_options import StreamOptions, frame_result
from depth_client.transport import open_transport
from depth_client.window import Window

AnswerT = TypeVar("AnswerT")
CallT = TypeVar("CallT", bound=Call)
PictureT = TypeVar("PictureT", bound=Picture)

_open_streams = WeakSet[Generator[Any]]()


class DepthClient:
    """Asks one depth service, over HTTP or gRPC as its address says; any number of threads may share it.

    Args:
        address: Such as ``http://localhost:8000``, ``https://...``, ``grpc://localhost:8001``, ``grpcs://...``.
        api_key: Where the service asks for one.
        tls: Certificates, where the system's own do not do.
        timeout_s: Of each call, with all its attempts; calls may say their own.
        connect_timeout_s: Of each attempt to connect.
        retry: How often to ask again what was refused for want of room, or got no answer.
        jpeg_quality: Send pixels as JPEG (with Pillow) instead of PNG, which loses nothing and is larger.
        propagate: Writes trace context into the headers, as ``opentelemetry.propagate.inject`` does.

    Raises:
        InvalidArgument: The address is none, or something else makes no sense.
    """

    def __init__(
        self,
        address: str,
        *,
        api_key: str | None = None,
        tls: Tls | None = None,
        timeout_s: float = 30.0,
        connect_timeout_s: float = 5.0,
        retry: Retry | None = None,
        jpeg_quality: int | None = None,
        propagate: Propagate | None = None,
    ) -> None:
        self._caller = Caller(
            api_key=api_key, timeout_s=timeout_s, jpeg_quality=jpeg_quality, propagate=propagate
        )
        self._retry = retry or Retry()
        self._transport = open_transport(connection_to(address, tls=tls, connect_timeout_s=connect_timeout_s))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all connections."""
        self._transport.close()

    def predict(
        self,
        picture: Picture,
        *,
        wire: Wire = "float32",
        timeout_s: float | None = None,
        request_id: str | None = None,
        **wanted: Unpack[Wanted],
    ) -> DepthResult:
        """Return the depth of one picture.

        Args:
            picture: A file's path or bytes, or uint8 pixels: RGB, or grey.
            wire: How depth travels; float32 loses nothing.
            timeout_s: Until the result, with all attempts.
            request_id: Made up where None; the service's log has it.
            **wanted: As `Wanted` says.

        Raises:
            ServiceError: There is no depth; the class says why.
        """
        began_s = time.monotonic()
        request = request_of(wire, wanted, self._caller.bytes_of(picture))
        answer = self._depth(request, timeout_s, request_id)
        return result_of(answer, round_trip_s=time.monotonic() - began_s)

    def distances(
        self,
        picture: Picture,
        regions: Regions,
        *,
        timeout_s: float | None = None,
        request_id: str | None = None,
        **wanted: Unpack[Wanted],
    ) -> DistancesResult:
        """Return the distances to points, boxes and polygons in one picture: a few numbers, and no map.

        Args:
            picture: As for `predict`.
            regions: In pixels of the picture.
            timeout_s: As for `predict`.
            request_id: Likewise.
            **wanted: Likewise.

        Raises:
            ServiceError: There is no depth, or a region lies outside; the message says which.
        """
        began_s = time.monotonic()
        image = self._caller.bytes_of(picture)
        request = DepthRequest(image=image, regions=regions, map=False, **wanted)
        answer = self._depth(request, timeout_s, request_id)
        return distances_result(answer, round_trip_s=time.monotonic() - began_s)

    def encode(
        self,
        picture: Picture,
        format: Format | str,  # noqa: A002 - what the service calls it
        *,
        colour: Colour | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
        **wanted: Unpack[Wanted],
    ) -> DepthAnswer:
        """Return the depth of one picture as a file: coloured for people, a point cloud, or a PNG to keep.

        Args:
            picture: As for `predict`.
            format: Such as ``color``, ``ply`` (which needs a lens), ``png16`` or ``npy``.
            colour: The map and the range of ``color``.
            timeout_s: As for `predict`.
            request_id: Likewise.
            **wanted: Likewise.
        """
        request = DepthRequest(
            image=self._caller.bytes_of(picture), format=Format(format), colour=colour or Colour(), **wanted
        )
        return self._depth(request, timeout_s, request_id)

    def stream(
        self,
        frames: Iterable[PictureT],
        *,
        latest: bool = False,
        in_flight: int | None = None,
        steadiness: float = USUAL_STEADINESS,
        frame_timeout_s: float | None = None,
        wire: Wire = "float32",
        regions_of: Callable[[PictureT], Regions | None] | None = None,
        pose_of: Callable[[PictureT], Pose | None] | None = None,
        request_id: str | None = None,
        **wanted: Unpack[Wanted],
    ) -> Generator[FrameResult[PictureT]]:
        """Yield what became of each frame of a camera, a video or a folder, in their order.

        Frames are read in another thread while results are used. A stream is not begun again when it breaks.

        Args:
            frames: Pictures, such as `camera`, `video` and `folder` give.
            latest: Real time: a frame that waits gives its place to a newer one.
            in_flight: Frames that may be without an answer at once; 4, or 2 where only the latest counts.
            steadiness: How firmly depth is held from frame to frame, from 0 (not at all) to 1.
            frame_timeout_s: After which a frame is answered with an error.
            wire: As for `predict`.
            regions_of: Returns the regions of a frame, which is then answered with distances to them.
            pose_of: Returns the camera's pose at a frame, by which depth is held steadier still. It needs a
                lens and depth in metres.
            request_id: Of the stream; that of each frame is made of it.
            **wanted: As for `predict`.

        Raises:
            ServiceError: The stream cannot be opened, or broke; an error of a frame is in its result.
        """
        options = StreamOptions.of(
            latest=latest, in_flight=in_flight, steadiness=steadiness, frame_timeout_s=frame_timeout_s
        )
        call = options.call(self._caller.call(request_id=request_id), request_of(wire, wanted))
        window = Window(
            frames, self._caller.outgoing(regions_of, pose_of), most=options.in_flight, latest=latest
        )
        results = _results(window, self._transport.stream(call, window))
        _open_streams.add(results)
        return results

    def models(self, *, timeout_s: float | None = None) -> list[ModelDescription]:
        """Return every version of every model that can be asked for."""
        return self._patiently(self._caller.call(timeout_s=timeout_s), self._transport.models)

    def is_ready(self, *, timeout_s: float = 5.0) -> bool:
        """Return whether requests should be sent there, asking once."""
        try:
            self._transport.check_ready(self._caller.call(timeout_s=timeout_s))
        except Unavailable:
            return False
        return True

    def _depth(self, request: DepthRequest, timeout_s: float | None, request_id: str | None) -> DepthAnswer:
        call = self._caller.call(timeout_s=timeout_s, request_id=request_id)
        return self._patiently(depth_call(call, request), self._transport.depth)

    def _patiently(self, call: CallT, ask: Callable[[CallT], AnswerT]) -> AnswerT:
        attempt = 1
        while True:
            try:
                return ask(call)
            except ServiceError as error:
                delay_s = self._retry.delay_s(error, attempt, call.deadline_s - time.monotonic())
                if delay_s is None:
                    raise
            time.sleep(delay_s)
            attempt += 1


def _results(window: Window[PictureT], outcomes: Generator[Outcome]) -> Generator[FrameResult[PictureT]]:
    try:
        for index, outcome in enumerate(outcomes):
            yield frame_result(index, outcome, window.answered())
    finally:
        window.stop()
        outcomes.close()
    if window.failure is not None:
        raise window.failure


@atexit.register
def _end_streams() -> None:
    """End what a program leaves open; Python's teardown would wait for threads that no longer run."""
    for results in list(_open_streams):
        with suppress(ValueError):  # a daemon thread is in it
            results.close()
