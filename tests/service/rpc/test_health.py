import asyncio
import socket

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2

from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthStub
from service.rpc.server import RpcServer
from service.transports.auth import ApiKey, Keyring, hash_key
from tests.service.echo import EchoEngine
from tests.service.opened import grpc_channel, make_frontend

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def check(channel: grpc.aio.Channel, service: str = "") -> int:
    return (await HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))).status


async def test_health_is_the_engine_s_readiness_and_needs_no_key() -> None:
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("right"))])
    async with grpc_channel(make_frontend(EchoEngine(), keyring)) as channel:
        assert await check(channel) == SERVING
        assert await check(channel, "depth.v1.Depth") == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await check(channel, "no.such.Service")
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_an_ipv6_address_is_listened_on() -> None:
    if not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    server = RpcServer(make_frontend(EchoEngine(), host="::1"))
    port = await server.start()
    async with grpc.aio.insecure_channel(f"[::1]:{port}") as channel:
        assert await check(channel) == SERVING
    await server.stop()


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def test_an_engine_that_loads_is_not_serving() -> None:
    engine = EchoEngine()
    engine.ready = False
    async with grpc_channel(make_frontend(engine)) as channel:
        assert await check(channel) == NOT_SERVING


async def test_watchers_hear_of_every_change_and_of_the_end() -> None:
    engine = EchoEngine()
    frontend = make_frontend(engine)
    server = RpcServer(frontend)
    port = await server.start()
    engine.on_ready_change(lambda _: server.announce_soon(ready=frontend.ready))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(30):
        watch = HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING
        engine.become(ready=False)
        assert (await watch.read()).status == NOT_SERVING
        engine.become(ready=True)
        assert (await watch.read()).status == SERVING
        await server.retire()
        assert (await watch.read()).status == NOT_SERVING
        engine.become(ready=True)
        await asyncio.sleep(0.02)
        assert await check(channel) == NOT_SERVING
        await server.stop()


async def test_a_watcher_does_not_hold_up_the_end() -> None:
    server = RpcServer(make_frontend(EchoEngine()))
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        watch = HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        await watch.read()
        async with asyncio.timeout(30):
            await server.finish(60.0)


async def test_the_end_waits_for_the_calls_that_run_and_takes_no_more() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    server = RpcServer(make_frontend(engine))
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = DepthStub(channel)
        call = asyncio.ensure_future(stub.Predict(pb.PredictRequest(image=b"photo")))
        await engine.until_in_flight(1)
        finishing = asyncio.ensure_future(server.finish(60.0))
        await asyncio.sleep(0.05)
        assert not finishing.done()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Predict(pb.PredictRequest(image=b"late"), timeout=1)
        assert refused.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        engine.gate.set()
        assert (await call).data == b"photo|png16|input"
        async with asyncio.timeout(30):
            await finishing


async def test_the_end_cuts_off_what_takes_too_long() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    server = RpcServer(make_frontend(engine))
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = asyncio.ensure_future(DepthStub(channel).Predict(pb.PredictRequest(image=b"photo")))
        await engine.until_in_flight(1)
        async with asyncio.timeout(30):
            await server.finish(0.05)
        with pytest.raises(grpc.aio.AioRpcError):
            await call
    assert engine.cancelled == 1


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_shows_every_service_and_its_messages_and_needs_no_key(version: str) -> None:
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("right"))])
    async with grpc_channel(make_frontend(EchoEngine(), keyring)) as channel:
        call = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        listed = {service.name for service in (await call.read()).list_services_response.service}
        await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol="depth.v1.Depth"))
        (described,) = (await call.read()).file_descriptor_response.file_descriptor_proto
        await call.done_writing()
    assert listed == {
        "depth.v1.Depth",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
    }
    assert described == pb.DESCRIPTOR.serialized_pb
