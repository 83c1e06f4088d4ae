"""The rules that every file keeps, and what the documents promise."""

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grimp
import numpy as np
import pytest
import torch

from model.images import resize_image
from model.normalisation import Normalisation
from training.geometry import invert_rigid

ROOT = Path(__file__).parents[1]
PACKAGES = ("model", "training", "service")
LONGEST_FILE = 400
LONGEST_FUNCTION = 60


def written_by_hand(*folders: str) -> list[Path]:
    """Python files below folders, without what is generated from proto/."""
    files = (path.relative_to(ROOT) for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))
    return [path for path in files if "pb" not in path.parts]


SOURCES = written_by_hand(*PACKAGES, "depth_client")
ALL_PYTHON = SOURCES + written_by_hand("tests", "benchmarks", "examples")
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")


def text(path: Path | str) -> str:
    return (ROOT / path).read_text()


def first_sentence(path: Path | str) -> str:
    docstring = ast.get_docstring(ast.parse(text(path))) or ""
    return " ".join(docstring.split("\n\n")[0].split()).removesuffix(".")


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(text(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


# What the files are


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_every_module_opens_with_a_sentence(path: Path) -> None:
    assert len(first_sentence(path).split()) > 2


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {str(path): len(text(path).splitlines()) for path in ALL_PYTHON}
    assert not {path: length for path, length in lengths.items() if length > LONGEST_FILE}


def test_no_function_is_longer_than_60_lines() -> None:
    lengths = {
        f"{path}:{function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path in ALL_PYTHON
        for function in functions(path)
    }
    assert not {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION}


def test_files_are_named_after_the_problem() -> None:
    assert not [path for path in ALL_PYTHON if path.stem in {"utils", "util", "common", "helpers", "misc"}]


def swallows_anything(handler: ast.ExceptHandler) -> bool:
    """Whether a handler catches whatever comes, and does not pass it on in the end."""
    broad = handler.type is None or ast.unparse(handler.type) in {"Exception", "BaseException"}
    last = handler.body[-1]
    return broad and not (isinstance(last, ast.Raise) and last.exc is None)


def test_a_broad_except_that_swallows_gives_its_reason_on_its_own_line() -> None:
    silent = [
        f"{path}:{handler.lineno}"
        for path in SOURCES
        for handler in ast.walk(ast.parse(text(path)))
        if isinstance(handler, ast.ExceptHandler) and swallows_anything(handler)
        if "#" not in text(path).splitlines()[handler.lineno - 1]
    ]
    assert not silent


HANDS_ON = {
    "model/atomic.py": "safetensors' own error for a full disk becomes an OSError",
    "model/described/runtime.py": "a runtime's error, of no class in common, becomes a NetworkFileError",
    "model/weights.py": "the HTTP library of huggingface_hub differs from version to version",
    "service/rest/edge.py": "a transport's edge",
    "service/transports/streaming.py": "a transport's edge",
    "service/scheduling/batching.py": "the batch loop",
    "service/scheduling/worker.py": "a thread: whoever waits gets the error",
    "service/models/served.py": "a library's error while it loads becomes a BackendError",
    "depth_client/window.py": "a thread: whoever waits gets the error",
}
"""Where a broad except does not raise the same error again, and what becomes of it."""


def test_a_broad_except_that_swallows_stands_only_where_somebody_gets_the_error() -> None:
    found = {
        str(path)
        for path in SOURCES
        for handler in ast.walk(ast.parse(text(path)))
        if isinstance(handler, ast.ExceptHandler) and swallows_anything(handler)
    }
    assert found == set(HANDS_ON)


def test_no_file_imports_a_package_by_the_name_that_its_variables_have() -> None:
    bare = re.compile(r"^\s*import (model|training|service)\b", flags=re.MULTILINE)
    assert not [path for path in SOURCES if bare.search(text(path))]


@pytest.mark.parametrize("folder", ["proto", "docker"])
def test_folders_that_share_a_package_s_name_are_no_packages(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize("module", ["", ".images", ".disparity", ".metadata", ".config"])
def test_what_a_service_without_torch_imports_does_not_import_it(module: str) -> None:
    program = f"import sys, model{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


# Shapes in signatures are checked


@pytest.mark.parametrize("package", ["model", "training"])
def test_shape_checked_packages_keep_their_annotations_alive(package: str) -> None:
    """Postponed annotations would be strings, which the shape checks cannot read."""
    assert not [path for path in written_by_hand(package) if "import annotations" in text(path)]


def test_a_wrong_shape_is_caught_while_tests_run() -> None:
    four_channels = torch.zeros(1, 4, 2, 2)
    with pytest.raises(Exception, match="image"):
        Normalisation((0, 0, 0), (1, 1, 1))(four_channels)
    with pytest.raises(Exception, match="pose"):
        invert_rigid(torch.eye(3))
    with pytest.raises(Exception, match="image"):
        resize_image(np.zeros((4, 4, 3), np.float32), 2, 2)


# How many rooms there are


ALIASES = {"training": {"average", "ship", "probe_fit"}, "service": set[str]()}
"""Old names of commands that only lead to the new ones."""


@pytest.mark.parametrize(("package", "rooms", "arrows"), [("service", 20, 70), ("training", 14, 40)])
def test_a_package_has_few_rooms_and_few_arrows_between_them(package: str, rooms: int, arrows: int) -> None:
    graph = grimp.build_graph(package, cache_dir=None)
    names = {name.split(".")[1] for name in graph.modules if "." in name} - ALIASES[package]

    def of(module: str) -> str:
        return module.partition(".")[2].partition(".")[0]

    found = {
        (of(module), of(imported))
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
    }
    found = {(one, other) for one, other in found if one in names and other in names and one != other}
    assert len(names) <= rooms
    assert len(found) <= arrows


# What the documents say


def drawn_tree() -> list[str]:
    block = re.search(
        r"^## The tree\n.*?^```\n(.*?)^```", text("ARCHITECTURE.md"), flags=re.DOTALL | re.MULTILINE
    )
    assert block, "ARCHITECTURE.md has no fenced block under '## The tree'"
    return block[1].splitlines()


def tracked() -> list[str]:
    """Every file that git tracks, or skip: an exported tree cannot tell its own files from others'."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    return subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_the_drawn_tree_lists_exactly_what_lies_at_the_top() -> None:
    top = {path.split("/")[0] + "/" * ("/" in path) for path in tracked()}
    settings_of_tools = {name for name in top if name.startswith(".")}
    listed = {line.split()[0] for line in drawn_tree() if line and not line.startswith(" ")}
    assert listed == (top - settings_of_tools) | {".ci/run"}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_drawn_tree_gives_each_room_its_first_sentence(package: str) -> None:
    lines = drawn_tree()
    here = next(i for i, line in enumerate(lines) if line.startswith(f"{package}/"))
    after = next((i for i, line in enumerate(lines) if i > here and not line.startswith(" ")), len(lines))
    # A folder without Python has no docstring, so its line is written by hand.
    by_hand = [line for line in lines[here + 1 : after] if not (ROOT / package / line.split()[0]).is_file()]
    by_hand = [line for line in by_hand if not (ROOT / package / line.split()[0] / "__init__.py").exists()]
    expected = [f"{package + '/':<26}{first_sentence(f'{package}/__init__.py')}", *by_hand]
    for path in (ROOT / package).iterdir():
        if path.suffix == ".py" and path.stem != "__init__":
            expected.append(f"  {path.name:<24}{first_sentence(path)}")
        elif (path / "__init__.py").exists():
            expected.append(f"  {path.name + '/':<24}{first_sentence(path / '__init__.py')}")
    assert all((ROOT / package / line.split()[0]).exists() for line in by_hand)
    expected = [
        re.sub(r"(?::\w+:)?`+~?([^`]+)`+", r"`\1`", line) for line in expected
    ]  # Markdown, not Sphinx
    assert sorted(lines[here:after]) == sorted(expected), "ARCHITECTURE.md should list:\n" + "\n".join(
        sorted(expected)
    )


def test_the_readme_s_first_commands_are_serve_and_test() -> None:
    commands = re.findall(r"^make \w+", text("README.md"), flags=re.MULTILINE)
    assert commands[:2] == ["make serve", "make test"]


def test_the_documents_name_only_commands_that_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", text("Makefile"), flags=re.MULTILINE))
    scripts = set(tomllib.loads(text("pyproject.toml"))["project"]["scripts"])
    for document in DOCUMENTS:
        assert set(re.findall(r"(?:^|`)make ([a-z]+)", text(document), flags=re.MULTILINE)) <= targets
        assert set(re.findall(r"(?:^|`)(depth-[a-z]+)", text(document), flags=re.MULTILINE)) <= scripts


def test_the_documents_name_only_files_and_extras_that_exist() -> None:
    extras = set(tomllib.loads(text("pyproject.toml"))["project"]["optional-dependencies"])
    for document in DOCUMENTS:
        paths = re.findall(r"`((?:model|training|service|tests|benchmarks|proto)/[\w./]*)`", text(document))
        assert not [path for path in paths if not (ROOT / path).exists()], document
        named = re.findall(r"pip install '\.\[([\w,]+)\]'", text(document))
        assert {extra for names in named for extra in names.split(",")} <= extras


def test_every_command_that_is_installed_leads_to_a_main() -> None:
    for target in tomllib.loads(text("pyproject.toml"))["project"]["scripts"].values():
        module, name = target.split(":")
        found = importlib.util.find_spec(module)
        assert found, target
        assert found.origin, target
        assert name in {function.name for function in functions(Path(found.origin))}


def test_the_notice_names_all_weights_and_data_that_anything_here_comes_from() -> None:
    notice = text("NOTICE")
    assert not [path for path in tracked() if path.endswith(".safetensors") and path not in notice]
    assert all(name in notice for name in ("DINOv2", "MobileNetV2", "KITTI", "CC BY-NC-SA 3.0"))


def test_the_notice_says_which_version_of_others_code_is_here() -> None:
    swagger, three = (
        re.search(pattern, text("NOTICE")) for pattern in (r"Swagger UI ([\d.]+),", r"three\.js r(\d+),")
    )
    assert swagger
    assert three
    assert f'"{swagger[1]}"' in text("service/rest/swagger/swagger-ui-bundle.js")
    assert f'"{three[1]}"' in text("service/web/static/vendor/three.js")
    assert (ROOT / "service/rest/swagger/LICENSE").exists()
    assert (ROOT / "service/web/static/vendor/three.LICENSE").exists()


def test_the_model_card_covers_every_checkpoint_that_ships() -> None:
    pretrained = ROOT / "model" / "pretrained"
    card = (pretrained / "README.md").read_text()
    assert not [path.name for path in pretrained.glob("*.safetensors") if f"`{path.name}`" not in card]


def test_pre_commit_runs_what_make_check_runs() -> None:
    entries = re.findall(r"entry: (.+)", text(".pre-commit-config.yaml"))
    assert entries == ["make check"]
