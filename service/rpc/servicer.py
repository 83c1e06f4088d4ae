"""The service ``depth.v1.Depth``: one image, a video, the list of models."""

from collections.abc import AsyncIterable, AsyncIterator

from service.contract.answer import DepthAnswer
from service.contract.errors import InvalidArgument, NotReady
from service.contract.pose import Pose
from service.contract.request import DepthRequest
from service.rpc.calls import TRANSPORT, Answering, remaining_s
from service.rpc.convert import (
    depth_fields,
    live_options,
    picture_fields,
    to_model,
    to_response,
    to_stream_response,
)
from service.rpc.errors import Context
from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthServicer
from service.telemetry.logs import current_request_id
from service.transports.auth import current_caller
from service.transports.frontend import Frontend, current_answers, current_bodies, current_message_bytes
from service.transports.streaming import Frame, FrameStream, StreamShares
from service.transports.threads import by_size


class DepthCalls(DepthServicer):
    """Answers the calls."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    async def Predict(self, request: pb.PredictRequest, context: Context) -> pb.PredictResponse:
        """Handle one image."""
        async with Answering(self._frontend, context, "Predict"):
            current_caller.get().charge(1)
            if not request.image:
                raise InvalidArgument(
                    "the image is empty; expected the bytes of a JPEG, PNG, WebP or AVIF file"
                )
            wanted = DepthRequest(
                image=request.image,
                deadline_s=self._frontend.deadline_s(remaining_s(context)),
                request_id=current_request_id.get() or "",
                transport=TRANSPORT,
                **{**depth_fields(request.options), **picture_fields(request)},
            )
            answer = await self._frontend.answer(wanted, current_answers.get())
            return await by_size(len(answer.body), to_response, answer)

    async def Stream(  # type: ignore[override]
        self, request_iterator: AsyncIterable[pb.StreamRequest], context: Context
    ) -> None:
        """Handle the frames of one video."""
        async with Answering(self._frontend, context, "Stream") as call:
            messages = aiter(request_iterator)
            stream = await self._open(messages)
            with self._frontend.streams.admit(stream, TRANSPORT):
                async with stream:
                    async for result in stream:
                        await call.write(await by_size(result.held_bytes, to_stream_response, result))
            if stream.drained:
                raise NotReady(
                    "the server is closing; every frame that it took is answered", retry_after_s=1.0
                )

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """Say which models can be asked for."""
        async with Answering(self._frontend, context, "ListModels"):
            models = [to_model(info) for info in self._frontend.engine.models()]
            return pb.ListModelsResponse(models=models)

    async def _open(self, messages: AsyncIterator[pb.StreamRequest]) -> FrameStream[DepthAnswer]:
        idle_timeout_s = self._frontend.settings.stream_idle_timeout_s
        first = await self._frontend.streams.opening(messages, TRANSPORT, idle_timeout_s)
        if first is None or first.WhichOneof("message") != "config":
            raise InvalidArgument("the stream begins without its config; expected it in the first message")
        shares = StreamShares[DepthAnswer](
            bodies=current_bodies.get(),
            answers=current_answers.get(),
            size_of=lambda answer: len(answer.body),
        )
        return self._frontend.frame_stream(
            _frames(messages), live_options(first.config), shares, transport=TRANSPORT
        )


async def _frames(messages: AsyncIterator[pb.StreamRequest]) -> AsyncIterator[Frame]:
    async for message in messages:
        if message.WhichOneof("message") != "frame":
            raise InvalidArgument("a message after the first brings no frame; expected one")
        held_bytes = current_message_bytes.get()
        frame = message.frame
        yield Frame(
            id=frame.id,
            image=frame.image,
            held_bytes=held_bytes,
            wanted=picture_fields(frame),
            pose=Pose(tuple(frame.pose)) if frame.pose else None,
        )
