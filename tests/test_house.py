"""The rules of the house, for every file of the three packages."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("model", "training", "service")
SOURCES = [
    path.relative_to(ROOT)
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if "pb" not in path.relative_to(ROOT).parts
]
LONGEST_FILE = 400
LONGEST_FUNCTION = 60


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_every_module_opens_with_a_sentence(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / path).read_text()))
    assert docstring
    assert docstring.splitlines()[0].strip()


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {str(path): len((ROOT / path).read_text().splitlines()) for path in SOURCES}
    assert not {path: length for path, length in lengths.items() if length > LONGEST_FILE}


def test_no_function_is_longer_than_60_lines() -> None:
    lengths = {
        f"{path}:{function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path in SOURCES
        for function in functions(path)
    }
    assert not {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION}


def test_a_broad_except_gives_its_reason_on_its_own_line() -> None:
    silent = [
        f"{path}:{number}"
        for path in SOURCES
        for number, line in enumerate((ROOT / path).read_text().splitlines(), start=1)
        if re.match(r"\s*except( (Base)?Exception\b.*)?:", line) and "#" not in line
    ]
    assert not silent


@pytest.mark.parametrize("module", ["model", "model.images", "model.disparity", "model.metadata", "model.config"])
def test_what_a_service_without_torch_imports_does_not_import_it(module: str) -> None:
    program = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("folder", ["proto", "docker"])
def test_folders_that_share_a_package_s_name_are_no_packages(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize("package", ["model", "training"])
def test_shape_checked_packages_keep_their_annotations_alive(package: str) -> None:
    """Postponed annotations would be strings, which the shape checks cannot read."""
    for path in (ROOT / package).rglob("*.py"):
        assert "from __future__ import annotations" not in path.read_text(), path


def test_a_wrong_shape_is_caught_while_tests_run() -> None:
    import torch

    from model.normalisation import Normalisation

    with pytest.raises(Exception, match="image"):
        Normalisation((0, 0, 0), (1, 1, 1))(torch.zeros(1, 4, 2, 2))


def test_the_readme_s_tree_names_everything_at_the_top() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    top = {path.split("/")[0] + ("/" if "/" in path else "") for path in tracked}
    shown = {name for name in top if not name.startswith(".") or name == ".ci/"}
    readme = (ROOT / "README.md").read_text()
    assert not {name for name in shown if name.rstrip("/") not in readme}


def test_the_readme_s_first_commands_are_serve_and_test() -> None:
    commands = re.findall(r"^make \w+", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    assert commands[:2] == ["make serve", "make test"]


def test_every_file_in_pretrained_is_covered_by_the_notice_and_the_model_card() -> None:
    card = ROOT / "model" / "pretrained" / "README.md"
    for weights in (ROOT / "model" / "pretrained").glob("*.safetensors"):
        assert weights.name in card.read_text()
    notice = (ROOT / "NOTICE").read_text()
    assert all(name in notice for name in ("DINOv2", "MobileNetV2", "KITTI", "CC BY-NC-SA 3.0"))


@pytest.mark.skipif("CI" in os.environ, reason="CI runs the checks themselves, before the tests")
def test_the_import_rules_hold() -> None:
    done = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode()
