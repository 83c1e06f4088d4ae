import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.checkpoint import load_checkpoint, save_checkpoint
from model.drawing import check_answer, drawn_image, golden_answer
from model.golden import DRAWING, GoldenAnswer, GoldenError
from model.metadata import CheckpointMetadata, read_metadata
from model.records import read_record
from tests.assets import shared
from tests.model.networks import lively

SIZES = st.tuples(st.integers(1, 80), st.integers(1, 120))


def answer(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.01, 10, (height, width)).astype(np.float32)


def test_the_drawn_image_is_the_same_on_every_machine() -> None:
    drawn = {
        size: hashlib.sha256(drawn_image(*size).tobytes()).hexdigest()[:16] for size in [(192, 640), (65, 33)]
    }
    assert (DRAWING, drawn) == (1, {(192, 640): "c742d5ef0355cab2", (65, 33): "c43c336bec51fb1d"})


@given(size=SIZES)
def test_an_image_is_drawn_at_every_size(size: tuple[int, int]) -> None:
    drawn = drawn_image(*size)
    assert (drawn.shape, drawn.dtype) == ((*size, 3), np.uint8)


@given(size=SIZES, seed=st.integers(0, 99))
def test_an_answer_that_was_stored_as_json_passes_its_own_check(size: tuple[int, int], seed: int) -> None:
    given_answer = answer(*size, seed)
    golden = read_record(GoldenAnswer, json.loads(json.dumps(asdict(golden_answer(given_answer)))), "golden")
    assert check_answer(golden, given_answer, 0.0) == 0


@given(
    size=SIZES,
    where=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
    what=st.sampled_from([np.nan, np.inf]),
)
def test_one_value_that_is_not_finite_is_found_wherever_it_is(
    size: tuple[int, int], where: tuple[float, float], what: float
) -> None:
    broken = answer(*size)
    golden = golden_answer(broken)
    broken[int(where[0] * size[0]), int(where[1] * size[1])] = what
    with pytest.raises(GoldenError, match=r"1 of \d+ values of the output are NaN"):
        check_answer(golden, broken, 1e9)


@given(size=SIZES, off=st.floats(1e-3, 10), sign=st.sampled_from([1, -1]))
def test_an_answer_is_refused_as_soon_as_it_is_further_off_than_allowed(
    size: tuple[int, int], off: float, sign: int
) -> None:
    right = answer(*size) + 1
    golden = golden_answer(right)
    wrong = right * np.float32(1 + sign * off)
    assert check_answer(golden, wrong, off * 1.01) == pytest.approx(off, rel=1e-3)
    with pytest.raises(GoldenError, match="off the plain network's"):
        check_answer(golden, wrong, off * 0.99)


def test_an_answer_may_hold_zeros_but_not_only_zeros() -> None:
    half = answer(10, 20)
    half[:5] = 0
    assert check_answer(golden_answer(half), half, 0.0) == 0
    with pytest.raises(GoldenError, match="zero everywhere"):
        golden_answer(np.zeros((10, 20), np.float32))


def test_an_answer_of_another_size_or_to_another_drawing_is_refused() -> None:
    golden = golden_answer(answer(10, 20))
    with pytest.raises(GoldenError, match="is 10x20; expected 20x10"):
        check_answer(golden, answer(20, 10), 1.0)
    with pytest.raises(GoldenError, match="to drawing 7"):
        check_answer(replace(golden, drawing=7), answer(10, 20), 1.0)


@pytest.mark.parametrize("values", ["", "AAAA", "no base64!", "AADAfw=="])
def test_values_that_are_damaged_are_refused(values: str) -> None:
    with pytest.raises(ValueError, match="golden answer"):
        GoldenAnswer(height=1, width=1, values=values)


@pytest.mark.parametrize("name", ["tiny", "tiny-teacher"])
def test_a_saved_checkpoint_holds_the_golden_answer_of_its_weights_as_they_are_stored(
    name: str, tmp_path: Path
) -> None:
    network = lively(name)
    path = tmp_path / "a.safetensors"
    save_checkpoint(
        path, network, CheckpointMetadata(config=network.config), dtype="float16", foundation=True
    )
    loaded, metadata = load_checkpoint(path)
    assert metadata.golden == loaded.deployed().golden_answer()
    assert metadata.golden != network.deployed().golden_answer()


def test_a_network_that_answers_nan_is_not_saved(tmp_path: Path) -> None:
    network = lively("tiny")
    with torch.no_grad():
        next(network.geometry.parameters()).fill_(3e38)
    with pytest.raises(GoldenError, match="NaN or infinity"):
        save_checkpoint(tmp_path / "a.safetensors", network, CheckpointMetadata(config=network.config))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "file",
    [
        "model/pretrained/student",
        "model/pretrained/teacher",
        "benchmarks/synthetic_teacher",
        "benchmarks/synthetic_student",
    ],
)
def test_each_checkpoint_that_ships_stores_the_golden_answer_of_its_weights(file: str) -> None:
    path = Path(__file__).parents[2] / f"{file}.safetensors"
    stored = read_metadata(path).golden
    assert stored is not None
    weights = shared("weights/dinov2_vits14_fp16.safetensors") if "teacher" in file else "hub"
    network, _ = load_checkpoint(path, foundation_weights=weights)
    with torch.inference_mode():
        pixels = torch.from_numpy(drawn_image(stored.height, stored.width)).permute(2, 0, 1)[None] / 255
        answer = network.deployed()(pixels)[0].numpy()
    assert check_answer(stored, answer, 1e-4) < 1e-4
