"""The soak of `benchmarks/soak.py`, for a minute: it compares every answer, and looks at what is left."""

import io
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from benchmarks.soak_corpus import Corpus
from service.contract.request import Format
from tests.e2e.process import ROOT

_PNG = (Format.COLOR, Format.PNG16)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus(Random(3), (64, 96), {"student": 2.0}, count=2)


def _repacked(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=9)
    return file.getvalue()


@pytest.mark.parametrize("name", tuple(Format))
def test_the_soak_finds_no_difference_between_an_answer_and_itself(corpus: Corpus, name: Format) -> None:
    assert corpus.difference(0, "student", name, "input", corpus.expected(0, "student", name, "input")) == ""


@pytest.mark.parametrize("name", tuple(Format))
def test_the_soak_finds_another_photographs_answer(corpus: Corpus, name: Format) -> None:
    assert "were expected" in corpus.difference(
        0, "student", name, "model", corpus.expected(1, "student", name, "model")
    )


@pytest.mark.parametrize("name", _PNG)
def test_the_soak_compares_pixels_and_not_how_a_png_file_packs_them(corpus: Corpus, name: Format) -> None:
    expected = corpus.expected(0, "student", name, "model")
    pixels = np.asarray(Image.open(io.BytesIO(expected))).copy()
    packed_otherwise = _repacked(pixels)
    assert packed_otherwise != expected
    assert corpus.difference(0, "student", name, "model", packed_otherwise) == ""
    pixels.flat[1234] += 1
    assert "1 values differ by up to 1" in corpus.difference(0, "student", name, "model", _repacked(pixels))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_requests_of_every_kind_are_answered_rightly_and_leave_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/soak.py", "--requests", "1000", "--seed", "7"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "soak.md")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
