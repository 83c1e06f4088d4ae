"""A service of described networks, and every way to ask it."""

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import httpx
import numpy as np
from PIL import Image

from depth_client import AsyncDepthClient
from service.rpc.pb import inference_pb2
from service.rpc.pb.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.service.opened import both_transports, settings


def describe(network: Path, **keys: object) -> Path:
    """Write a network's description beside it."""
    said = {"format": "depth-network/1", **keys}
    network.with_name(f"{network.stem}.depth.json").write_text(json.dumps(said))
    return network


def photograph(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class Service:
    """Where a service listens."""

    def __init__(self, http_port: int, grpc_port: int) -> None:
        self.http, self.grpc = f"127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}"

    async def get(self, path: str) -> object:
        async with httpx.AsyncClient(base_url=f"http://{self.http}", timeout=100) as client:
            return (await client.get(path)).json()

    async def post(self, photo: bytes, **params: object) -> httpx.Response:
        async with httpx.AsyncClient(base_url=f"http://{self.http}", timeout=100) as client:
            return await client.post("/v1/depth", content=photo, params=params)


@asynccontextmanager
async def serving(models: Path, **chosen: object) -> AsyncIterator[Service]:
    all_of_it = settings(models=models, watch_interval_s=0.0, codec_threads=1, threads=1, **chosen)
    async with both_transports(all_of_it) as ports:
        yield Service(*ports)


async def over_client(service: Service, model: str, photo: bytes, scheme: str, **known: object) -> np.ndarray:
    address = service.http if scheme == "http" else service.grpc
    async with AsyncDepthClient(f"{scheme}://{address}") as client:
        return (await client.predict(photo, wire="float32", model=model, **known)).depth


async def over_stream(service: Service, model: str, photo: bytes, **known: object) -> np.ndarray:
    async with AsyncDepthClient(f"http://{service.http}") as client:
        async for frame in client.stream([photo], wire="float32", model=model, **known):
            return frame.unwrap().depth
    raise AssertionError("the stream ended without a frame")


async def over_v2(service: Service, model: str, photo: bytes, **known: object) -> np.ndarray:
    asked = inference_pb2.ModelInferRequest(
        model_name=model, raw_input_contents=[len(photo).to_bytes(4, "little") + photo]
    )
    asked.inputs.add(name="image", datatype="BYTES", shape=[1])
    if lens := known.get("lens"):
        asked.parameters["fov_deg"].double_param = lens.horizontal_deg
    async with grpc.aio.insecure_channel(service.grpc) as channel:
        answer = await GRPCInferenceServiceStub(channel).ModelInfer(asked)
    shape = next(output.shape for output in answer.outputs if output.name == "depth")
    depth = np.frombuffer(answer.raw_output_contents[0], "<f4")
    return depth.reshape([side for side in shape if side != 1])


WAYS = {
    "http": lambda *asked, **known: over_client(*asked, "http", **known),
    "grpc": lambda *asked, **known: over_client(*asked, "grpc", **known),
    "stream": over_stream,
    "v2": over_v2,
}
