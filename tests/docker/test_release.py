"""What is handed out with a release."""

import importlib.util
import json
import shutil
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def release() -> ModuleType:
    """Return docker/release.py, which is a program and no module of a package."""
    spec = importlib.util.spec_from_file_location("release", ROOT / "docker" / "release.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def needs(program: str) -> None:
    if not Path(sys.executable).with_name(program).exists():
        pytest.skip(f"{program} is not installed; `pip install '.[release]'` brings it")


def test_the_wheel_comes_out_the_same_twice(release: ModuleType, tmp_path: Path) -> None:
    needs("hatchling")
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    first, again = release.build_wheel(tmp_path / "first"), release.build_wheel(tmp_path / "again")
    assert first.read_bytes() == again.read_bytes()
    with zipfile.ZipFile(first) as wheel:
        names = wheel.namelist()
    assert {"model/pretrained/student.safetensors", "service/__main__.py", "training/train.py"} < set(names)
    assert not [name for name in names if name.startswith(("tests/", "docker/", "benchmarks/"))]


@pytest.mark.parametrize("image", ["service-cpu", "service-gpu", "training"])
def test_the_list_of_an_image_has_each_package_once_with_its_hashes(release: ModuleType, image: str) -> None:
    lines = release.requirements(image).splitlines()
    packages = [line.partition("==")[0] for line in lines if "==" in line]
    assert len(packages) == len(set(packages)) > 50
    assert ("torch" in packages) == (image != "service-cpu")
    assert sum("--hash=sha256:" in line for line in lines) > len(packages)


def test_a_bill_of_materials_names_what_the_image_installs(
    release: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("cyclonedx-py")
    monkeypatch.setattr(release, "IMAGES", {"service-cpu": ("serving",)})
    [path] = release.make_sboms(tmp_path)
    bill = json.loads(path.read_text())
    listed = release.requirements("service-cpu")
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "vfm-depth"
    assert {f"{one['name']}=={one['version']}" for one in bill["components"]} == {
        line.split()[0] for line in listed.splitlines() if "==" in line
    }
    assert "serialNumber" not in bill  # nor anything else that would differ the next time
