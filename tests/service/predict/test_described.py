"""`depth-predict` on networks of others: the description's rules, at each picture's own size."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.described.runtime import open_network
from tests.model.described.standins import write_brightness, write_network
from tests.service.predict.conftest import Predict, picture
from tests.service.predict.test_videos import write_video

LOWER = {"rule": "lower", "target": [32], "multiple": 16, "up": "cubic-opencv"}


def described(network: Path, **keys: object) -> Path:
    said = {"format": "depth-network/1", "runtime": "onnxruntime", **keys}
    network.with_suffix(".depth.json").write_text(json.dumps(said))
    return network


def test_photographs_of_several_sizes_get_the_depth_that_the_description_says(
    predict: Predict, folder: Path, tmp_path: Path
) -> None:
    said = {"size": LOWER, "output": {"quantity": "depth", "unit": "metre"}}
    network = described(write_network(tmp_path / "n.onnx"), **said)
    predict(folder, "--formats", "npy", checkpoint=network)
    for seed in range(5):
        [reading] = open_network(network).see([picture(seed, 90 + 20 * (seed % 2))])
        depth = np.load(tmp_path / "out" / f"{seed}_depth.npy")
        assert depth.shape == (90 + 20 * (seed % 2), 150)
        np.testing.assert_allclose(depth, 1 / reading.disparity, rtol=1e-4)


def test_affine_depth_is_relative_says_so_and_becomes_metres_by_two_points(
    predict: Predict, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = {"quantity": "disparity", "unit": "affine"}
    network = described(
        write_brightness(tmp_path / "n.onnx", shift=0.2), size={"rule": "native"}, output=output
    )
    predict(folder / "0.png", "--json", checkpoint=network)
    said = json.loads(capsys.readouterr().out)
    assert said["unit"] == "relative"
    assert "up to a factor and a shift" in said["notice"]
    brightness = picture(0).astype(np.float64).mean(axis=2) / 255
    pixels = [(20, 30), (100, 60), (140, 10), (60, 80)]
    points = ";".join(f"{x + 0.5},{y + 0.5},{1 / (0.1 * brightness[y, x] + 0.05)}" for x, y in pixels)
    predict(folder / "0.png", "--formats", "npy", "--known-points", points, "--overwrite", checkpoint=network)
    depth = np.load(tmp_path / "out" / "0_depth.npy")
    np.testing.assert_allclose(depth, 1 / (0.1 * brightness + 0.05), rtol=0.01)


def test_a_lens_makes_metres_where_the_description_has_a_focal_rule(
    predict: Predict, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {
        "size": {"rule": "native"},
        "output": {"unit": "metre"},
        "focal": {"rule": "times-over", "reference": 300},
    }
    network = described(write_brightness(tmp_path / "n.onnx", shift=0.2), **said)
    predict(folder / "0.png", "--json", checkpoint=network)
    without = json.loads(capsys.readouterr().out)
    assert without["unit"] == "relative"
    assert "need a lens" in without["notice"]
    lens = ("--intrinsics", "600", "600", "75", "45")
    predict(folder / "0.png", "--json", "--overwrite", *lens, checkpoint=network)
    seen = json.loads(capsys.readouterr().out)
    assert seen["unit"] == "metre"
    assert "notice" not in seen
    assert seen["maximum"] == pytest.approx(2 * without["maximum"], rel=1e-3)


def test_a_video_s_frames_are_those_of_the_description(predict: Predict, tmp_path: Path) -> None:
    network = described(write_network(tmp_path / "n.onnx"), size=LOWER, output={"quantity": "depth"})
    video = write_video(tmp_path / "drive.mp4", [picture(index, 96, 160) for index in range(3)])
    predict(video, "--formats", "npy", checkpoint=network)
    for index in range(3):
        depth = np.load(tmp_path / "out" / "drive_frames" / f"{index:06}_depth.npy")
        assert depth.shape == (96, 160)
        assert np.isfinite(depth).all()


def test_a_network_without_a_description_is_told_what_it_lacks(
    predict: Predict, folder: Path, tmp_path: Path
) -> None:
    network = write_network(tmp_path / "n.onnx")
    with pytest.raises(SystemExit, match=r"depth-predict: .*n\.depth\.json cannot be read"):
        predict(folder, checkpoint=network)


def test_a_picture_that_the_network_cannot_see_fails_alone(
    predict: Predict, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(picture(9, 30, 600)).save(folder / "9.png")
    network = described(write_network(tmp_path / "n.onnx"), size={**LOWER, "max_pixels": 48 * 48})
    with pytest.raises(SystemExit):
        predict(folder, "--formats", "npy", checkpoint=network)
    assert "9.png: a picture of 600x30 pixels gives this network 640x32" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{n}_depth.npy" for n in range(5)}
