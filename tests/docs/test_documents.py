"""What the documents say is so: their blocks parse, and what they name exists."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from service.settings import Settings
from tests.docs.blocks import REASONS, ROOT, Block, all_blocks, blocks, pages, without_code
from tests.docs.shell import commands, help_of, options, ours

WORDS = {"skip", "needs", "slow", "apart", "exit"}
STARTS = re.compile(
    r"^(\$|curl|python3?|pip|make|docker|docker-compose|depth-\w+|kubectl|helm|grpcurl) ", re.MULTILINE
)
OF_TESTS = {"DEPTH_TEST_ASSETS"}
"""Variables that the tests read, and no part of the service."""
MAKEFILE = (ROOT / "Makefile").read_text()
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", pages(), ids=name)
def test_each_marker_is_one_that_contributing_md_explains(page: Path) -> None:
    for block in blocks(page):
        assert set(block.words) <= WORDS, block
        assert block.words.get("skip", "gpu") in REASONS, block
    explained = (ROOT / "CONTRIBUTING.md").read_text()
    assert not [word for word in (*WORDS, *REASONS) if f"`{word}" not in explained]


@pytest.mark.parametrize("page", pages(), ids=name)
def test_a_block_of_commands_says_that_it_is_one(page: Path) -> None:
    assert not [str(block) for block in blocks(page) if not block.language and STARTS.search(block.code)]


@pytest.mark.parametrize("block", all_blocks("sh"), ids=str)
def test_shell_parses(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.code, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), block


@pytest.mark.parametrize("block", all_blocks("python"), ids=str)
def test_python_compiles(block: Block) -> None:
    compile(block.code, str(block), "exec")


@pytest.mark.parametrize("block", all_blocks("json", "yaml", "yml", "toml"), ids=str)
def test_data_parses(block: Block) -> None:
    if block.language == "json":
        json.loads(block.code)
    elif block.language == "toml":
        tomllib.loads(block.code)
    else:
        assert list(yaml.safe_load_all(block.code))


@pytest.mark.parametrize("block", all_blocks("sh"), ids=str)
def test_options_of_our_commands_exist(block: Block) -> None:
    """Also where a block cannot be run here."""
    for command in commands(block.code):
        program = ours(command)
        if program is None or not options(command):
            continue
        known = set(re.findall(r"--[\w.-]+", help_of(program))) | {"--help"}
        assert options(command) <= known, f"{block}: {' '.join(command)}"


@pytest.mark.parametrize("page", pages(), ids=name)
def test_targets_settings_and_extras_that_a_document_names_exist(page: Path) -> None:
    text = page.read_text()
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, flags=re.MULTILINE)) <= targets
    settings = {f"DEPTH_{field.upper()}" for field in Settings.model_fields} | OF_TESTS
    assert set(re.findall(r"\bDEPTH_[A-Z][A-Z0-9_]*[A-Z0-9]\b", text)) <= settings
    named = re.findall(r"(?:vfm-depth|'\.|\"\.)\[([\w,]+)\]", text)
    assert {extra for extras in named for extra in extras.split(",")} <= EXTRAS


@pytest.mark.parametrize("page", pages(), ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        path = (page.parent / place).resolve() if place else page
        if path.is_relative_to(ROOT / "benchmarks") and path.suffix == ".md" and not path.exists():
            continue  # a report is there once its benchmark has run on an idle machine, as benchmarks.md says
        assert path.exists(), f"{name(page)} links to {target}"
        if anchor:
            assert anchor in anchors(path), f"{name(page)} links to {target}"


def anchors(page: Path) -> set[str]:
    """The fragments by which a page's headings are reached, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_code(page), flags=re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)]\([^)]*\)|[`*]", r"\1", heading).strip().lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def test_every_page_is_found_from_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    targets = re.findall(r"\]\(([^)#\s]+)", index.read_text())
    linked = {index, *((index.parent / target).resolve() for target in targets)}
    assert not [name(page) for page in pages() if page.is_relative_to(index.parent) and page not in linked]


def test_the_reader_of_blocks_sees_markers_languages_and_lines(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "a\n\n<!-- run: skip=gpu -->\n```bash\nls\n```\n\n- b\n"
        "  ```python title=x\n  if 1:\n      2\n  ```\n```\nc\n```\n"
    )
    first, second, third = blocks(page)
    assert (first.language, first.words, first.line, first.code) == ("sh", {"skip": "gpu"}, 4, "ls\n")
    assert (second.language, second.words, second.code) == ("python", {}, "if 1:\n    2\n")
    assert (third.language, third.code) == ("", "c\n")


def test_the_reader_of_shell_sees_our_commands_and_their_options() -> None:
    code = "A=1 depth-train smoke --folder x \\\n  --seed=3 && curl --fail -o a b | depth-info --json\n"
    found = commands(code)
    assert found[0] == ["depth-train", "smoke", "--folder", "x", "--seed=3"]
    assert [ours(command) for command in found] == [
        ("-m", "training.train", "smoke"),
        None,
        ("-m", "model.info"),
    ]
    assert options(found[0]) == {"--folder", "--seed"}
