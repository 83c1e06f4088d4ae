"""Questions over gRPC, one channel for many."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any, cast
from weakref import finalize

import grpc
import grpc.aio

from depth_client import depth_pb2 as pb
from depth_client.connection import Connection
from depth_client.contract import DepthAnswer, SparseDepth, write_regions
from depth_client.grpc_wire import (
    FailedCall,
    answer_of,
    error_answer,
    metadata_of,
    models_of,
    not_serving,
    options_of,
    outcome_of,
)
from depth_client.outgoing import Outgoing
from depth_client.question import Call, DepthCall, StreamCall
from depth_client.result import ModelDescription, Outcome

_OPTIONS = (
    # The defaults are 4 MiB, which float32 maps and large photographs exceed.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A service that was restarted is found again within moments, rather than minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)
_HEALTH = "/grpc.health.v1.Health/Check"
_SERVING = b"\x08\x01"
"""A HealthCheckResponse with the status SERVING; not worth a package of its own."""


class _Stub:
    """The methods of depth.v1.Depth on a channel, waited for or awaited."""

    def __init__(self, channel: Any) -> None:
        self.predict = _method(channel.unary_unary, "Predict", pb.PredictRequest, pb.PredictResponse)
        self.list_models = _method(
            channel.unary_unary, "ListModels", pb.ListModelsRequest, pb.ListModelsResponse
        )
        self.stream = _method(channel.stream_stream, "Stream", pb.StreamRequest, pb.StreamResponse)


def _method(kind: Any, name: str, request: Any, response: Any) -> Any:
    """Return a method of the service; generated stubs would import the package `service`."""
    path = f"/depth.v1.Depth/{name}"
    return kind(path, request_serializer=request.SerializeToString, response_deserializer=response.FromString)


def _as_is(message: bytes) -> bytes:
    return message


def _credentials(connection: Connection) -> grpc.ChannelCredentials:
    tls = connection.tls
    return grpc.ssl_channel_credentials(
        root_certificates=None if tls.ca is None else tls.ca.read_bytes(),
        private_key=None if tls.key is None else tls.key.read_bytes(),
        certificate_chain=None if tls.cert is None else tls.cert.read_bytes(),
    )


def _predict_request(call: DepthCall) -> pb.PredictRequest:
    image = call.request.image
    body = image if isinstance(image, bytes) else image.tobytes()
    request = pb.PredictRequest(image=body, options=options_of(call.request))
    if isinstance(sparse := call.request.anchor, SparseDepth):
        request.sparse_depth.png, request.sparse_depth.steps_per_metre = sparse.png, sparse.steps_per_metre
    if call.request.regions is not None:
        write_regions(call.request.regions, request.regions)
    return request


def _opening(call: StreamCall) -> pb.StreamRequest:
    config = pb.StreamConfig(
        options=options_of(call.request),
        mode=pb.MODE_EVERY_FRAME,  # frames that nobody waits for are left out before they are sent
        steadiness=call.steadiness,
        frame_timeout_ms=round((call.frame_timeout_s or 0) * 1e3),
    )
    return pb.StreamRequest(config=config)


def _frame(number: int, sent: Outgoing) -> pb.StreamRequest:
    frame = pb.Frame(id=number, image=sent.image, pose=None if sent.pose is None else sent.pose.numbers)
    if sent.regions is not None:
        write_regions(sent.regions, frame.regions)
    return pb.StreamRequest(frame=frame)


class GrpcTransport:
    """Asks over gRPC, from any thread."""

    def __init__(self, connection: Connection) -> None:
        options = (*_OPTIONS, ("grpc.min_reconnect_backoff_ms", round(connection.connect_timeout_s * 1e3)))
        if connection.is_encrypted:
            self._channel = grpc.secure_channel(connection.host, _credentials(connection), options)
        else:
            self._channel = grpc.insecure_channel(connection.host, options)
        # At the end of the process too: in Python's teardown it would wait for a thread that no longer runs.
        self._close = finalize(self, self._channel.close)
        self._stub = _Stub(self._channel)
        self._health = self._channel.unary_unary(_HEALTH, _as_is, _as_is)

    def depth(self, call: DepthCall) -> DepthAnswer:
        """Ask for the depth of one picture, once."""
        return answer_of(self._ask(self._stub.predict, _predict_request(call), call))

    def models(self, call: Call) -> list[ModelDescription]:
        """Ask for every model, once."""
        return models_of(self._ask(self._stub.list_models, pb.ListModelsRequest(), call))

    def check_ready(self, call: Call) -> None:
        """Return where the service is ready."""
        if self._ask(self._health, b"", call) != _SERVING:
            raise not_serving()

    def stream(self, call: StreamCall, frames: Iterator[Outgoing]) -> Generator[Outcome]:
        """Yield what became of each frame."""

        def requests() -> Iterator[pb.StreamRequest]:
            yield _opening(call)
            for number, sent in enumerate(frames):
                yield _frame(number, sent)

        running = self._stub.stream(requests(), metadata=metadata_of(call.headers))
        try:
            for response in running:
                yield outcome_of(response)
        except grpc.RpcError as error:
            raise error_answer(cast(FailedCall, error), call.request_id) from error
        finally:
            running.cancel()

    def close(self) -> None:
        """Let go of the channel."""
        self._close()

    def _ask(self, method: Any, request: Any, call: Call) -> Any:
        try:
            return method(request, timeout=call.remaining_s(), metadata=metadata_of(call.headers))
        except grpc.RpcError as error:
            raise error_answer(cast(FailedCall, error), call.request_id) from error


class AsyncGrpcTransport:
    """Asks over gRPC, in one event loop."""

    def __init__(self, connection: Connection) -> None:
        options = (*_OPTIONS, ("grpc.min_reconnect_backoff_ms", round(connection.connect_timeout_s * 1e3)))
        if connection.is_encrypted:
            self._channel = grpc.aio.secure_channel(connection.host, _credentials(connection), options)
        else:
            self._channel = grpc.aio.insecure_channel(connection.host, options)
        self._stub = _Stub(self._channel)
        self._health: Any = self._channel.unary_unary(_HEALTH, _as_is, _as_is)

    async def depth(self, call: DepthCall) -> DepthAnswer:
        """Ask for the depth of one picture, once."""
        return answer_of(await self._ask(self._stub.predict, _predict_request(call), call))

    async def models(self, call: Call) -> list[ModelDescription]:
        """Ask for every model, once."""
        return models_of(await self._ask(self._stub.list_models, pb.ListModelsRequest(), call))

    async def check_ready(self, call: Call) -> None:
        """Return where the service is ready."""
        if await self._ask(self._health, b"", call) != _SERVING:
            raise not_serving()

    async def stream(self, call: StreamCall, frames: AsyncIterator[Outgoing]) -> AsyncGenerator[Outcome]:
        """Yield what became of each frame."""

        async def requests() -> AsyncIterator[pb.StreamRequest]:
            yield _opening(call)
            number = 0
            async for sent in frames:
                yield _frame(number, sent)
                number += 1

        running = self._stub.stream(requests(), metadata=metadata_of(call.headers))
        try:
            async for response in running:
                yield outcome_of(response)
        except grpc.aio.AioRpcError as error:
            raise error_answer(error, call.request_id) from error
        finally:
            running.cancel()

    async def close(self) -> None:
        """Let go of the channel."""
        await self._channel.close()

    async def _ask(self, method: Any, request: Any, call: Call) -> Any:
        try:
            return await method(request, timeout=call.remaining_s(), metadata=metadata_of(call.headers))
        except grpc.aio.AioRpcError as error:
            raise error_answer(error, call.request_id) from error
