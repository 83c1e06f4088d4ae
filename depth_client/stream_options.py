"""How a stream is asked for, and its results from what came over the wire."""

from dataclasses import dataclass
from typing import Self, TypeVar

from depth_client.contract import DepthRequest
from depth_client.errors import InvalidArgument, UnreadableAnswer
from depth_client.question import Call, StreamCall
from depth_client.result import FrameResult, Outcome, distances_result, result_of
from depth_client.window import Sent

_IN_FLIGHT = 4
_IN_FLIGHT_OF_LATEST = 2
"""One in the network and one before it keep the service busy; more would only grow old."""
FrameT = TypeVar("FrameT")


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """How one stream is asked for."""

    in_flight: int
    steadiness: float
    frame_timeout_s: float | None

    def __post_init__(self) -> None:
        if self.in_flight < 1:
            raise InvalidArgument(f"in_flight is {self.in_flight}; expected at least 1")
        if not 0 <= self.steadiness <= 1:
            raise InvalidArgument(f"steadiness is {self.steadiness}; expected a weight from 0 to 1")
        if self.frame_timeout_s is not None and not self.frame_timeout_s > 0:
            raise InvalidArgument(f"frame_timeout_s is {self.frame_timeout_s}; expected more than 0")

    @classmethod
    def of(
        cls, *, latest: bool, in_flight: int | None, steadiness: float, frame_timeout_s: float | None
    ) -> Self:
        """Choose what was left open."""
        usual = _IN_FLIGHT_OF_LATEST if latest else _IN_FLIGHT
        return cls(
            in_flight=usual if in_flight is None else in_flight,
            steadiness=steadiness,
            frame_timeout_s=frame_timeout_s,
        )

    def call(self, call: Call, request: DepthRequest) -> StreamCall:
        """Ask for a stream."""
        return StreamCall(
            headers=call.headers,
            deadline_s=call.deadline_s,
            request=request,
            steadiness=self.steadiness,
            frame_timeout_s=self.frame_timeout_s,
        )


def frame_result(index: int, outcome: Outcome, sent: Sent[FrameT] | None) -> FrameResult[FrameT]:
    """Put a frame and what became of it together.

    Raises:
        UnreadableAnswer: The service answered another frame than was due.
    """
    if sent is None or outcome.index != index:
        raise UnreadableAnswer(f"frame {outcome.index} was answered where {index} was due")
    answer = outcome.answer
    measured = answer is not None and answer.distances is not None
    return FrameResult(
        index=index,
        frame=sent.frame,
        result=None if answer is None or measured else result_of(answer),
        distances=distances_result(answer) if answer is not None and measured else None,
        error=outcome.error,
        skipped=sent.skipped,
    )
