import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MANIFEST = tomllib.loads((ROOT / "depth_client/pyproject.toml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

ASK = """
import numpy, sys
from depth_client import DepthClient, Overloaded, Retry, Unreachable
for transport in ("http", "grpc"):
    with DepthClient(transport + "://127.0.0.1:9", retry=Retry(attempts=1)) as client:
        try:
            client.predict(numpy.zeros((4, 4, 3), numpy.uint8))
        except Unreachable:
            print("unreachable")
loaded = {name.partition(".")[0] for name in sys.modules}
print(*sorted(loaded & {"service", "model", "training", "torch", "fastapi"}))
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both wheels, by the names of their packages."""
    folder = tmp_path_factory.mktemp("wheels")
    for source in (ROOT, ROOT / "depth_client"):
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        subprocess.run(command, cwd=source, check=True, capture_output=True)
    return {path.name.split("-")[0]: path for path in folder.glob("*.whl")}


def python_with(wheel: Path, folder: Path) -> Path:
    """Return the interpreter of a new environment that has the wheel, and what it needs."""
    venv.create(folder, with_pip=False)
    [packages] = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    # Pillow, grpcio and the like are this environment's: nothing is fetched. A .pth file there is not read.
    [here] = {path for path in sys.path if (Path(path) / "httpx").is_dir()}
    (packages / "needed.pth").write_text(here)
    return folder / "bin" / "python"


def run(python: Path, program: str, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [python, *options, "-c", program]
    return subprocess.run(
        command, cwd=python.parent, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("name", "beside"), [("vfm_depth_client", ""), ("vfm_depth", "model service")])
def test_each_wheel_has_the_client_under_one_name(
    name: str, beside: str, wheels: dict[str, Path], tmp_path: Path
) -> None:
    ran = run(python_with(wheels[name], tmp_path), ASK)
    assert ran.stdout.splitlines() == ["unreachable", "unreachable", beside], ran.stderr


def test_the_client_s_wheel_installs_nothing_but_the_client(wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels["vfm_depth_client"]) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"depth_client", "vfm_depth_client-0.1.0.dist-info"}
    assert {"depth_client/contract/request.py", "depth_client/py.typed"} <= set(names)
    assert "depth_client/contract.py" not in names
    assert not [name for name in names if name.endswith((".toml", ".pyc"))]


def test_the_old_name_still_leads_to_the_client_and_says_the_new_one() -> None:
    program = "from service.client import DepthClient, Overloaded; print(DepthClient.__module__)"
    ran = subprocess.run(
        [sys.executable, "-W", "default", "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "depth_client.sync_client\n"
    assert "<string>:1: DeprecationWarning: service.client is now depth_client" in ran.stderr


def test_the_small_package_asks_for_the_same_versions_as_the_whole() -> None:
    extras = PROJECT["optional-dependencies"]
    known = {*PROJECT["dependencies"], *(need for needs in extras.values() for need in needs)}
    ours = MANIFEST["project"]
    needs = [
        *ours["dependencies"],
        *(each for extra in ours["optional-dependencies"].values() for each in extra),
    ]
    assert set(needs) <= known
    assert set(ours["dependencies"]) <= set(PROJECT["dependencies"])
    assert ours["version"] == PROJECT["version"]
