"""The service ``depth.v1.Depth``: one image, a video, the list of models.

It does not know models or codecs.
"""

from collections.abc import AsyncIterable, AsyncIterator

from service.answer import DepthAnswer
from service.auth import current_caller
from service.doors import Doors
from service.errors import InvalidArgument, NotReady
from service.logs import current_request_id
from service.request import DepthRequest
from service.rpc.calls import DOOR, Answering, remaining_s
from service.rpc.convert import depth_options, to_model, to_response, to_stream_response
from service.rpc.errors import Context
from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthServicer
from service.streaming import Frame, FrameStream


class DepthCalls(DepthServicer):
    """Answers the calls."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    async def Predict(self, request: pb.PredictRequest, context: Context) -> pb.PredictResponse:
        """Answer one image."""
        async with Answering(self._doors, context, "Predict"):
            current_caller.get().charge(1)
            if not request.image:
                raise InvalidArgument("the image is empty; expected the bytes of a JPEG, PNG or WebP file")
            with self._doors.budget.share(DOOR) as share:
                share.take(len(request.image))
                answer = await self._doors.engine.depth(
                    DepthRequest(
                        image=request.image,
                        deadline_s=self._doors.deadline_s(remaining_s(context)),
                        request_id=current_request_id.get() or "",
                        door=DOOR,
                        **depth_options(request.options),
                    )
                )
            return to_response(answer)

    async def Stream(  # type: ignore[override]
        self, request_iterator: AsyncIterable[pb.StreamRequest], context: Context
    ) -> None:
        """Answer the frames of one video."""
        async with Answering(self._doors, context, "Stream") as call:
            messages = aiter(request_iterator)
            stream = await self._open(messages)
            with self._doors.streams.admit(stream, DOOR):
                async with stream:
                    async for result in stream:
                        await call.write(to_stream_response(result))
            if stream.drained:
                raise NotReady(
                    "the server is closing; every frame that it took is answered", retry_after_s=1.0
                )

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """Say which models can be asked for."""
        async with Answering(self._doors, context, "ListModels"):
            models = [to_model(info) for info in self._doors.engine.models()]
            return pb.ListModelsResponse(models=models)

    async def _open(self, messages: AsyncIterator[pb.StreamRequest]) -> FrameStream[DepthAnswer]:
        idle_timeout_s = self._doors.settings.stream_idle_timeout_s
        first = await self._doors.streams.opening(messages, DOOR, idle_timeout_s)
        if first is None or first.WhichOneof("message") != "config":
            raise InvalidArgument("the stream begins without its config; expected it in the first message")
        config = first.config
        if config.mode not in pb.Mode.values():
            raise InvalidArgument(f"mode is {config.mode}; expected a value of depth.v1.Mode")
        return FrameStream(
            _frames(messages),
            self._doors.frame_answerer(
                door=DOOR,
                options=depth_options(config.options),
                timeout_s=config.frame_timeout_ms / 1e3 or None,
            ),
            self._doors.stream_options(
                latest=config.mode == pb.MODE_LATEST_FRAME,
                smoothing=config.scale_smoothing,
                max_in_flight=config.max_in_flight or None,
            ),
        )


async def _frames(messages: AsyncIterator[pb.StreamRequest]) -> AsyncIterator[Frame]:
    async for message in messages:
        if message.WhichOneof("message") != "frame":
            raise InvalidArgument("a message after the first brings no frame; expected one")
        yield Frame(id=message.frame.id, image=message.frame.image)
