"""Who asks, as the engine hears it: the caller, the stream, and no more than the granted priority."""

import pytest
from websockets.asyncio.client import connect

from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthStub
from service.transports.auth import ApiKey, Keyring, hash_key
from tests.service.echo import EchoEngine
from tests.service.opened import grpc_channel, http_client, http_server, make_frontend

KEYRING = [
    ApiKey(name="ann", digest=hash_key("plain")),
    ApiKey(name="bob", digest=hash_key("urgent"), priority=2),
]


@pytest.mark.parametrize(
    ("key", "wanted", "granted"),
    [
        ("plain", 0, 0),
        ("plain", 4, 0),
        ("plain", -3, -3),
        ("urgent", 0, 0),
        ("urgent", 1, 1),
        ("urgent", 4, 2),
    ],
)
async def test_a_request_has_the_priority_that_it_wants_or_else_what_its_key_is_granted(
    key: str, wanted: int, granted: int
) -> None:
    engine = EchoEngine()
    frontend = make_frontend(engine, Keyring(KEYRING))
    async with http_client(frontend) as client:
        answer = await client.post(
            f"/v1/depth?priority={wanted}", content=b"jpeg", headers={"x-api-key": key}
        )
        assert answer.status_code == 200
    async with grpc_channel(frontend) as channel:
        asked = pb.PredictRequest(image=b"jpeg", options=pb.Options(priority=wanted))
        await DepthStub(channel).Predict(asked, metadata=[("x-api-key", key)])
    assert [request.priority for request in engine.requests] == [granted, granted]
    name = {"plain": "key ann", "urgent": "key bob"}[key]
    assert {(request.caller, request.stream) for request in engine.requests} == {(name, "")}


async def test_without_keys_every_connection_is_a_caller_of_priority_0_at_most() -> None:
    engine = EchoEngine()
    async with http_server(make_frontend(engine)) as port:
        for _ in range(2):
            async with connect(f"ws://127.0.0.1:{port}/v1/stream?priority=3") as socket:
                for _ in range(2):
                    await socket.send(b"frame")
                    await socket.recv()
                    await socket.recv()
    callers = [request.caller for request in engine.requests]
    streams = [request.stream for request in engine.requests]
    assert callers[0] == callers[1] != callers[2] == callers[3]
    assert streams[0] == streams[1] != streams[2] == streams[3]
    assert {request.priority for request in engine.requests} == {0}


@pytest.mark.parametrize("priority", [-5, 5])
async def test_a_priority_beyond_the_levels_is_refused_with_the_levels(priority: int) -> None:
    async with http_client(make_frontend(EchoEngine())) as client:
        answer = await client.post(f"/v1/depth?priority={priority}", content=b"jpeg")
    assert answer.status_code == 400
    assert "from -4 to 4" in answer.json()["error"]["message"]
