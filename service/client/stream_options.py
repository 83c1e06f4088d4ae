"""How a stream is asked for, and its results from what came over the wire.

It does not know how frames travel.
"""

from dataclasses import dataclass
from typing import Self, TypeVar

from service.client.errors import InvalidArgument, UnreadableAnswer
from service.client.question import Call, StreamCall
from service.client.result import FrameResult, Outcome, result_of
from service.client.window import Sent
from service.request import DepthRequest

_IN_FLIGHT = 4
_IN_FLIGHT_OF_LATEST = 2
"""One in the network and one before it keep the service busy; more would only grow old."""
FrameT = TypeVar("FrameT")


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """How one stream is asked for."""

    in_flight: int
    smoothing: float
    frame_timeout_s: float | None

    def __post_init__(self) -> None:
        if self.in_flight < 1:
            raise InvalidArgument(f"in_flight is {self.in_flight}; expected at least 1")
        if not 0 <= self.smoothing < 1:
            raise InvalidArgument(f"smoothing is {self.smoothing}; expected at least 0 and less than 1")
        if self.frame_timeout_s is not None and not self.frame_timeout_s > 0:
            raise InvalidArgument(f"frame_timeout_s is {self.frame_timeout_s}; expected more than 0")

    @classmethod
    def of(
        cls, *, latest: bool, in_flight: int | None, smoothing: float, frame_timeout_s: float | None
    ) -> Self:
        """Choose what was left open."""
        usual = _IN_FLIGHT_OF_LATEST if latest else _IN_FLIGHT
        return cls(
            in_flight=usual if in_flight is None else in_flight,
            smoothing=smoothing,
            frame_timeout_s=frame_timeout_s,
        )

    def call(self, call: Call, request: DepthRequest) -> StreamCall:
        """Ask for a stream."""
        return StreamCall(
            headers=call.headers,
            deadline_s=call.deadline_s,
            request=request,
            smoothing=self.smoothing,
            frame_timeout_s=self.frame_timeout_s,
        )


def frame_result(index: int, outcome: Outcome, sent: Sent[FrameT] | None) -> FrameResult[FrameT]:
    """Put a frame and what became of it together.

    Raises:
        UnreadableAnswer: The service answered another frame than was due.
    """
    if sent is None or outcome.index != index:
        raise UnreadableAnswer(f"frame {outcome.index} was answered where {index} was due")
    return FrameResult(
        index=index,
        frame=sent.frame,
        result=None if outcome.answer is None else result_of(outcome.answer),
        error=outcome.error,
        skipped=sent.skipped,
        smoothing_factor=outcome.smoothing_factor,
    )
