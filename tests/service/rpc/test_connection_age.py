import asyncio
import time

from service.contract.answer import DepthAnswer
from service.contract.request import DepthRequest
from service.engine import Turn
from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthStub
from service.transports.auth import current_peer
from tests.service.echo import EchoEngine
from tests.service.opened import grpc_channel, make_frontend


class Watching(EchoEngine):
    """Remembers from which address and port it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.peers: set[object] = set()

    async def depth(self, request: DepthRequest, turn: Turn | None = None) -> DepthAnswer:
        self.peers.add(current_peer.get())
        return await super().depth(request, turn)


async def asked_for(seconds: float, **chosen: float) -> int:
    """Ask one call after the other beside a stream; return from how many connections they came."""
    engine = Watching()
    async with grpc_channel(make_frontend(engine, **chosen)) as channel, asyncio.timeout(30):
        stub = DepthStub(channel)
        stream = stub.Stream()
        await stream.write(pb.StreamRequest(config=pb.StreamConfig()))
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await stub.Predict(pb.PredictRequest(image=b"photo"))
        calls = len(engine.peers)
        await stream.write(pb.StreamRequest(frame=pb.Frame(id=7, image=b"photo")))
        assert (await stream.read()).frame_id == 7  # it goes on, on the connection that it began on
    return calls


async def test_a_client_that_asks_all_the_time_connects_anew_and_its_stream_goes_on() -> None:
    assert await asked_for(1.0, max_connection_age_s=0.2) > 1


async def test_0_is_no_bound() -> None:
    assert await asked_for(0.3, max_connection_age_s=0.0) == 1
