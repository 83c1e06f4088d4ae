import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from model.predictor import Predictor
from tests.service.predict.conftest import Predict, picture


def records(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def predicted(checkpoint: Path, image: np.ndarray) -> np.ndarray:
    return Predictor.from_checkpoint(checkpoint).predict([image])[0]


@pytest.mark.parametrize("backend", ["torch", pytest.param("openvino", marks=pytest.mark.slow)])
def test_each_photograph_of_a_folder_gets_the_predictor_s_depth(
    predict: Predict,
    checkpoint: Path,
    folder: Path,
    tmp_path: Path,
    backend: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    predict(folder, "--formats", "npy", "png16", "--backend", backend)
    for seed in range(5):
        expected = predicted(checkpoint, picture(seed, 90 + 20 * (seed % 2)))
        depth = np.load(tmp_path / "out" / f"{seed}_depth.npy")
        np.testing.assert_allclose(depth, expected, rtol=1e-3)
        stored = cv2.imread(str(tmp_path / "out" / f"{seed}_depth.png"), cv2.IMREAD_UNCHANGED)
        assert stored.dtype == np.uint16
        np.testing.assert_allclose(stored / 256, depth.clip(0, 65535 / 256), atol=1 / 512 + 1e-6)


def test_depth_and_colours_are_written_by_default(predict: Predict, folder: Path, tmp_path: Path) -> None:
    predict(folder / "1.png")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1_color.png", "1_depth.png"]


def test_a_photograph_that_lies_on_its_side_gets_upright_depth(
    predict: Predict, checkpoint: Path, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(picture(1)).save(tmp_path / "lying.png", exif=exif)
    predict(tmp_path / "lying.png", "--formats", "npy")
    expected = predicted(checkpoint, np.ascontiguousarray(np.rot90(picture(1), -1)))
    np.testing.assert_allclose(np.load(tmp_path / "out" / "lying_depth.npy"), expected, rtol=1e-4)


def test_one_that_cannot_be_read_is_named_with_its_reason_and_the_others_are_written(
    predict: Predict, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "2.png").write_bytes(b"no photograph")
    with pytest.raises(SystemExit) as stopped:
        predict(folder, "--formats", "npy")
    assert stopped.value.code == 1
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["0_depth.npy", "1_depth.npy", "3_depth.npy", "4_depth.npy"]
    said = capsys.readouterr()
    assert "4 of 5 written" in said.out
    assert f"{folder / '2.png'}: the bytes are no image that we read" in said.err


def test_a_photograph_that_is_odd_is_named_and_written(
    predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.full((110, 150), 4000, np.uint16)).save(tmp_path / "deep.png")
    predict(tmp_path / "deep.png", "--formats", "npy", "--json")
    said = capsys.readouterr()
    assert "multiply its values by 16" in json.loads(said.out)["notice"]
    assert f"{tmp_path / 'deep.png'}: this 16-bit grey image" in said.err


def test_a_summary_says_how_each_file_is_read(
    predict: Predict, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(folder / "1.png", "--formats", "npy", "png16", "color", "--json")
    (record,) = records(capsys)
    depth = np.load(tmp_path / "out" / "1_depth.npy")
    assert record == {
        "input": str(folder / "1.png"),
        "height": 110,
        "width": 150,
        "unit": "metre",
        "scale_source": "checkpoint",
        "network_scale": 2.0,
        "minimum": float(depth.min()),
        "maximum": float(depth.max()),
        "files": {
            "npy": {"path": str(tmp_path / "out" / "1_depth.npy"), "scale": 1.0, "invalid": "none"},
            "png16": {"path": str(tmp_path / "out" / "1_depth.png"), "scale": 1 / 256, "invalid": "0"},
            "color": {"path": str(tmp_path / "out" / "1_color.png"), "scale": None, "invalid": "none"},
        },
    }


def test_a_known_distance_makes_relative_depth_metric(
    predict: Predict,
    relative_checkpoint: Path,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ("--formats", "npy", "--json", "--known-distance", "75", "55", "12.5")
    predict(folder / "1.png", *options, checkpoint=relative_checkpoint)
    (record,) = records(capsys)
    assert (record["unit"], record["scale_source"]) == ("metre", "known-distance")
    depth = np.load(tmp_path / "out" / "1_depth.npy")
    assert np.median(depth[53:58, 73:78]) == pytest.approx(12.5, rel=1e-5)
    ratio = depth / predicted(relative_checkpoint, picture(1, 110))
    np.testing.assert_allclose(ratio, record["network_scale"], rtol=1e-4)


def test_relative_depth_is_not_called_metres(
    predict: Predict, relative_checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(folder / "1.png", "--json", checkpoint=relative_checkpoint)
    (record,) = records(capsys)
    assert (record["unit"], record["scale_source"], record["network_scale"]) == ("relative", "none", 1.0)


def test_a_point_cloud_has_the_photograph_s_colours_at_its_depth(
    predict: Predict, folder: Path, tmp_path: Path
) -> None:
    predict(folder / "1.png", "--formats", "ply", "npy", "--intrinsics", "100", "110", "75", "55")
    head, body = (tmp_path / "out" / "1_points.ply").read_bytes().split(b"end_header\n", 1)
    assert b"element vertex 16500" in head
    kind = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)])
    points = np.frombuffer(body, kind).reshape(110, 150)
    depth = np.load(tmp_path / "out" / "1_depth.npy")
    np.testing.assert_array_equal(points["rgb"], picture(1, 110))
    np.testing.assert_array_equal(points["xyz"][..., 2], depth)
    np.testing.assert_allclose(
        points["xyz"][0, 0, :2], [-0.745 * depth[0, 0], -54.5 / 110 * depth[0, 0]], rtol=1e-5
    )


def test_nothing_is_done_where_a_file_is_in_the_way(
    predict: Predict, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "out" / "3_depth.npy"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(SystemExit, match=r"3_depth\.npy exists; expected another --output, or --overwrite"):
        predict(folder, "--formats", "npy")
    assert [path.name for path in mine.parent.iterdir()] == ["3_depth.npy"]
    predict(folder, "--formats", "npy", "--overwrite")
    assert len(list(mine.parent.iterdir())) == 5
    assert np.load(mine).shape == (110, 150)


def test_a_photograph_is_never_replaced_by_what_is_made_of_it(predict: Predict, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("a.png", "a_depth.png"):
        Image.fromarray(picture(0)).save(out / name)
    with pytest.raises(SystemExit, match=r"a_depth\.png is an input, and would be replaced"):
        predict(out / "a.png", out / "a_depth.png", "--overwrite")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            ["--fov-deg", "70", "--intrinsics", "1", "1", "1", "1"],
            "fov_deg and intrinsics are given; expected one of them",
        ),
        (["--fov-deg", "200"], "fov_deg is '200.0'; expected a number from 0.1 to 179"),
        (["--color-map", "pink"], "--color-map is 'pink'; expected one of gray"),
        (["--steadiness", "1.1"], "--steadiness is 1.1"),
        (["--smoothing", "0.8"], "--smoothing is gone; expected --steadiness"),
        (["--poses", "poses.txt"], "--poses are those of one video; 0 videos"),
        (["--near", "5", "--far", "2"], "expected near below far"),
        (["--device", "cuda:99"], "device is 'cuda:99'; this machine has"),
    ],
)
def test_options_that_mean_nothing_are_refused_before_anything_is_read(
    predict: Predict, folder: Path, tmp_path: Path, options: list[str], problem: str
) -> None:
    with pytest.raises(SystemExit, match=problem):
        predict(folder, *options)
    assert not (tmp_path / "out").exists()


def test_a_missing_checkpoint_is_named(predict: Predict, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        SystemExit, match=r"no checkpoint lies at .*none\.safetensors; expected one there, or --checkpoint"
    ):
        predict(folder, checkpoint=tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--formats", "ply"], "a point cloud needs a lens"),
        (["--camera-height-m", "1.5"], "the ground needs a lens"),
    ],
)
def test_a_photograph_without_a_lens_is_named_where_one_is_needed(
    predict: Predict, folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], problem: str
) -> None:
    """A photograph may bring its lens in its EXIF, so that nobody knows before it is read."""
    with pytest.raises(SystemExit):
        predict(folder, *options)
    assert problem in capsys.readouterr().err


def test_a_sparse_depth_image_beside_a_photograph_makes_its_depth_metric(
    predict: Predict,
    relative_checkpoint: Path,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain = predicted(relative_checkpoint, picture(1, 110))
    steps = np.zeros(plain.shape, np.uint16)
    steps[::10, ::10] = np.rint(plain[::10, ::10] * 3 * 1000)
    (tmp_path / "sparse").mkdir()
    Image.fromarray(steps).save(tmp_path / "sparse" / "1.png")
    options = ("--formats", "npy", "--json", "--sparse-depth-steps-per-metre", "1000", "--sparse-depth")
    predict(folder / "1.png", *options, tmp_path / "sparse", checkpoint=relative_checkpoint)
    (record,) = records(capsys)
    assert (record["unit"], record["scale_source"]) == ("metre", "known-points")
    np.testing.assert_allclose(np.load(tmp_path / "out" / "1_depth.npy"), plain * 3, rtol=0.02)


def test_depth_of_a_camera_that_distorts_can_be_of_the_raw_picture(
    predict: Predict, folder: Path, tmp_path: Path
) -> None:
    cameras = tmp_path / "cameras.yaml"
    cameras.write_text(
        "front:\n  image_width: 150\n  image_height: 90\n"
        "  camera_matrix: {rows: 3, cols: 3, data: [100, 0, 75, 0, 100, 45, 0, 0, 1]}\n"
        "  distortion_model: plumb_bob\n"
        "  distortion_coefficients: {rows: 1, cols: 5, data: [-0.3, 0.05, 0, 0, 0]}\n"
    )
    camera = ("--cameras", cameras, "--camera", "front", "--overwrite")
    found = {}
    for rectify in ("yes", "no"):
        predict(folder / "0.png", *camera, "--rectify", rectify, "--formats", "npy", "png16")
        found[rectify] = np.load(tmp_path / "out" / "0_depth.npy")
        assert Image.open(tmp_path / "out" / "0_depth.png").info["rectified"] == rectify
    both = np.isfinite(found["yes"]) & np.isfinite(found["no"])
    assert np.abs(found["yes"] / found["no"] - 1)[both].max() > 0.01
    with pytest.raises(SystemExit, match="of the rectified picture"):
        predict(folder / "0.png", *camera, "--formats", "ply", "--rectify", "no")
