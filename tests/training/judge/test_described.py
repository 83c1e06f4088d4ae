"""`depth-evaluate` on networks of others: each unit is judged under the alignment that it needs."""

import json

import cv2
import numpy as np
import pytest

from tests.model.described.standins import write_brightness
from training.judge.evaluate import main

HEIGHT, WIDTH = 24, 40


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Three photographs whose brightness x, from 0 to 1, is disparity: depth is 1 / (0.2 x + 0.05) metres."""
    folder = tmp_path_factory.mktemp("scene")
    generator = np.random.default_rng(0)
    for name in ("images", "depth"):
        (folder / name).mkdir()
    for index in range(3):
        grey = generator.integers(0, 256, (HEIGHT, WIDTH), np.uint8)
        cv2.imwrite(str(folder / "images" / f"{index}.png"), cv2.merge([grey] * 3))
        depth = 1 / (0.2 * grey.astype(np.float32) / 255 + 0.05)
        np.save(folder / "depth" / f"{index}.npy", depth)
    return folder


@pytest.fixture
def network(tmp_path):
    """Write a network of brightness with a description."""

    def write(unit, factor=1.0, shift=0.0, **keys):
        path = write_brightness(tmp_path / f"{unit}.onnx", factor=factor, shift=shift)
        output = {"quantity": "disparity", "unit": unit}
        said = {"format": "depth-network/1", "size": {"rule": "native"}, "output": output, **keys}
        path.with_suffix(".depth.json").write_text(json.dumps(said))
        return path

    return write


@pytest.fixture
def judge(scene, tmp_path):
    """Judge a file on the scene, and return each report by its alignment."""

    def run(path, *more):
        data = ["--data", str(scene / "images"), "--ground-truth", str(scene / "depth")]
        main([str(path), "--protocol", "folder", *data, "--output", str(tmp_path / "out"), *more])
        summary = json.loads((tmp_path / "out" / "summary.json").read_text())
        return {report["alignment"]: report["mean"]["abs_rel"] for report in summary["reports"]}

    return run


def test_affine_disparity_is_judged_by_scale_and_shift(network, judge):
    assert judge(network("affine", factor=3.0, shift=0.4)) == {"least_squares": pytest.approx(0.0, abs=1e-4)}


def test_a_ratio_of_depths_is_said_only_where_no_shift_is_fitted(network, judge, capsys):
    said = "true / predicted median depth"
    judge(network("affine"))
    assert said not in capsys.readouterr().out
    judge(network("relative"))
    assert said in capsys.readouterr().out


def test_disparity_of_zero_is_legal_and_far(network, judge):
    assert judge(network("affine", factor=4.0)) == {"least_squares": pytest.approx(0.0, abs=1e-4)}


@pytest.mark.parametrize("alignment", ["median", "none"])
def test_affine_disparity_is_refused_another_alignment(network, judge, alignment):
    with pytest.raises(SystemExit, match=f"--alignment {alignment}: .*affine.*expected --alignment lsq"):
        judge(network("affine"), "--alignment", alignment)


def test_affine_disparity_is_refused_beside_a_network_that_is_judged_by_medians(network, judge):
    relative, affine = network("relative", 0.4, 0.1), network("affine")
    with pytest.raises(SystemExit, match=r"affine\.onnx.*expected --alignment lsq"):
        judge(relative, "--against", str(affine))


def test_affine_disparity_has_no_ratios_to_measure_edges_by(network, judge):
    with pytest.raises(SystemExit, match="--aspects compares ratios of depth"):
        judge(network("affine"), "--aspects")


def test_relative_depth_is_judged_by_medians_and_never_as_metres(network, judge):
    path = network("relative", factor=0.4, shift=0.1)  # twice the true disparity
    assert judge(path) == {"median": pytest.approx(0.0, abs=1e-4)}
    with pytest.raises(SystemExit, match="relative"):
        judge(path, "--alignment", "none")


def test_metres_are_judged_by_medians_and_as_they_are(network, judge):
    found = judge(network("metre", factor=0.4, shift=0.1))
    assert found == {"median": pytest.approx(0.0, abs=1e-4), "none": pytest.approx(0.5, abs=1e-3)}


def test_metres_that_need_a_lens_are_judged_by_medians(network, judge):
    path = network("metre", 0.4, 0.1, focal={"rule": "vertical", "reference": 300})
    assert judge(path) == {"median": pytest.approx(0.0, abs=1e-4)}
    with pytest.raises(SystemExit, match="need a lens"):
        judge(path, "--alignment", "none")


def test_a_file_that_is_not_as_described_is_told_without_traceback(network, judge):
    path = network("metre", input={"tensor": "picture"})
    with pytest.raises(SystemExit, match="no tensor 'picture'"):
        judge(path)
