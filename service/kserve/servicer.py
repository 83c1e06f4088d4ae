"""The protocol over gRPC: the service ``inference.GRPCInferenceService``.

It does not know models or codecs.
"""

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import grpc
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from service.auth import AdminKey, bearer_key
from service.doors import Doors
from service.engine import Adjust
from service.errors import NotReady, ServiceError, Unauthenticated
from service.kserve import repository
from service.kserve.contract import find, model_config, model_metadata, server_metadata
from service.kserve.infer import infer
from service.kserve.message_wire import read_call, write_answer
from service.kserve.statistics import model_statistics
from service.rpc.calls import Answering, remaining_s
from service.rpc.errors import Context, answer_of
from service.rpc.pb import inference_pb2 as pb
from service.rpc.pb.inference_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)
from service.streaming import Frame, FrameStream

DOOR = "kserve_grpc"
"""What this door is called in metrics."""
SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
OPEN_METHODS = tuple(f"/{SERVICE}/{method}" for method in ("ServerLive", "ServerReady", "Repository"))
"""What needs no API key: probes, and the admin calls, which have a key of their own."""
MessageT = TypeVar("MessageT", bound=Message)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked(Frame):
    """A request of a stream, in the place that a video's frame has."""

    request: pb.ModelInferRequest


class InferenceCalls(GRPCInferenceServiceServicer):
    """Answers the calls.

    Args:
        doors: What this door shares with the others.
        version: The service's own.
        admin_key: Opens the repository; there is none where None.
    """

    def __init__(self, doors: Doors, *, version: str, admin_key: AdminKey | None) -> None:
        self._doors = doors
        self._version = version
        self._admin_key = admin_key

    def add_to(self, server: grpc.aio.Server) -> list[str]:
        """Have a server answer these calls; return the service's full name."""
        add_GRPCInferenceServiceServicer_to_server(self, server)
        return [SERVICE]

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:
        """Say whether the process lives."""
        async with Answering(self._doors, context, "ServerLive"):
            return pb.ServerLiveResponse(live=self._doors.engine.live)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:
        """Say whether requests should be sent here."""
        async with Answering(self._doors, context, "ServerReady"):
            return pb.ServerReadyResponse(ready=self._doors.ready)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:
        """Say whether a model answers."""
        async with Answering(self._doors, context, "ModelReady"):
            info = find(self._doors.engine.models(), request.name, request.version)
            return pb.ModelReadyResponse(ready=info.state == "ready")

    async def ServerMetadata(
        self, request: pb.ServerMetadataRequest, context: Context
    ) -> pb.ServerMetadataResponse:
        """Say what this server is."""
        async with Answering(self._doors, context, "ServerMetadata"):
            said = server_metadata(self._version, admin=self._admin_key is not None)
            return _message(said, pb.ServerMetadataResponse())

    async def ModelMetadata(
        self, request: pb.ModelMetadataRequest, context: Context
    ) -> pb.ModelMetadataResponse:
        """Say which tensors a model takes and gives."""
        async with Answering(self._doors, context, "ModelMetadata"):
            infos = self._doors.engine.models()
            info = find(infos, request.name, request.version)
            return _message(model_metadata(info, infos), pb.ModelMetadataResponse())

    async def ModelConfig(self, request: pb.ModelConfigRequest, context: Context) -> pb.ModelConfigResponse:
        """Say how a model is served."""
        async with Answering(self._doors, context, "ModelConfig"):
            info = find(self._doors.engine.models(), request.name, request.version)
            config = model_config(info, self._doors.settings)
            return _message({"config": config}, pb.ModelConfigResponse())

    async def ModelStatistics(
        self, request: pb.ModelStatisticsRequest, context: Context
    ) -> pb.ModelStatisticsResponse:
        """Say what models have done."""
        async with Answering(self._doors, context, "ModelStatistics"):
            infos = self._doors.engine.models()
            if request.name:
                infos = [find(infos, request.name, request.version)]
            return _message(model_statistics(infos), pb.ModelStatisticsResponse())

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:
        """Answer a batch of images."""
        async with Answering(self._doors, context, "ModelInfer"):
            deadline_s = self._doors.deadline_s(remaining_s(context))
            return await self._infer(request, deadline_s)

    async def ModelStreamInfer(  # type: ignore[override]
        self, request_iterator: AsyncIterable[pb.ModelInferRequest], context: Context
    ) -> None:
        """Answer requests in the order in which they came."""
        async with Answering(self._doors, context, "ModelStreamInfer") as call:
            options = self._doors.stream_options(latest=False, smoothing=0.0, max_in_flight=None)
            stream = FrameStream(_asked(request_iterator), self._answer, options)
            with self._doors.streams.admit(stream, DOOR):
                async with stream:
                    async for result in stream:
                        response = result.answer or _failed(result.error)
                        await call.write(response)
            if stream.drained:
                raise NotReady(
                    "the server is closing; every request that it took is answered", retry_after_s=1.0
                )

    async def RepositoryIndex(
        self, request: pb.RepositoryIndexRequest, context: Context
    ) -> pb.RepositoryIndexResponse:
        """List the models."""
        async with Answering(self._doors, context, "RepositoryIndex"):
            self._check_admin(context)
            models = await repository.index(self._doors, only_ready=request.ready)
            return _message({"models": models}, pb.RepositoryIndexResponse())

    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: Context
    ) -> pb.RepositoryModelLoadResponse:
        """Load a model from its files."""
        async with Answering(self._doors, context, "RepositoryModelLoad"):
            self._check_admin(context)
            await repository.load(self._doors, request.model_name, request.parameters)
            return pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: Context
    ) -> pb.RepositoryModelUnloadResponse:
        """Let a model go."""
        async with Answering(self._doors, context, "RepositoryModelUnload"):
            self._check_admin(context)
            await repository.unload(self._doors, request.model_name, request.parameters)
            return pb.RepositoryModelUnloadResponse()

    async def _infer(
        self, request: pb.ModelInferRequest, deadline_s: float, *, final: bool | None = None
    ) -> pb.ModelInferResponse:
        with self._doors.budget.share(DOOR) as share, self._doors.answers.share(DOOR) as held:
            share.take(sum(map(len, request.raw_input_contents)))
            call = read_call(request)
            raw = call.binary_output(default=True)
            answer = await infer(self._doors, call, held, door=DOOR, deadline_s=deadline_s)
        most_numbers = self._doors.settings.json_max_pixels
        return write_answer(answer, raw=raw, most_numbers=most_numbers, final=final)

    async def _answer(self, asked: Frame, adjust: Adjust | None) -> pb.ModelStreamInferResponse:
        """Answer a request of a stream; what fails is told in its place, under its id."""
        request = cast(_Asked, asked).request
        try:
            answer = await self._infer(request, self._doors.deadline_s(None), final=True)
        except ServiceError as error:
            return _failed(error, request)
        return pb.ModelStreamInferResponse(infer_response=answer)

    def _check_admin(self, context: Context) -> None:
        if self._admin_key is None:
            raise Unauthenticated("this server has no admin key, so nobody may ask this of it")
        metadata: Mapping[str, Any] = dict(context.invocation_metadata() or ())
        self._admin_key.check(bearer_key(metadata.get("authorization"), metadata.get("x-api-key")))


async def _asked(requests: AsyncIterable[pb.ModelInferRequest]) -> AsyncIterator[Frame]:
    number = 0
    async for request in requests:
        yield _Asked(id=number, image=b"", request=request)
        number += 1


def _failed(
    error: Exception | None, request: pb.ModelInferRequest | None = None
) -> pb.ModelStreamInferResponse:
    told = answer_of(error or RuntimeError("a request was neither answered nor refused"))
    response = pb.ModelStreamInferResponse(error_message=told.message)
    response.infer_response.id = "" if request is None else request.id
    return response


def _message(said: Mapping[str, Any], message: MessageT) -> MessageT:
    return ParseDict(dict(said), message)
