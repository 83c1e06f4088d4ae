import json

import numpy as np
import pytest

from tests.training.data.fabricated import pattern, write_image, write_text
from training.data.cityscapes import Cityscapes, CityscapesConfig
from training.data.frames import FrameError
from training.data.layout import LayoutError
from training.data.prepared import PreparedDataset

BASELINE_M = 0.2
CAMERA = {
    "extrinsic": {
        "baseline": BASELINE_M,
        "pitch": 0.0,
        "roll": 0.0,
        "x": 1.7,
        "y": 0.1,
        "yaw": 0.0,
        "z": 1.2,
    },
    "intrinsic": {"fx": 40.0, "fy": 41.0, "u0": 15.5, "v0": 7.5},
}


def path(root, folder, frame, kind, suffix=".png", city="aachen", split="train"):
    return root / folder / split / city / f"{city}_000003_{frame:06}_{kind}{suffix}"


def camera(root, frame=19, **options):
    write_text(path(root, "camera", frame, "camera", ".json", **options), json.dumps(CAMERA))


@pytest.fixture
def root(tmp_path):
    """Frames 17 to 21 of a sequence of 16 x 32 images, of which the 19th is annotated."""
    for frame in range(17, 22):
        write_image(path(tmp_path, "leftImg8bit_sequence", frame, "leftImg8bit"), pattern(frame, 16))
    camera(tmp_path)
    return tmp_path


def test_the_bottom_quarter_is_cut_and_the_intrinsics_stay(root):
    sample = Cityscapes(CityscapesConfig(root=root))[2]
    assert sample.key == "cityscapes/aachen_000003_000019_leftImg8bit"
    assert np.array_equal(sample.image, pattern(19, 16)[:12])
    assert sample.intrinsics.tolist() == [[40, 0, 16], [0, 41, 8], [0, 0, 1]]


def test_resizing_scales_the_intrinsics_by_the_rows_that_are_left(root):
    prepared = PreparedDataset(Cityscapes(CityscapesConfig(root=root)), height=6, width=16, max_bytes=10**6)
    assert prepared[2].intrinsics.tolist() == [[20, 0, 8], [0, 20.5, 4], [0, 0, 1]]


def test_sources_are_two_frames_away_and_their_poses_unknown(root):
    sample = Cityscapes(CityscapesConfig(root=root))[2]
    assert [view.role for view in sample.sources] == ["previous", "next"]
    assert np.array_equal(sample.sources[1].image, pattern(21, 16)[:12])
    assert sample.sources[0].source_T_target is None


def test_every_frame_uses_the_camera_file_of_its_sequence(root):
    dataset = Cityscapes(CityscapesConfig(root=root))
    assert [int(key[-18:-12]) for key in dataset.keys] == [17, 18, 19, 20, 21]
    dataset.verify()


def test_the_right_image_is_a_source_at_the_baseline_where_it_is_there(root):
    write_image(path(root, "rightImg8bit_sequence", 19, "rightImg8bit"), pattern(99, 16))
    views = {view.role: view for view in Cityscapes(CityscapesConfig(root=root))[2].sources}
    assert np.array_equal(views["stereo"].image, pattern(99, 16)[:12])
    assert views["stereo"].source_T_target[:3, 3] == pytest.approx([-BASELINE_M, 0, 0])


def judged(root, **changes):
    write_image(path(root, "leftImg8bit", 19, "leftImg8bit", split="test"), pattern(19, 16))
    camera(root, split="test")
    values = {"images": "leftImg8bit", "split": "test", "offsets": (), "stereo": False, "depth": True}
    return CityscapesConfig(root=root, **{**values, **changes})


def test_disparity_becomes_depth_without_the_rows_that_are_cut(root):
    steps = np.zeros((16, 32), np.uint16)
    steps[2, 3], steps[15, 3] = 1 + 2 * 256, 1 + 256
    write_image(path(root, "disparity", 19, "disparity", split="test"), steps)
    sample = Cityscapes(judged(root))[0]
    # 0.2 m * 40 px / 2 px
    assert sample.depth_m[2, 3] == pytest.approx(4.0)
    assert sample.depth_m.shape == (12, 32)
    assert np.count_nonzero(sample.depth_m) == 1
    assert sample.sources == ()


def test_a_disparity_map_of_another_size_is_refused(root):
    write_image(path(root, "disparity", 19, "disparity", split="test"), np.ones((32, 32), np.uint16))
    with pytest.raises(FrameError, match=r"is \(32, 32\), but its image, when cut, \(12, 32\)"):
        Cityscapes(judged(root))[0]


def test_frames_without_disparity_can_be_left_out(root):
    assert Cityscapes(judged(root))[0].depth_m is None
    with pytest.raises(LayoutError, match="has no usable frame"):
        Cityscapes(judged(root, only_with_depth=True))


def test_missing_cameras_and_cities_are_told_with_the_expected_layout(root):
    path(root, "camera", 19, "camera", ".json").unlink()
    with pytest.raises(LayoutError) as caught:
        Cityscapes(CityscapesConfig(root=root, cities=("aachen", "bochum")))
    message = str(caught.value)
    assert "aachen_000003_000017_camera.json: missing, for all frames of its sequence too" in message
    assert "bochum: missing folder" in message
    assert "<root>/camera/<split>/<city>/" in message


def test_a_camera_file_of_another_form_is_told(root):
    write_text(path(root, "camera", 19, "camera", ".json"), '{"intrinsic": {"fx": 1}}')
    with pytest.raises(LayoutError, match=r"_camera\.json: expected intrinsic fx, fy, u0, v0"):
        Cityscapes(CityscapesConfig(root=root))


def published(root):
    """The camera of the published images, with frames that were resized to 512 x 256."""
    camera = {"fx": 2262.52, "fy": 2265.3, "u0": 1096.98, "v0": 513.14}
    written = json.dumps({"extrinsic": CAMERA["extrinsic"], "intrinsic": camera})
    write_text(path(root, "camera", 19, "camera", ".json"), written)
    for image in root.rglob("*_leftImg8bit.png"):
        write_image(image, pattern(1, 256, 512))


def test_frames_of_another_size_than_the_published_camera_are_refused(root):
    published(root)
    with pytest.raises(LayoutError, match="is 512x256 pixels, but its calibration is of 2048x1024"):
        Cityscapes(CityscapesConfig(root=root)).verify()
    dataset = Cityscapes(CityscapesConfig(root=root, resized=True))
    dataset.verify()
    assert dataset[0].intrinsics[0] == pytest.approx([2262.52 / 4, 0, 1097.48 / 4])
    assert dataset[0].image.shape == (192, 512, 3)


def test_what_macos_leaves_beside_files_is_passed_over(root):
    for image in list(root.rglob("*.png")):
        image.with_name(f"._{image.name}").write_bytes(b"what macOS leaves")
    dataset = Cityscapes(CityscapesConfig(root=root))
    dataset.verify()
    assert len(dataset) == 5
