import cv2
import numpy as np
import pytest

from tests.training.data.fabricated import kitti_raw, write_image
from tests.training.worlds import HEIGHT, INTRINSICS, STEP_M, WALL_M, WIDTH, WallWorld, sideways
from training.data.hinted import HintPng, hint_path
from training.data.sequence import View
from training.data.sources import open_sources
from training.data.synthetic import SyntheticConfig, SyntheticDataset
from training.hints.agreement import HintsConfig, confirmed, match
from training.hints.command import HintsCommand, main, write_hints


def test_the_wall_is_where_it_is_between_planes_too():
    sample = WallWorld()[0]
    config = HintsConfig(nearest_m=2.0, planes=40)
    depth_m = match(sample.image, sample.sources, sample.intrinsics, config)
    inner = depth_m[4:-4, 8:-8]
    assert (inner > 0).mean() > 0.9
    assert np.median(np.abs(inner[inner > 0] - WALL_M)) < 0.15
    assert np.abs(np.diff(config.disparities)).min() * WALL_M > 0.05, "planes are farther apart than that"


def test_a_pixel_of_many_depths_is_no_hint():
    """A plain image is explained by every plane."""
    plain = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    views = [View(image=plain, source_T_target=sideways(STEP_M), role="stereo")]
    assert not match(plain, views, INTRINSICS, HintsConfig()).any()


def test_a_pixel_that_no_depth_explains_is_no_hint():
    noise = np.random.default_rng(0).integers(0, 256, (2, HEIGHT, WIDTH, 3), dtype=np.uint8)
    views = [View(image=noise[1], source_T_target=sideways(STEP_M), role="stereo")]
    depth_m = match(noise[0], views, INTRINSICS, HintsConfig())
    assert (depth_m > 0).mean() < 0.05


def test_views_without_poses_are_refused_by_their_number():
    sample = WallWorld(poses=False)[0]
    with pytest.raises(ValueError, match="2 views, 0 of them with poses"):
        match(sample.image, sample.sources, sample.intrinsics, HintsConfig())


@pytest.fixture(scope="module")
def street():
    return SyntheticDataset(SyntheticConfig(sequences=1, frames=2, height=96, width=320, seed=5))[0]


@pytest.mark.parametrize(("role", "bound"), [("stereo", 0.03), ("time", 0.08)])
def test_hints_of_a_street_are_its_depth(street, role, bound):
    views = [view for view in street.sources if (view.role == "stereo") == (role == "stereo")]
    hint_m = match(street.image, views, street.intrinsics, HintsConfig())
    both = (hint_m > 0) & (street.depth_m > 0)
    error = np.abs(hint_m[both] - street.depth_m[both]) / street.depth_m[both]
    assert both.mean() > 0.3
    assert np.median(error) < bound
    assert hint_m.max() <= 80


def test_what_another_frame_has_at_the_same_place_is_confirmed():
    pose = sideways(STEP_M)
    depth_m = np.full((HEIGHT, WIDTH), WALL_M, np.float32)
    depth_m[0] = 0
    other_m = depth_m.copy()
    other_m[1] = 0
    other_m[10:20, 30:40] = WALL_M * 0.9
    agreed = confirmed(depth_m, {0: other_m}, {0: pose}, INTRINSICS, tolerance=0.05)
    shift_px = 4
    assert not agreed[:2].any(), "what either does not know is not confirmed"
    assert not agreed[:, :shift_px].any(), "what is outside the other frame is not confirmed"
    assert not agreed[10:20, 30 + shift_px : 40 + shift_px].any(), "where they differ nothing is"
    expected = np.ones_like(agreed)
    expected[:2] = expected[:, :shift_px] = expected[10:20, 30 + shift_px : 40 + shift_px] = False
    assert np.array_equal(agreed, expected)


def test_a_point_that_comes_nearer_is_expected_nearer():
    forward = np.eye(4, dtype=np.float32)
    forward[2, 3] = -1.0
    depth_m = np.full((HEIGHT, WIDTH), WALL_M, np.float32)
    standing = confirmed(depth_m, {0: depth_m - 1}, {0: forward}, INTRINSICS, tolerance=0.01)
    carried_along = confirmed(depth_m, {0: depth_m}, {0: forward}, INTRINSICS, tolerance=0.01)
    assert standing[16:-16, 24:-24].all()
    assert not carried_along.any()


def test_any_of_several_frames_may_confirm():
    depth_m = np.full((HEIGHT, WIDTH), WALL_M, np.float32)
    others = {0: np.zeros_like(depth_m), 7: depth_m}
    poses = {0: sideways(STEP_M), 7: sideways(0.0)}
    assert confirmed(depth_m, others, poses, INTRINSICS, tolerance=0.05).all()


def street_on_disk(root, count=4):
    """A drive in KITTI's layout whose second camera sees the same street 0.5 m to the right."""
    drive = kitti_raw(root, frames=count)
    for frame in range(count):
        left = cv2.imread(str(drive / "image_02" / "data" / f"{frame:010}.png"))
        # 20 px focal length, 0.5 m, 2 px: 5 m.
        write_image(drive / "image_03" / "data" / f"{frame:010}.png", np.roll(left, -2, axis=1)[..., ::-1])
    return drive


def test_the_command_writes_a_hint_for_each_frame_that_training_reads(tmp_path, caplog):
    street_on_disk(tmp_path / "kitti")
    line, hints = f"kitti-raw:{tmp_path / 'kitti'}", tmp_path / "hints"
    size = ["--height", "12", "--width", "32"]
    with caplog.at_level("INFO"):
        assert main(["--data", line, "--folder", str(hints), "--views", "stereo", *size]) == 0
    assert "hints for" in caplog.text
    plain, hinted = open_sources([line]), open_sources([f"{line}?hints={hints}"])
    assert len(plain) == len(hinted) > 0
    sample = hinted[0]
    assert sample.depth_is_label
    known = sample.depth_m > 0
    assert known.mean() > 0.3
    assert np.median(sample.depth_m[known]) == pytest.approx(5.0, abs=0.3)
    assert not plain[0].depth_is_label
    assert hinted.moment(0).depth_is_label


def test_a_pair_without_known_poses_through_time_keeps_what_its_cameras_agree_on(tmp_path):
    street_on_disk(tmp_path / "kitti")
    line, size = f"kitti-raw:{tmp_path / 'kitti'}?poses=no", {"height": 12, "width": 32}
    found = {}
    for views in ("stereo", "all"):
        write_hints(HintsCommand(data=line, folder=tmp_path / views, views=views, **size))
        found[views] = [
            HintPng(path=hint_path(tmp_path / views, key)).read(12, 32) for key in open_sources([line]).keys
        ]
    assert np.array_equal(found["stereo"], found["all"])


def test_a_pair_from_beside_is_matched_by_either_matcher(tmp_path):
    street = "synthetic:?sequences=1&frames=1&height=96&width=320&seed=5"
    exact_m = open_sources([street])[0].depth_m
    hints = {}
    for matcher in ("auto", "sweep"):
        command = HintsCommand(
            data=street, folder=tmp_path / matcher, views="stereo", matcher=matcher, height=96, width=320
        )
        write_hints(command)
        (key,) = open_sources([street]).keys
        hints[matcher] = HintPng(path=hint_path(command.folder, key)).read(96, 320)
    assert not np.array_equal(*hints.values())
    for hint_m in hints.values():
        both = (hint_m > 0) & (exact_m > 0)
        assert np.median(np.abs(hint_m - exact_m)[both] / exact_m[both]) < 0.05


def test_what_is_there_is_not_matched_again(tmp_path):
    street_on_disk(tmp_path / "kitti")
    command = HintsCommand(
        data=f"kitti-raw:{tmp_path / 'kitti'}", folder=tmp_path / "hints", views="stereo", height=12, width=32
    )
    write_hints(command)
    key = open_sources([command.data]).keys[0]
    path = hint_path(command.folder / "unchecked", key)
    before = path.stat().st_mtime_ns
    hint_path(command.folder, key).unlink()
    write_hints(command)
    assert path.stat().st_mtime_ns == before
    assert hint_path(command.folder, key).exists()


def test_data_without_neighbours_or_known_poses_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no neighbours to check; expected --views stereo"):
        write_hints(HintsCommand(data="synthetic:?sequences=1&frames=1", folder=tmp_path))
    film = tmp_path / "film"
    for number in range(4):
        write_image(film / f"{number}.png", WallWorld()[number].image)
    with pytest.raises(ValueError, match="no hint at all; expected views of known poses"):
        write_hints(
            HintsCommand(data=f"video:{film}?fov_deg=60", folder=tmp_path / "hints", height=64, width=96)
        )


def test_data_that_is_not_there_is_explained_without_a_traceback(tmp_path, caplog):
    assert main(["--data", f"kitti-raw:{tmp_path / 'none'}", "--folder", str(tmp_path / "hints")]) == 1
    assert "missing folder: root of KITTI raw" in caplog.text
