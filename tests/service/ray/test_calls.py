"""gRPC calls as Ray hands them on, without a cluster."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

pytest.importorskip("ray", reason="Ray is not installed: pip install 'vfm-depth[ray]'")

from ray.serve.grpc_util import RayServegRPCContext

from service.contract.errors import Overloaded
from service.ray.calls import SERVICES, RayCalls, RefusedError
from service.ray.replica import Replica
from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb import inference_pb2 as inference_pb
from service.transports.auth import ApiKey, Keyring, hash_key
from service.transports.frontend import Frontend
from tests.service.echo import EchoEngine
from tests.service.opened import make_frontend

INFERENCE = "/inference.GRPCInferenceService"
PREDICT, STREAM = "/depth.v1.Depth/Predict", "/depth.v1.Depth/Stream"


def context(**metadata: str) -> RayServegRPCContext:
    """What Ray's proxy makes of a call with this metadata."""
    said = [(name.replace("_", "-"), value) for name, value in metadata.items()]
    nothing = dict.fromkeys(
        ("auth_context", "code", "details", "peer", "peer_identities", "peer_identity_key")
    )
    answers = nothing | {"invocation_metadata": said, "trailing_metadata": [("request_id", "rays")]}
    return RayServegRPCContext(
        SimpleNamespace(**{name: lambda value=value: value for name, value in answers.items()})
    )


def answering(frontend: Frontend) -> RayCalls:
    return RayCalls(frontend, version="1")


async def messages(*frames: int) -> AsyncIterator[pb.StreamRequest]:
    yield pb.StreamRequest(config=pb.StreamConfig())
    for frame in frames:
        yield pb.StreamRequest(frame=pb.Frame(id=frame, image=b"photo"))


async def test_a_call_is_answered_by_the_transports_own_servicer() -> None:
    engine, told = EchoEngine(), context(x_request_id="mine")
    answer = await answering(make_frontend(engine)).unary(PREDICT, pb.PredictRequest(image=b"photo"), told)
    assert answer.data == b"photo|png16|input"
    assert engine.requests[0].request_id == "mine"
    assert ("x-request-id", "mine") in told.trailing_metadata()
    assert not told.code()


async def test_a_refusal_keeps_the_details_that_clients_act_on() -> None:
    engine, told = EchoEngine(), context(x_request_id="mine")
    engine.error = Overloaded("too much is waiting", retry_after_s=2.5)
    answer = await answering(make_frontend(engine)).unary(PREDICT, pb.PredictRequest(image=b"photo"), told)
    assert answer.SerializeToString() == b""
    assert (told.code(), told.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "too much is waiting")
    trailing = dict(told.trailing_metadata())
    assert (trailing["request_id"], trailing["retry-after"]) == ("rays", "3")
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    kinds = {detail.type_url.split("/")[1] for detail in status.details}
    assert kinds == {
        error_details_pb2.RetryInfo.DESCRIPTOR.full_name,
        error_details_pb2.ErrorInfo.DESCRIPTOR.full_name,
    }


async def test_a_call_needs_a_key_where_the_transport_does() -> None:
    engine = EchoEngine()
    calls = answering(make_frontend(engine, Keyring([ApiKey(name="alice", digest=hash_key("secret"))])))
    without, wanted = context(), context(x_api_key="secret")
    await calls.unary(PREDICT, pb.PredictRequest(image=b"photo"), without)
    assert without.code() is grpc.StatusCode.UNAUTHENTICATED
    assert not engine.requests
    await calls.unary(PREDICT, pb.PredictRequest(image=b"photo"), wanted)
    assert len(engine.requests) == 1


async def test_frames_are_answered_in_their_order() -> None:
    calls = answering(make_frontend(EchoEngine()))
    answers = [answer async for answer in calls.stream(STREAM, messages(3, 1, 2), context())]
    assert [answer.frame_id for answer in answers] == [3, 1, 2]


async def test_a_refused_stream_says_its_status() -> None:
    async def nothing() -> AsyncIterator[pb.StreamRequest]:
        return
        yield

    told = context()
    with pytest.raises(RefusedError, match="without its config"):
        async for _ in answering(make_frontend(EchoEngine())).stream(STREAM, nothing(), told):
            pass
    assert told.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_slow_reader_holds_the_stream_back() -> None:
    engine = EchoEngine()
    frontend = make_frontend(engine, max_stream_frames=2)
    answers = answering(frontend).stream(STREAM, messages(*range(50)), context())
    assert (await anext(answers)).frame_id == 0
    for _ in range(200):  # turns of the loop, in which nobody reads
        await asyncio.sleep(0)
    assert len(engine.requests) < 10
    assert [answer.frame_id async for answer in answers] == [*range(1, 50)]


async def test_a_reader_who_leaves_ends_the_stream() -> None:
    frontend = make_frontend(EchoEngine())
    answers: Any = answering(frontend).stream(STREAM, messages(*range(50)), context())
    await anext(answers)
    assert len(frontend.streams) == 1
    await answers.aclose()
    assert len(frontend.streams) == 0


async def test_the_open_inference_protocol_is_answered_too() -> None:
    calls = answering(make_frontend(EchoEngine(), Keyring([ApiKey(name="alice", digest=hash_key("secret"))])))
    told = context()
    # Probes need no key, as on the gRPC transport.
    ready = await calls.unary(f"{INFERENCE}/ServerReady", inference_pb.ServerReadyRequest(), told)
    assert ready.ready
    assert not told.code()
    refused = context()
    await calls.unary(f"{INFERENCE}/ServerMetadata", inference_pb.ServerMetadataRequest(), refused)
    assert refused.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_replica_has_a_method_for_every_call() -> None:
    for service in SERVICES:
        for method in service.methods:
            answer = getattr(Replica, method.name)
            assert answer.__name__ == method.name
            assert "grpc_context" in inspect.signature(answer).parameters
            assert inspect.isasyncgenfunction(answer) == method.server_streaming
