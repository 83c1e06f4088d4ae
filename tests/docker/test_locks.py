"""What the images install is what pyproject.toml asks for, pinned and hashed."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "docker" / "locks"
PINNED = re.compile(
    r"^([A-Za-z0-9._-]+)==([^ \\\n]+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE
)
INSIDE = {
    "serving": {"serving"},
    "torch": {"torch"},
    "torch-cpu": {"torch"},
    "training": {"training", "torch"},
    "build": {"build"},
}
"""From which wishes each lock file is made."""


def pins(lock: str) -> dict[str, str]:
    found = PINNED.findall((LOCKS / f"{lock}.txt").read_text())
    return {canonicalize_name(name): version for name, version, _ in found}


def wishes(name: str) -> set[str]:
    return {canonicalize_name(line) for line in (LOCKS / f"{name}.in").read_text().split()}


def asked(*extras: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"]]
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    found = [Requirement(line) for line in lines]
    ours = [name for one in found if one.name == project["name"] for name in one.extras]
    return [one for one in found if one.name != project["name"]] + (asked(*ours) if ours else [])


def test_every_lock_file_is_one_of_these() -> None:
    assert {path.stem for path in LOCKS.glob("*.txt")} == set(INSIDE)


@pytest.mark.parametrize("lock", INSIDE)
def test_everything_that_is_locked_has_one_version_and_its_hashes(lock: str) -> None:
    text = (LOCKS / f"{lock}.txt").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", "    --hash="))]
    assert len(lines) == len(pins(lock)) > 0


def test_all_images_agree_on_versions() -> None:
    versions: dict[str, set[str]] = {}
    for lock in INSIDE:
        for name, version in pins(lock).items():
            versions.setdefault(name, set()).add(version)
    assert not {name: found for name, found in versions.items() if len(found) > 1}


@pytest.mark.parametrize(
    ("image", "layers"),
    [
        ("service, cpu", ["serving"]),
        ("service, gpu", ["serving", "torch"]),
        ("training", ["torch", "training"]),
    ],
)
def test_every_wish_of_an_image_is_among_what_it_installs(image: str, layers: list[str]) -> None:
    installed = {name for layer in layers for name in pins(layer)}
    wished = {
        re.sub(r"\[.*", "", wish) for layer in layers for source in INSIDE[layer] for wish in wishes(source)
    }
    assert wished <= installed


def test_every_dependency_has_its_place_in_a_layer() -> None:
    placed = {re.sub(r"\[.*", "", wish) for name in ("serving", "torch", "training") for wish in wishes(name)}
    assert {canonicalize_name(one.name) for one in asked("training", "export", "tracing", "jxl")} == placed


def test_what_is_locked_is_what_pyproject_allows() -> None:
    locked = {name: version for lock in INSIDE for name, version in pins(lock).items()}
    for one in asked("training", "export", "tracing", "jxl"):
        assert locked[canonicalize_name(one.name)] in one.specifier, one


def test_a_cpu_does_without_cuda_and_the_rest_is_the_same() -> None:
    left_out = pins("torch").keys() - pins("torch-cpu").keys()
    assert {"torch", "torchvision", "triton"} < left_out
    assert all(
        name.startswith(("nvidia-", "cuda-")) for name in left_out - {"torch", "torchvision", "triton"}
    )
    assert not pins("serving").keys() & left_out
