"""The generated pages of the documentation say what the code says."""

import importlib.util
from types import ModuleType

import pytest

from tests.docs.blocks import ROOT

GENERATOR = ROOT / "docs" / "reference" / "generate.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_reference", GENERATOR)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["settings.md", "http.md", "grpc.md", "python.md"])
def test_a_page_of_the_reference_is_what_its_script_writes(page: str) -> None:
    generator = load()
    assert set(generator.PAGES) == {path.name for path in GENERATOR.parent.glob("*.md")}
    written = (GENERATOR.parent / page).read_text(encoding="utf-8")
    assert written == generator.PAGES[page](), "run: python docs/reference/generate.py"
