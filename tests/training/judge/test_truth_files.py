"""Ground truth in every unit and format that people have it in."""

import json

import cv2
import numpy as np
import pytest

from training.data.frames import FrameError
from training.judge.protocols.truth_files import (
    CITYSCAPES_DISPARITY,
    STEPS_PER_M,
    DepthScale,
    TruthFile,
    unit_remark,
)

METRES = np.array([[0.0, 1.5, 2.25], [10.0, 12.5, 6.0]])
AUTO = DepthScale.of("auto")


def read(path, scale=AUTO):
    return TruthFile(path=path, scale=scale).read(2, 3)


@pytest.mark.parametrize("name", STEPS_PER_M)
def test_each_convention_gives_back_the_metres(name, tmp_path):
    path = tmp_path / "depth.png"
    cv2.imwrite(str(path), np.round(METRES * STEPS_PER_M[name]).astype(np.uint16))
    assert read(path, DepthScale.of(name)) == pytest.approx(METRES, abs=0.51 / STEPS_PER_M[name])


def test_a_number_of_steps_does_for_conventions_without_a_name(tmp_path):
    cv2.imwrite(str(tmp_path / "depth.png"), (METRES * 80).astype(np.uint16))
    assert read(tmp_path / "depth.png", DepthScale.of("80")) == pytest.approx(METRES)


def test_floats_are_metres_in_every_format(tmp_path):
    openexr = pytest.importorskip("OpenEXR")
    floats = METRES.astype(np.float32)
    np.save(tmp_path / "depth.npy", METRES)
    cv2.imwrite(str(tmp_path / "depth.tif"), floats)
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
    openexr.File(header, {"Z": floats}).write(str(tmp_path / "depth.exr"))
    for suffix in (".npy", ".tif", ".exr"):
        assert read(tmp_path / f"depth{suffix}") == pytest.approx(METRES), suffix


def test_what_is_no_distance_counts_as_not_measured(tmp_path):
    np.save(tmp_path / "depth.npy", np.array([[np.nan, np.inf, -1.0], [0.0, -np.inf, 2.0]]))
    assert read(tmp_path / "depth.npy").tolist() == [[0, 0, 0], [0, 0, 2]]


def test_disparity_of_cityscapes_becomes_metres_by_its_camera(tmp_path):
    disparity_px = np.array([[0.0, 20.0, 40.0], [50.0, 80.0, 100.0]])
    stored = np.where(disparity_px > 0, disparity_px * 256 + 1, 0).astype(np.uint16)
    path = tmp_path / "aachen_000000_000019_disparity.png"
    cv2.imwrite(str(path), stored)
    camera = {"extrinsic": {"baseline": 0.2}, "intrinsic": {"fx": 2000.0}}
    (tmp_path / "aachen_000000_000019_camera.json").write_text(json.dumps(camera))
    depth = read(path, DepthScale.of(CITYSCAPES_DISPARITY, tmp_path))
    assert depth == pytest.approx(np.array([[0, 20.0, 10.0], [8.0, 5.0, 4.0]]), rel=1e-5)
    with pytest.raises(ValueError, match="--calibration"):
        DepthScale.of(CITYSCAPES_DISPARITY)


@pytest.mark.parametrize("text", ["inches", "0", "-3", "nan", "inf"])
def test_an_unknown_unit_is_refused_with_those_that_are_known(text):
    with pytest.raises(ValueError, match=rf"{text}.*expected auto, kitti, mm"):
        DepthScale.of(text)


def test_a_file_of_another_size_or_kind_is_named(tmp_path):
    np.save(tmp_path / "small.npy", METRES[:1])
    np.save(tmp_path / "many.npy", np.zeros((2, 3, 4)))
    cv2.imwrite(str(tmp_path / "grey.png"), np.zeros((2, 3), np.uint8))
    (tmp_path / "no.tif").write_bytes(b"no picture")
    for name, trouble in (
        ("small.npy", "3x1 pixels, but its photograph is 3x2"),
        ("many.npy", "one number a pixel"),
        ("grey.png", "8 bits"),
        ("no.tif", "cannot be read"),
    ):
        with pytest.raises(FrameError, match=f"{name}.*{trouble}"):
            read(tmp_path / name)


def test_millimetres_read_as_kitti_s_steps_are_remarked_on_and_metres_are_not():
    assert "--depth-scale mm" in str(unit_remark(1.05 * 1000 / 256, 256.0))
    assert "--depth-scale tum" in str(unit_remark(0.95 * 5000 / 256, 256.0))
    assert "--depth-scale kitti" in str(unit_remark(256 / 1000, 1000.0))
    for ratio in (1.0, 0.8, 1.3):
        assert unit_remark(ratio, 256.0) is None
