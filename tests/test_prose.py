"""The words of docs, docstrings, comments, messages and names: the field's own, and plain English."""

import ast
import re
from pathlib import Path

import pytest

from tests.test_house import ROOT, first_sentence, text, tracked, written_by_hand

PROSE = {".md", ".py", ".js", ".ts", ".toml", ".yml", ".yaml", ".proto", ".sh", ".html", ".tpl", ".c", ""}
OF_OTHERS = (
    "service/rest/swagger/",
    "service/web/static/vendor/",
    "service/rpc/pb/",
    "LICENSE",
    "docker/locks/",
)
DRAWN = (
    "training/data/synthetic/",
    "tests/training/",
    "benchmarks/synthetic_teacher",
    "model/pretrained/",
    "service/web/",
)
"""Where streets are drawn or photographed: their houses have doors."""
HERE = ("tests/test_prose.py", "CONTRIBUTING.md")

WORDS = {
    r"doors?": ("transport", (*DRAWN, "tests/model/test_records.py")),
    r"(at|over|through|behind) the counter": ("service", ()),
    r"workshops?": ("training", ()),
    r"(the|our|this) house": ("service", DRAWN),
    r"shel(f|ves|ved)": ("checkpoint discovery, or what was found", DRAWN),
    r"errands?": ("job, or request slot", ()),
    r"heralds?": ("notifier", ()),
    r"answerers?": ("handler", ()),
    r"entrances?": ("admission, or interceptor", ()),
    r"newcomers?": ("new request", ()),
    r"goodbyes?": ("close", ()),
    r"patience": ("deadline, or timeout", ()),
    r"strangers?": ("untrusted, or unknown", ()),
    r"turn(s|ed|ing)? (\w+ )?away": ("refuse", DRAWN),
    r"(?-i:he|his|him|she|her)": ("they; a client is it", ()),
    r"(it|this module) does not know": ("what it does", ()),
}
"""A pattern of whole words, with what to write instead and the paths where it is meant literally."""


def prose() -> list[str]:
    paths = (
        path for path in tracked() if Path(path).suffix in PROSE and not path.startswith((*OF_OTHERS, *HERE))
    )
    return [path for path in paths if (ROOT / path).is_file() and not path.endswith(("package-lock.json",))]


@pytest.mark.parametrize("word", WORDS)
def test_no_text_has_a_word_that_says_it_by_a_picture(word: str) -> None:
    instead, literal = WORDS[word]
    pattern = re.compile(rf"(?<![\w-])({word})(?![\w-])", re.IGNORECASE)
    found = [
        f"{path}:{number}: {line.strip()[:100]}"
        for path in prose()
        if not path.startswith(tuple(literal) or ("\0",))
        for number, line in enumerate(text(path).splitlines(), 1)
        if pattern.search(line.replace("_", " "))
    ]
    assert not found, f"write {instead!r} instead:\n" + "\n".join(found)


def docstrings(path: Path) -> list[str]:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = (node for node in ast.walk(ast.parse(text(path))) if isinstance(node, kinds))
    return [docstring for node in nodes if (docstring := ast.get_docstring(node))]


def test_functions_return_rather_than_answer() -> None:
    sources = written_by_hand("model", "service", "training", "depth_client", "tests", "examples", "docs")
    assert not [
        f"{path}: {docstring[:80]}"
        for path in sources
        for docstring in docstrings(path)
        if docstring.startswith("Answer ")
    ]


def test_the_sentence_of_a_module_fits_a_line() -> None:
    sources = written_by_hand("model", "service", "training", "depth_client")
    assert not [str(path) for path in sources if len(first_sentence(path)) > 130]
