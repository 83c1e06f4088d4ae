"""What docs/kserve.md shows of others' clients is run with them, unmodified, against the whole service.

They live in an environment of their own, `make test` makes it: their protobuf is older than the service's.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.places import FOLDER, SEARCHED, program
from tests.docs.blocks import ROOT, Block, blocks
from tests.e2e.process import SERVE, Process, running
from tests.service.checkpoints import write_checkpoint

ADMIN_KEY = "only-for-this-test"
PAGE = ROOT / "docs" / "kserve.md"
PHOTO = ROOT / "docs" / "pictures" / "street.jpg"


def blocks_for(client: str) -> list[object]:
    return [pytest.param(each, id=str(each)) for each in blocks(PAGE) if each.words.get("needs") == client]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Everything but a network's arithmetic, which these clients do not see."""
    folder = tmp_path_factory.mktemp("models")
    write_checkpoint(folder / "student.safetensors", height=192, width=640)
    chosen = {"DEPTH_ADMIN_KEY": ADMIN_KEY, "DEPTH_SHARED_MEMORY_PREFIX": "depth_"}
    with running(SERVE, DEPTH_MODELS=folder, DEPTH_BACKEND="simulated", **chosen) as process:
        yield process


def run(code: str, command: list[str], service: Process, folder: Path) -> str:
    """Run a block of the page as its reader would, against our ports."""
    shutil.copy(PHOTO, folder / "photo.jpg")
    code = re.sub(r"localhost:8000\b", f"127.0.0.1:{service.http_port}", code)
    code = re.sub(r"localhost:8001\b", f"127.0.0.1:{service.grpc_port}", code)
    done = subprocess.run(
        command,
        input=code,
        cwd=folder,
        env={**os.environ, "PATH": SEARCHED, "DEPTH_ADMIN_KEY": ADMIN_KEY},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, f"{code}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture
def tritonclient() -> str:
    python = FOLDER / "bin" / "python"
    if not python.exists():
        pytest.skip(f"needs tritonclient in {FOLDER}: make test installs it")
    return str(python)


@pytest.mark.parametrize("block", blocks_for("tritonclient"))
def test_tritonclient_is_answered_as_the_page_shows(
    block: Block, tritonclient: str, service: Process, tmp_path: Path
) -> None:
    run(block.code, [tritonclient, "-"], service, tmp_path)


EVERY_OTHER_CALL = """
import sys
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http

key = {"authorization": "Bearer only-for-this-test"}
http = over_http.InferenceServerClient("localhost:8000")
grpc = over_grpc.InferenceServerClient("localhost:8001")
for client in (http, grpc):
    named = {"as_json": True} if "grpc" in type(client).__module__ else {}
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("student")
    assert client.get_server_metadata(**named)["name"] == "vfm-depth"
    metadata = client.get_model_metadata("student", **named)
    assert [each["name"] for each in metadata["inputs"]] == ["image", "rgb_uint8", "rgb_fp32"]
    config = client.get_model_config("student", **named)
    assert config.get("config", config)["max_batch_size"] == 64
    assert client.get_inference_statistics("student", **named)["model_stats"][0]["name"] == "student"
    client.load_model("student", headers=key)
    index = client.get_model_repository_index(headers=key, **named)
    assert (index["models"] if named else index)[0]["state"] == "READY"
    module = sys.modules[type(client).__module__.rsplit(".", 1)[0]]
    for name, asked, status in (("nobody", "rgb_uint8", ("404", "StatusCode.NOT_FOUND")),
                                ("student", "picture", ("400", "StatusCode.INVALID_ARGUMENT"))):
        image = module.InferInput(asked, [1, 1, 1, 3], "UINT8")
        image.set_data_from_numpy(__import__("numpy").zeros((1, 1, 1, 3), "uint8"))
        try:
            client.infer(name, [image])
        except module.InferenceServerException as error:
            assert error.status() in status and "expected" in error.message(), error
        else:
            raise AssertionError(name)
print("done")
"""


def test_tritonclient_s_other_calls_are_answered_too(
    tritonclient: str, service: Process, tmp_path: Path
) -> None:
    assert run(EVERY_OTHER_CALL, [tritonclient, "-"], service, tmp_path).endswith("done\n")


SHARED_MEMORY = """
import secrets
import numpy as np
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
import tritonclient.utils.shared_memory as shm

picture = np.random.default_rng(0).integers(0, 255, (1, 40, 60, 3), np.uint8)
file = open("photo.jpg", "rb").read()
packed = np.array([len(file).to_bytes(4, "little") + file], np.object_)
name = "depth_" + secrets.token_hex(4)
region = shm.create_shared_memory_region("own", name, 4_000_000)
try:
    for module, address in ((over_http, "localhost:8000"), (over_grpc, "localhost:8001")):
        client = module.InferenceServerClient(address)
        client.unregister_system_shared_memory()
        client.register_system_shared_memory("own", name, 3_900_000, offset=1000)
        named = {"as_json": True} if module is over_grpc else {}
        status = client.get_system_shared_memory_status("own", **named)
        [told] = status["regions"].values() if named else status
        assert (told["name"], told["key"], int(told["offset"])) == ("own", name, 1000), told
        for tensor, datatype, shape, data in (
            ("rgb_uint8", "UINT8", [1, 40, 60, 3], picture),
            ("image", "BYTES", [1], packed),
        ):
            sent = module.InferInput(tensor, shape, datatype)
            if datatype == "BYTES":
                sent.set_data_from_numpy(np.array([file], np.object_))
            else:
                sent.set_data_from_numpy(picture)
            expected = client.infer("student", [sent], parameters={"size": "model"}).as_numpy("depth")
            shm.set_shared_memory_region(region, [data], offset=1000 + 16)
            size = len(packed.item()) if datatype == "BYTES" else picture.nbytes
            shared = module.InferInput(tensor, shape, datatype)
            shared.set_shared_memory("own", size, offset=16)
            output = module.InferRequestedOutput("depth")
            output.set_shared_memory("own", expected.nbytes, offset=1_000_000)
            asked = {"outputs": [output], "parameters": {"size": "model"}}
            answer = client.infer("student", [shared], **asked)
            told = answer.get_output("depth")
            assert list(told.shape if named else told["shape"]) == list(expected.shape)
            written = shm.get_contents_as_numpy(region, np.float32, expected.shape, offset=1000 + 1_000_000)
            np.testing.assert_array_equal(written, expected)
            shared.set_shared_memory("own", size, offset=3_900_000)
            try:
                client.infer("student", [shared], **asked)
            except module.InferenceServerException as error:
                assert "no part of region 'own'" in error.message(), error
            else:
                raise AssertionError("a place beyond the region was read")
        client.unregister_system_shared_memory("own")
finally:
    shm.destroy_shared_memory_region(region)
print("done")
"""


def test_tritonclient_s_shared_memory_holds_images_and_depth_over_both_transports(
    tritonclient: str, service: Process, tmp_path: Path
) -> None:
    assert run(SHARED_MEMORY, [tritonclient, "-"], service, tmp_path).endswith("done\n")


@pytest.mark.parametrize("block", blocks_for("perf_analyzer"))
def test_perf_analyzer_measures_as_the_page_shows(block: Block, service: Process, tmp_path: Path) -> None:
    program("perf_analyzer")
    # A busy machine never becomes steady: what is tested is that it measures, not what.
    said = run(block.code.replace("-p 2000 -s 50", "-p 1500 -s 900 -r 3"), ["bash", "-eu"], service, tmp_path)
    assert len(re.findall(r"throughput: [0-9.]+ infer/sec", said)) == 2
    assert len(re.findall(r"compute infer [0-9]+ usec", said)) == 2
