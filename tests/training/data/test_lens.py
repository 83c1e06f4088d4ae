import cv2
import numpy as np
import pytest

from tests.training.data.fabricated import pattern, write_image, write_text
from training.data.layout import LayoutError
from training.data.lens import Lens, LensError, read_lens
from training.data.video import Video
from training.data.video_config import VideoConfig

HEIGHT, WIDTH = 240, 320
MATRIX = np.array([[150.0, 0, 160], [0, 152, 118], [0, 0, 1]])
BENT = {"ordinary": (-0.3, 0.1, 0.001, -0.002, 0.0), "fisheye": (0.05, -0.02, 0.01, -0.003)}

OPENCV = """%YAML:1.0
---
image_width: 320
image_height: 240
{fisheye}
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 150., 0., 160., 0., 152., 118., 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 1
   cols: {count}
   dt: d
   data: [ {bent} ]
"""
ROS = """image_width: 320
image_height: 240
camera_name: left
camera_matrix:
  rows: 3
  cols: 3
  data: [150, 0, 160, 0, 152, 118, 0, 0, 1]
distortion_model: {model}
distortion_coefficients:
  rows: 1
  cols: {count}
  data: [{bent}]
"""
KALIBR = """cam0:
  camera_model: pinhole
  intrinsics: [150.0, 152.0, 160.0, 118.0]
  distortion_model: {model}
  distortion_coeffs: [{bent}]
  resolution: [320, 240]
  rostopic: /cam0
"""


def written(form, kind):
    bent = BENT[kind][:4] if form is KALIBR else BENT[kind]
    names = {"ordinary": "radtan" if form is KALIBR else "plumb_bob", "fisheye": "equidistant"}
    return form.format(
        bent=", ".join(map(str, bent)),
        count=len(bent),
        model=names[kind],
        fisheye="fisheye_model: 1" if kind == "fisheye" else "",
    )


@pytest.mark.parametrize("kind", BENT)
@pytest.mark.parametrize("form", [OPENCV, ROS, KALIBR], ids=["opencv", "ros", "kalibr"])
def test_calibrations_of_all_programs_say_the_same(tmp_path, form, kind):
    write_text(tmp_path / "camera.yaml", written(form, kind))
    assert read_lens(tmp_path / "camera.yaml") == Lens(
        height=240,
        width=320,
        focal_px=(150.0, 152.0),
        principal_px=(160.0, 118.0),
        coefficients=BENT[kind][:4] if form is KALIBR else BENT[kind],
        kind=kind,
    )


def dots(matrix, kind=None):
    """A plane of bright dots ahead, seen by a lens; and where their centres are."""
    points = np.array([[x, y, 1.0] for x in (-0.5, -0.2, 0.1, 0.4) for y in (-0.4, -0.1, 0.3)])
    zero = np.zeros(3)
    if kind == "fisheye":
        seen, _ = cv2.fisheye.projectPoints(points[None], zero, zero, matrix, np.array(BENT[kind]))
    else:
        bent = np.array(BENT[kind]) if kind else np.zeros(4)
        seen, _ = cv2.projectPoints(points, zero, zero, matrix, bent)
    centres = seen.reshape(-1, 2)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    near = np.exp(-((columns[..., None] - centres[:, 0]) ** 2 + (rows[..., None] - centres[:, 1]) ** 2) / 8)
    image = np.repeat((255 * near.max(axis=-1))[..., None], 3, axis=-1).round().astype(np.uint8)
    return image, centres


@pytest.mark.parametrize("kind", BENT)
def test_what_a_lens_bent_stands_where_its_intrinsics_say(tmp_path, kind):
    write_text(tmp_path / "camera.yaml", written(OPENCV, kind))
    lens = read_lens(tmp_path / "camera.yaml")
    bent, _ = dots(MATRIX, kind)
    intrinsics = lens.intrinsics(HEIGHT, WIDTH).astype(np.float64)
    intrinsics[:2, 2] -= 0.5  # to pixels that count from 0
    _, expected = dots(intrinsics)
    straight = lens.undistorted(bent)[..., 0].astype(float)
    inside = [(x, y) for x, y in expected if 8 < x < WIDTH - 8 and 8 < y < HEIGHT - 8]
    assert len(inside) >= 6
    for x, y in inside:
        window = straight[round(y) - 4 : round(y) + 5, round(x) - 4 : round(x) + 5]
        rows, columns = np.mgrid[round(y) - 4 : round(y) + 5, round(x) - 4 : round(x) + 5]
        centre = [(window * places).sum() / window.sum() for places in (columns, rows)]
        assert centre == pytest.approx([x, y], abs=0.3)


def test_a_smaller_frame_has_a_smaller_camera(tmp_path):
    write_text(tmp_path / "camera.yaml", written(OPENCV, "ordinary"))
    lens = read_lens(tmp_path / "camera.yaml")
    whole, half = lens.intrinsics(240, 320), lens.intrinsics(120, 160)
    assert half[:2] == pytest.approx(whole[:2] / 2, rel=0.02)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1, 2", "is no YAML"),
        ("a: 1", "names no single camera"),
        (KALIBR.format(model="fov", bent="0.9"), "distortion_model is 'fov'"),
        (KALIBR.format(model="radtan", bent="1, 2, 3"), "3 distortion coefficients; expected 0 or 4"),
        (KALIBR.replace("pinhole", "omni"), "camera_model is 'omni'; expected 'pinhole'"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_was_expected(tmp_path, text, complaint):
    write_text(tmp_path / "camera.yaml", text)
    with pytest.raises(LensError, match=complaint):
        read_lens(tmp_path / "camera.yaml")


def test_a_chain_of_several_cameras_asks_which(tmp_path):
    chain = written(KALIBR, "ordinary")
    write_text(tmp_path / "chain.yaml", chain + chain.replace("cam0", "cam1").replace("150", "140"))
    with pytest.raises(LensError, match="expected calibration_camera to be one of cam0, cam1"):
        read_lens(tmp_path / "chain.yaml")
    assert read_lens(tmp_path / "chain.yaml", "cam1").focal_px[0] == 140


def test_frames_of_a_calibrated_camera_are_straightened_and_of_another_size_refused(tmp_path):
    write_text(tmp_path / "camera.yaml", written(KALIBR, "fisheye"))
    for number in range(3):
        write_image(
            tmp_path / "frames" / f"{number}.png", cv2.resize(pattern(number, 12, 16), (WIDTH, HEIGHT))
        )
    options = {"path": tmp_path / "frames", "calibration": tmp_path / "camera.yaml"}
    dataset = Video(VideoConfig(**options))
    lens = read_lens(tmp_path / "camera.yaml")
    plain = Video(VideoConfig(path=tmp_path / "frames", fov_deg=60))
    assert np.array_equal(dataset[1].image, lens.undistorted(plain[1].image))
    assert np.array_equal(dataset[1].intrinsics, lens.intrinsics(HEIGHT, WIDTH))
    assert dataset[1].intrinsics_known
    write_text(tmp_path / "camera.yaml", written(KALIBR, "fisheye").replace("[320, 240]", "[640, 480]"))
    with pytest.raises(LayoutError, match="is of 640x480 pixels, but frames have 320x240"):
        Video(VideoConfig(**options))
    assert Video(VideoConfig(**options, resized=True))[1].intrinsics[0, 0] < 150
    write_text(tmp_path / "camera.yaml", written(KALIBR, "fisheye"))
    with pytest.raises(LayoutError, match="has the size of its calibration; expected resized=no"):
        Video(VideoConfig(**options, resized=True))
