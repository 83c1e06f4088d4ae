"""KServe's own Python package against the whole service: its clients, and a transformer of its in front.

It lives in an environment of its own, which `make test` makes.
"""

import subprocess
from pathlib import Path

import pytest

from tests.clients.places import FOLDER
from tests.docs.blocks import ROOT
from tests.e2e.process import Process

PHOTO = ROOT / "docs" / "pictures" / "street.jpg"
TRANSFORMER = Path(__file__).with_name("transformer.py")


@pytest.fixture
def kserve() -> str:
    python = FOLDER / "kserve" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"needs kserve in {python.parents[1]}: make test installs it")
    return str(python)


def run(python: str, program: str, service: Process) -> None:
    command = [
        python,
        "-c",
        program,
        service.url,
        f"127.0.0.1:{service.grpc_port}",
        str(PHOTO),
        str(TRANSFORMER),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    assert done.stdout.endswith("done\n"), f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


CLIENTS = """
import asyncio, sys
import numpy as np
from kserve import InferInput, InferRequest, InferenceGRPCClient, InferenceRESTClient
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput

http, grpc, photo = sys.argv[1], sys.argv[2], open(sys.argv[3], "rb").read()
pixels = np.full((1, 4, 6, 3), 100, np.uint8)


def asked(name, datatype, data, binary=True, **also):
    tensor = InferInput(name, list(data.shape), datatype)
    tensor.set_data_from_numpy(data, binary_data=binary)
    return InferRequest("student", [tensor], request_id="seven", **also)


async def main():
    rest = InferenceRESTClient(RESTConfig(protocol="v2"))
    async with InferenceGRPCClient(grpc) as client:
        assert await client.is_server_live() and await client.is_server_ready()
        assert await client.is_model_ready("student") and not await client.is_model_ready("nobody")
        assert await rest.is_server_live(http) and await rest.is_server_ready(http)
        assert await rest.is_model_ready(http, "student") and not await rest.is_model_ready(http, "nobody")
        files = np.array([photo, photo], np.object_)
        answer = await client.infer(asked("image", "BYTES", files))
        (depth,) = answer.outputs
        assert answer.id == "seven" and depth.as_numpy().shape[0] == 2, depth
        told = {name: value.string_param for name, value in depth.parameters.items()}
        assert told["unit"] == "metre" and 0 < float(told["minimum"]) <= float(told["maximum"])
        raw = (await client.infer(asked("rgb_uint8", "UINT8", pixels))).outputs[0].as_numpy()
        typed = (await client.infer(asked("rgb_uint8", "UINT8", pixels, binary=False))).outputs[0].as_numpy()
        for outputs in (None, [RequestedOutput("depth", {"binary_data": True})]):
            request = asked("rgb_uint8", "UINT8", pixels, request_outputs=outputs)
            over_http = await rest.infer(http, request, model_name="student")
            np.testing.assert_array_equal(over_http.outputs[0].as_numpy(), raw)
        request = asked("rgb_uint8", "UINT8", pixels, binary=False, parameters={"size": "input"})
        listed = await rest.infer(http, request, model_name="student")
        np.testing.assert_array_equal(listed.outputs[0].as_numpy(), typed)
        small = {"size": "model", "binary_data_output": True}
        request = asked("image", "BYTES", files, parameters=small)
        of_file = await rest.infer(http, request, model_name="student")
        assert of_file.outputs[0].as_numpy().shape[0] == 2
    await rest.close()

asyncio.run(main())
print("done")
"""


def test_kserve_s_clients_are_answered_in_every_way_that_they_ask(kserve: str, service: Process) -> None:
    run(kserve, CLIENTS, service)


IN_FRONT = """
import asyncio, base64, socket, subprocess, sys, time
import httpx
import numpy as np
from kserve import InferInput, InferRequest, InferenceRESTClient
from kserve.inference_client import RESTConfig

http, grpc, photo, transformer = sys.argv[1], sys.argv[2], open(sys.argv[3], "rb").read(), sys.argv[4]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def asked(tensor):
    return InferRequest("student", [tensor])


async def depth_of(address, tensor):
    rest = InferenceRESTClient(RESTConfig(protocol="v2"))
    answer = await rest.infer(address, asked(tensor), model_name="student")
    await rest.close()
    return answer.outputs[0].as_numpy()


picture = np.zeros((1, 4, 6, 3), np.uint8)
picture[:, :2] = 200  # it is not the same when it is turned around
pixels = InferInput("rgb_uint8", [1, 4, 6, 3], "UINT8")
pixels.set_data_from_numpy(picture)
file = InferInput("image", [1], "BYTES", data=[base64.b64encode(photo).decode()])
ports = {(protocol, host): free_port() for protocol, host in (("grpc-v2", grpc), ("v2", http.removeprefix("http://")))}
running = [
    subprocess.Popen(
        [sys.executable, transformer, "--predictor_host", host, "--predictor_protocol", protocol]
        + ["--http_port", str(port), "--model_name", "student"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for (protocol, host), port in ports.items()
]
try:
    for port in ports.values():
        address, until = f"http://127.0.0.1:{port}", time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{address}/v2/health/ready").raise_for_status()
                break
            except httpx.HTTPError:
                assert time.monotonic() < until and all(each.poll() is None for each in running)
                time.sleep(0.1)
        direct = asyncio.run(depth_of(http, pixels))
        through = asyncio.run(depth_of(address, pixels))
        np.testing.assert_array_equal(through, direct)
        assert (through != through[:, ::-1]).any()
        assert asyncio.run(depth_of(address, file)).ndim == 3
finally:
    for each in running:
        each.terminate()
        each.wait()
print("done")
"""


def test_a_transformer_of_kserve_s_stands_before_the_service_over_grpc_and_over_http(
    kserve: str, service: Process
) -> None:
    run(kserve, IN_FRONT, service)
