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

PAGE = ROOT / "docs" / "kserve.md"
PHOTO = ROOT / "docs" / "pictures" / "street.jpg"


def blocks_for(client: str) -> list[object]:
    return [pytest.param(each, id=str(each)) for each in blocks(PAGE) if each.words.get("needs") == client]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Everything but a network's arithmetic, which these clients do not see."""
    folder = tmp_path_factory.mktemp("models")
    write_checkpoint(folder / "student.safetensors", height=192, width=640)
    with running(SERVE, DEPTH_MODELS=folder, DEPTH_BACKEND="simulated", DEPTH_ADMIN_KEY="master") as process:
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
        env={**os.environ, "PATH": SEARCHED, "DEPTH_ADMIN_KEY": "master"},
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

key = {"authorization": "Bearer master"}
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


@pytest.mark.parametrize("block", blocks_for("perf_analyzer"))
def test_perf_analyzer_measures_as_the_page_shows(block: Block, service: Process, tmp_path: Path) -> None:
    program("perf_analyzer")
    # A busy machine never becomes steady: what is tested is that it measures, not what.
    said = run(block.code.replace("-p 2000 -s 50", "-p 1500 -s 900 -r 3"), ["bash", "-eu"], service, tmp_path)
    assert len(re.findall(r"throughput: [0-9.]+ infer/sec", said)) == 2
    assert len(re.findall(r"compute infer [0-9]+ usec", said)) == 2
