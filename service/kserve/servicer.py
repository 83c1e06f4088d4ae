"""The protocol over gRPC: the service ``inference.GRPCInferenceService``."""

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar, cast

import grpc
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from service.contract.errors import NotReady, ServiceError, Unauthenticated, UnknownModel
from service.contract.options import LiveOptions
from service.engine import Turn
from service.kserve import repository
from service.kserve.contract import find, model_config, model_metadata, server_metadata
from service.kserve.infer import infer, owner
from service.kserve.message_wire import read_call, write_answer
from service.kserve.statistics import model_statistics
from service.rpc.calls import Answering, remaining_s
from service.rpc.errors import Context, answer_of
from service.rpc.pb import inference_pb2 as pb
from service.rpc.pb.inference_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)
from service.scheduling.budget import Share
from service.transports.auth import AdminKey, bearer_key
from service.transports.frontend import Frontend, current_answers, current_bodies, current_message_bytes
from service.transports.shared_memory import Region
from service.transports.streaming import Frame, FrameStream, StreamShares
from service.transports.threads import by_size

TRANSPORT = "kserve_grpc"
"""What this transport is called in metrics."""
SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
OPEN_METHODS = tuple(f"/{SERVICE}/{method}" for method in ("ServerLive", "ServerReady", "Repository"))
"""What needs no API key: probes, and the admin calls, which have a key of their own."""
MessageT = TypeVar("MessageT", bound=Message)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked(Frame):
    """A request of a stream, in the place that a video's frame has."""

    request: pb.ModelInferRequest


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answered:
    """What a request of a stream is answered with."""

    response: pb.ModelStreamInferResponse
    size: int
    """Of its depth, in bytes."""


class InferenceCalls(GRPCInferenceServiceServicer):
    """Answers the calls.

    Args:
        transports: What this transport shares with the others.
        version: The service's own.
        admin_key: Opens the repository; there is none where None.
    """

    def __init__(self, frontend: Frontend, *, version: str, admin_key: AdminKey | None) -> None:
        self._frontend = frontend
        self._version = version
        self._admin_key = admin_key

    def add_to(self, server: grpc.aio.Server) -> list[str]:
        """Have a server answer these calls; return the service's full name."""
        add_GRPCInferenceServiceServicer_to_server(self, server)
        return [SERVICE]

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:
        """Say whether the process lives."""
        async with Answering(self._frontend, context, "ServerLive"):
            return pb.ServerLiveResponse(live=self._frontend.engine.live)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:
        """Say whether requests should be sent here."""
        async with Answering(self._frontend, context, "ServerReady"):
            return pb.ServerReadyResponse(ready=self._frontend.ready)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:
        """Say whether a model answers."""
        async with Answering(self._frontend, context, "ModelReady"):
            try:
                info = find(self._frontend.engine.models(), request.name, request.version)
            except UnknownModel:  # clients that unload a model ask so whether it has gone
                return pb.ModelReadyResponse(ready=False)
            return pb.ModelReadyResponse(ready=info.state == "ready")

    async def ServerMetadata(
        self, request: pb.ServerMetadataRequest, context: Context
    ) -> pb.ServerMetadataResponse:
        """Say what this server is."""
        async with Answering(self._frontend, context, "ServerMetadata"):
            said = server_metadata(
                self._version,
                admin=self._admin_key is not None,
                shared_memory=self._frontend.regions.on,
            )
            return _message(said, pb.ServerMetadataResponse())

    async def ModelMetadata(
        self, request: pb.ModelMetadataRequest, context: Context
    ) -> pb.ModelMetadataResponse:
        """Say which tensors a model takes and gives."""
        async with Answering(self._frontend, context, "ModelMetadata"):
            infos = self._frontend.engine.models()
            info = find(infos, request.name, request.version)
            metadata = dict(model_metadata(info, infos))
            del metadata["properties"]  # one field to KServe and another to MLServer
            return _message(metadata, pb.ModelMetadataResponse())

    async def ModelConfig(self, request: pb.ModelConfigRequest, context: Context) -> pb.ModelConfigResponse:
        """Say how a model is served."""
        async with Answering(self._frontend, context, "ModelConfig"):
            info = find(self._frontend.engine.models(), request.name, request.version)
            config = model_config(info, self._frontend.settings)
            return _message({"config": config}, pb.ModelConfigResponse())

    async def ModelStatistics(
        self, request: pb.ModelStatisticsRequest, context: Context
    ) -> pb.ModelStatisticsResponse:
        """Say what models have done."""
        async with Answering(self._frontend, context, "ModelStatistics"):
            infos = self._frontend.engine.models()
            if request.name:
                infos = [find(infos, request.name, request.version)]
            return _message(model_statistics(infos), pb.ModelStatisticsResponse())

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:
        """Handle a batch of images."""
        async with Answering(self._frontend, context, "ModelInfer"):
            deadline_s = self._frontend.deadline_s(remaining_s(context))
            held = current_answers.get()
            return await self._infer(request, held, deadline_s, size=current_bodies.get().held_bytes)

    async def ModelStreamInfer(  # type: ignore[override]
        self, request_iterator: AsyncIterable[pb.ModelInferRequest], context: Context
    ) -> None:
        """Handle requests in the order in which they came."""
        async with Answering(self._frontend, context, "ModelStreamInfer") as call:
            options = self._frontend.stream_options(LiveOptions())
            shares = StreamShares(
                bodies=current_bodies.get(), answers=current_answers.get(), size_of=_size_of
            )
            stream = FrameStream(_asked(request_iterator), self._answer, options, shares)
            with self._frontend.streams.admit(stream, TRANSPORT):
                async with stream:
                    async for result in stream:
                        answer = result.answer
                        await call.write(_failed(result.error) if answer is None else answer.response)
            if stream.drained:
                raise NotReady(
                    "the server is closing; every request that it took is answered", retry_after_s=1.0
                )

    async def SystemSharedMemoryStatus(
        self, request: pb.SystemSharedMemoryStatusRequest, context: Context
    ) -> pb.SystemSharedMemoryStatusResponse:
        """List the caller's regions."""
        async with Answering(self._frontend, context, "SystemSharedMemoryStatus"):
            regions = self._frontend.regions.listed(owner(), request.name)
            said = {region.name: asdict(region) for region in regions}
            return _message({"regions": said}, pb.SystemSharedMemoryStatusResponse())

    async def SystemSharedMemoryRegister(
        self, request: pb.SystemSharedMemoryRegisterRequest, context: Context
    ) -> pb.SystemSharedMemoryRegisterResponse:
        """Remember a region."""
        async with Answering(self._frontend, context, "SystemSharedMemoryRegister"):
            region = Region(
                name=request.name, key=request.key, offset=request.offset, byte_size=request.byte_size
            )
            self._frontend.regions.register(owner(), region)
            return pb.SystemSharedMemoryRegisterResponse()

    async def SystemSharedMemoryUnregister(
        self, request: pb.SystemSharedMemoryUnregisterRequest, context: Context
    ) -> pb.SystemSharedMemoryUnregisterResponse:
        """Forget a region, or all of the caller's."""
        async with Answering(self._frontend, context, "SystemSharedMemoryUnregister"):
            self._frontend.regions.unregister(owner(), request.name)
            return pb.SystemSharedMemoryUnregisterResponse()

    async def RepositoryIndex(
        self, request: pb.RepositoryIndexRequest, context: Context
    ) -> pb.RepositoryIndexResponse:
        """List the models."""
        async with Answering(self._frontend, context, "RepositoryIndex"):
            self._check_admin(context)
            models = await repository.index(self._frontend, only_ready=request.ready)
            return _message({"models": models}, pb.RepositoryIndexResponse())

    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: Context
    ) -> pb.RepositoryModelLoadResponse:
        """Load a model from its files."""
        async with Answering(self._frontend, context, "RepositoryModelLoad"):
            self._check_admin(context)
            await repository.load(self._frontend, request.model_name, request.parameters)
            return pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: Context
    ) -> pb.RepositoryModelUnloadResponse:
        """Let a model go."""
        async with Answering(self._frontend, context, "RepositoryModelUnload"):
            self._check_admin(context)
            await repository.unload(self._frontend, request.model_name, request.parameters)
            return pb.RepositoryModelUnloadResponse()

    async def _infer(
        self,
        request: pb.ModelInferRequest,
        held: Share,
        deadline_s: float,
        *,
        size: int,
        final: bool | None = None,
    ) -> pb.ModelInferResponse:
        settings = self._frontend.settings
        call = await by_size(size, read_call, request, most_images=settings.max_images_per_call)
        raw = call.binary_output(default=True)
        answer = await infer(self._frontend, call, held, transport=TRANSPORT, deadline_s=deadline_s)
        return await by_size(
            held.held_bytes,
            write_answer,
            answer,
            raw=raw,
            most_numbers=settings.json_max_pixels,
            final=final,
        )

    async def _answer(self, asked: Frame, turn: Turn | None) -> _Answered:
        """Handle a request of a stream; what fails is told in its place, under its id."""
        request = cast(_Asked, asked).request
        with self._frontend.answer_share(TRANSPORT) as held:
            try:
                answer = await self._infer(
                    request, held, self._frontend.deadline_s(None), size=asked.held_bytes, final=True
                )
            except ServiceError as error:
                return _Answered(response=_failed(error, request), size=0)
            response = await by_size(held.held_bytes, _in_stream, answer)
            return _Answered(response=response, size=held.held_bytes)

    def _check_admin(self, context: Context) -> None:
        if self._admin_key is None:
            raise Unauthenticated("this server has no admin key, so nobody may ask this of it")
        metadata: Mapping[str, Any] = dict(context.invocation_metadata() or ())
        self._admin_key.check(bearer_key(metadata.get("authorization"), metadata.get("x-api-key")))


async def _asked(requests: AsyncIterable[pb.ModelInferRequest]) -> AsyncIterator[Frame]:
    number = 0
    async for request in requests:
        held_bytes = current_message_bytes.get()
        yield _Asked(id=number, image=b"", request=request, held_bytes=held_bytes)
        number += 1


def _size_of(answered: _Answered) -> int:
    return answered.size


def _in_stream(answer: pb.ModelInferResponse) -> pb.ModelStreamInferResponse:
    return pb.ModelStreamInferResponse(infer_response=answer)


def _failed(
    error: Exception | None, request: pb.ModelInferRequest | None = None
) -> pb.ModelStreamInferResponse:
    told = answer_of(error or RuntimeError("a request was neither answered nor refused"))
    response = pb.ModelStreamInferResponse(error_message=told.message)
    response.infer_response.id = "" if request is None else request.id
    return response


def _message(said: Mapping[str, Any], message: MessageT) -> MessageT:
    return ParseDict(dict(said), message)
