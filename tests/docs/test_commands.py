"""Every command that the documents show is run, in order, beside a service that answers it."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.places import SEARCHED
from tests.docs.blocks import REASONS, ROOT, Block, all_blocks
from tests.docs.scratch import furnish, install_commands
from tests.e2e.process import SERVE, Process, running

ELSEWHERE = {
    "tritonclient": "tests/service/kserve/test_clients.py",
    "perf_analyzer": "tests/service/kserve/test_clients.py",
    "open3d": "tests/clients/test_readers.py",
    "rerun": "tests/clients/test_readers.py",
}
"""Their blocks want another environment and longer timeouts, and have a test of their own."""
ADMIN_KEY = "only-for-this-test"
_AT_MOST_S, _SLOW_AT_MOST_S = 110, 880
_READY_WITHIN_S = 600
"""The first time; the network is exported then."""


def _parameter(block: Block) -> object:
    words, marks = block.words, []
    missing = [name for name in words.get("needs", "").split(",") if name and not _is_there(name)]
    if words.get("needs") in ELSEWHERE:
        marks.append(pytest.mark.skip(reason=f"{block} is run by {ELSEWHERE[words['needs']]}"))
    elif missing:
        marks.append(pytest.mark.skip(reason=f"{block} needs {', '.join(missing)}"))
    if "apart" in words:
        marks.append(pytest.mark.skip(reason=f"{block} is run by tests/docs/test_ten_steps.py"))
    if "skip" in words:
        marks.append(pytest.mark.skip(reason=f"{block} {REASONS.get(words['skip'], words['skip'])}"))
    if "slow" in words:
        marks += [pytest.mark.slow, pytest.mark.timeout(_SLOW_AT_MOST_S + 20)]
    return pytest.param(block, id=str(block), marks=marks)


def _is_there(name: str) -> bool:
    return shutil.which(name, path=SEARCHED) is not None or importlib.util.find_spec(name) is not None


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    install_commands(folder / "bin")
    return folder


@pytest.fixture(scope="module")
def exports(request: pytest.FixtureRequest) -> Path:
    """Where exported networks are kept from run to run, each under its hash: making one takes a minute."""
    return request.config.cache.mkdir("exports")


@pytest.fixture(scope="module")
def service(home: Path, exports: Path) -> Iterator[Process]:
    models = home / "models"
    models.mkdir()
    shutil.copy(ROOT / "model" / "pretrained" / "student.safetensors", models)
    chosen = {"DEPTH_MODELS": models, "DEPTH_CACHE_DIR": exports, "DEPTH_ADMIN_KEY": ADMIN_KEY}
    slower = {"DEPTH_HANG_TIMEOUT_S": _READY_WITHIN_S}  # a machine that is busy with tests has hung nothing
    with running(SERVE, _READY_WITHIN_S, DEPTH_THREADS=1, **chosen, **slower) as process:
        yield process


@pytest.fixture(scope="module")
def folder_of(home: Path) -> Callable[[Path], Path]:
    """Give each page a folder of its own, that looks like this repository with a photograph or two in it."""
    folders: dict[Path, Path] = {}

    def folder(page: Path) -> Path:
        if page not in folders:
            folders[page] = home / "-".join(page.relative_to(ROOT).with_suffix("").parts)
            furnish(folders[page])
        return folders[page]

    return folder


@pytest.mark.timeout(_READY_WITHIN_S + _AT_MOST_S)
@pytest.mark.parametrize("block", [_parameter(block) for block in all_blocks("sh", "python")])
def test_what_a_document_shows_can_be_pasted(
    block: Block, service: Process, folder_of: Callable[[Path], Path], home: Path, exports: Path
) -> None:
    words = block.words
    folder = folder_of(block.page)
    code = re.sub(r"(localhost|127\.0\.0\.1):8000\b", f"127.0.0.1:{service.http_port}", block.code)
    code = re.sub(r"(localhost|127\.0\.0\.1):8001\b", f"127.0.0.1:{service.grpc_port}", code)
    file = folder / f"block-{block.line}.{'py' if block.language == 'python' else 'sh'}"
    file.write_text(code, encoding="utf-8")
    runner = [sys.executable] if block.language == "python" else ["bash", "-euo", "pipefail"]
    done = subprocess.run(
        [*runner, str(file)],
        cwd=folder,
        env=_environment(home, exports),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=_SLOW_AT_MOST_S if "slow" in words else _AT_MOST_S,
    )
    said = f"{block}\n{code}\n--- said\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    assert done.returncode == int(words.get("exit", "0")), said


def _environment(home: Path, exports: Path) -> dict[str, str]:
    """An environment in which curl fails where the answer is an error, and nothing leaves this machine."""
    curl = home / ".curlrc"
    if not curl.exists():
        curl.write_text("fail\nsilent\nshow-error\n")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DEPTH_")}
    return inherited | {
        "CURL_HOME": str(home),
        "HOME": str(home),
        "PATH": os.pathsep.join((str(home / "bin"), str(Path(sys.executable).parent), SEARCHED)),
        "PYTHONPATH": str(ROOT),
        "DEPTH_ADMIN_KEY": ADMIN_KEY,
        "DEPTH_CACHE_DIR": str(exports),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
