import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest

from training.data.frames import FrameError
from training.data.sequence import SequenceDataset
from training.data.synthetic import Kind, SyntheticConfig, SyntheticDataset
from training.data.synthetic.dataset import keep_all
from training.data.synthetic.render import draw

SMALL = SyntheticConfig(sequences=2, frames=3, height=96, width=320, seed=3, noise=0.0)


@pytest.fixture(scope="module")
def dataset():
    return SyntheticDataset(SMALL)


def reprojected(target, sample, view):
    """Where each target pixel lies in the view, and its depth there."""
    height, width = target.depth_m.shape
    v, u = np.mgrid[0:height, 0:width] + 0.5
    rays = np.linalg.inv(sample.intrinsics.astype(np.float64)) @ np.stack(
        [u.ravel(), v.ravel(), np.ones(u.size)]
    )
    points = rays * target.depth_m.ravel()
    moved = view.source_T_target[:3, :3] @ points + view.source_T_target[:3, 3:]
    x, y, z = sample.intrinsics @ moved
    z = np.where(z > 1e-6, z, 1e-6)
    return [plane.reshape(height, width) for plane in (x / z - 0.5, y / z - 0.5, moved[2])]


@pytest.mark.parametrize("role", ["previous", "next", "stereo"])
@pytest.mark.parametrize("index", [1, 4])
def test_a_source_warped_by_depth_and_pose_is_the_target_where_nothing_moves(dataset, index, role):
    sample, target = dataset[index], dataset.frame(index)
    view = next(view for view in sample.sources if view.role == role)
    x, y, z = reprojected(target, sample, view)
    source_depth = depth_of_view(dataset, index, role)
    there = cv2.remap(source_depth, x.astype(np.float32), y.astype(np.float32), cv2.INTER_NEAREST)
    warped = cv2.remap(view.image, x.astype(np.float32), y.astype(np.float32), cv2.INTER_CUBIC)
    seen = (np.abs(there - z) < 0.02 * z) & (target.depth_m < 60) & ~target.moving
    # Edges lie between pixels, and leaves are thinner than one.
    seen &= cv2.erode(seen.astype(np.uint8), np.ones((3, 3))) > 0
    seen &= target.kinds != Kind.VEGETATION
    assert seen.mean() > 0.12
    error = np.abs(warped.astype(np.float32) - sample.image)[seen].mean()
    still = np.abs(view.image.astype(np.float32) - sample.image)[seen].mean()
    assert error < 5
    assert error < 0.5 * still


def depth_of_view(dataset, index, role):
    if role == "stereo":
        return dataset.frame(index, right=True).depth_m
    return dataset.frame(index + (1 if role == "next" else -1)).depth_m


@pytest.mark.parametrize("index", [1, 4])
def test_depth_in_the_source_equals_the_targets_depth_moved_there(dataset, index):
    sample, target = dataset[index], dataset.frame(index)
    view = next(view for view in sample.sources if view.role == "stereo")
    x, y, z = reprojected(target, sample, view)
    there = dataset.frame(index, right=True)
    flat = np.isin(target.kinds, (Kind.ROAD, Kind.BUILDING)) & (target.depth_m < 40)
    inverse = np.where(there.depth_m > 0, 1 / np.maximum(there.depth_m, 1e-3), 0).astype(np.float32)
    # Inverse depth is affine over the image of a plane, so reading it between pixels is exact.
    found = cv2.remap(inverse, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)
    error = np.abs(found - 1 / z)[flat] * z[flat]
    assert np.median(error) < 2e-3


def test_stereo_disparity_is_focal_length_times_baseline_over_depth(dataset):
    sample, target = dataset[0], dataset.frame(0)
    view = next(view for view in sample.sources if view.role == "stereo")
    x, y, _ = reprojected(target, sample, view)
    columns = np.arange(x.shape[1])[None, :]
    ground = ~target.sky
    expected = sample.intrinsics[0, 0] * SMALL.baseline_m / target.depth_m[ground]
    np.testing.assert_allclose((columns - x)[ground], expected, rtol=1e-3, atol=1e-3)
    rows = np.broadcast_to(np.arange(y.shape[0])[:, None], y.shape)
    np.testing.assert_allclose(y[ground], rows[ground], atol=1e-3)


def test_depth_on_the_road_is_that_of_the_land_below_the_camera(dataset):
    frame, world = dataset.frame(1), dataset.world(0)
    row, column = np.nonzero(frame.kinds == Kind.ROAD)
    pixels = np.stack([column + 0.5, row + 0.5, np.ones(len(row))])
    pose = frame.world_T_camera.astype(np.float64)
    in_camera = np.linalg.inv(frame.intrinsics.astype(np.float64)) @ pixels * frame.depth_m[row, column]
    places = pose[:3, :3] @ in_camera + pose[:3, 3:]
    heights = np.interp(places[0], world.road.slab_x, world.road.slab_z)
    near = frame.depth_m[row, column] < 80
    assert near.sum() > 1000
    np.testing.assert_allclose(places[2][near], heights[near], atol=2e-3)


def test_depth_is_positive_and_finite_wherever_there_is_no_sky(dataset):
    for index in range(len(dataset)):
        frame = dataset.frame(index)
        assert np.isfinite(frame.depth_m).all()
        assert (frame.depth_m[~frame.sky] > 0.1).all()
        assert (frame.depth_m[frame.sky] == 0).all()
        np.testing.assert_array_equal(frame.sky, frame.kinds == Kind.SKY)


def test_the_same_settings_give_the_same_bytes_in_a_pickled_copy_and_in_threads(dataset):
    again = pickle.loads(pickle.dumps(dataset))
    with ThreadPoolExecutor(3) as pool:
        samples = list(pool.map(again.__getitem__, [4, 5, 4]))
    for index, sample in zip([4, 5, 4], samples, strict=True):
        first = dataset[index]
        np.testing.assert_array_equal(first.image, sample.image)
        np.testing.assert_array_equal(first.depth_m, sample.depth_m)
        for one, other in zip(first.sources, sample.sources, strict=True):
            np.testing.assert_array_equal(one.image, other.image)
            np.testing.assert_array_equal(one.source_T_target, other.source_T_target)


def test_another_seed_gives_another_world(dataset):
    other = SyntheticDataset(SyntheticConfig(sequences=1, frames=1, height=96, width=320, seed=4, noise=0.0))
    assert np.abs(other[0].image.astype(int) - dataset[0].image).mean() > 10
    assert other.keys[0] != dataset.keys[0]


def test_things_move_but_not_everything(dataset):
    frames = [dataset.frame(index) for index in range(len(dataset))]
    assert 0.002 < np.mean([frame.moving.mean() for frame in frames]) < 0.4
    for frame in frames:
        assert np.isin(frame.kinds[frame.moving], (Kind.CAR, Kind.LORRY, Kind.PERSON)).all()


def test_samples_are_labelled_and_the_dataset_keeps_the_contract(dataset):
    assert isinstance(dataset, SequenceDataset)
    assert len(set(dataset.keys)) == len(dataset) == 6
    sample = dataset[5]
    assert sample.depth_is_label
    assert [view.role for view in sample.sources] == ["previous", "next", "stereo"]
    assert sample.image.shape == (96, 320, 3)
    assert "6 frames" in dataset.describe()
    with pytest.raises(IndexError, match="sample 6"):
        dataset[6]


def test_frames_kept_on_disk_are_those_that_are_drawn(dataset, tmp_path):
    config = SyntheticConfig(
        sequences=1, frames=1, height=96, width=320, seed=3, noise=0.0, folder=tmp_path, styles=("rural",)
    )
    assert list(keep_all(config)) == [0]
    drawn, read = SyntheticDataset(config), SyntheticDataset(config)
    drawn._store = None
    np.testing.assert_array_equal(drawn[0].depth_m, read[0].depth_m)
    np.testing.assert_array_equal(drawn[0].image, read[0].image)
    np.testing.assert_array_equal(drawn.frame(0).moving, read.frame(0).moving)
    np.testing.assert_array_equal(drawn.frame(0).kinds, read.frame(0).kinds)
    for one, other in zip(drawn[0].sources, read[0].sources, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
    assert len(list(tmp_path.rglob("*.npz"))) == 4


def test_pairs_alone_are_the_same_frames_and_cost_fewer(tmp_path):
    config = SyntheticConfig(sequences=1, frames=2, height=96, width=320, seed=3, folder=tmp_path)
    pairs = replace(config, neighbours=False)
    assert list(keep_all(pairs)) == [0]
    assert len(list(tmp_path.rglob("*.npz"))) == 4
    assert len(SyntheticDataset(pairs)) == len(SyntheticDataset(config))
    assert SyntheticDataset(pairs).keys == SyntheticDataset(config).keys
    one, other = SyntheticDataset(pairs)[1], SyntheticDataset(config)[1]
    assert [view.role for view in one.sources] == ["stereo"]
    np.testing.assert_array_equal(one.sources[0].image, other.sources[-1].image)
    np.testing.assert_array_equal(one.image, other.image)


def test_a_whole_number_of_metres_names_the_same_frames_as_a_real_one():
    whole = SyntheticConfig(frames_per_s=1, min_speed_m_per_s=4, max_speed_m_per_s=10, noise=1)
    real = SyntheticConfig(frames_per_s=1.0, min_speed_m_per_s=4.0, max_speed_m_per_s=10.0, noise=1.0)
    assert whole.fingerprint() == real.fingerprint()


def test_a_damaged_file_is_named(tmp_path):
    config = SyntheticConfig(sequences=1, frames=1, height=96, width=320, folder=tmp_path)
    path = tmp_path / config.fingerprint() / "00000" / "00001.left.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no archive")
    with pytest.raises(FrameError, match=r"00001\.left\.npz"):
        SyntheticDataset(config)[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [("frames", 0), ("height", 8), ("styles", ("moon",)), ("seed", -1), ("noise", -0.1), ("baseline_m", 0.0)],
)
def test_a_bad_setting_is_named(field, value):
    with pytest.raises(ValueError, match=field):
        SyntheticConfig(**{field: value})


def test_a_frame_is_drawn_alike_alone_and_how_long_that_takes(dataset):
    world = dataset.world(0)
    camera = world.drive.camera(world.road, 0, SMALL.height, SMALL.width)
    started = time.perf_counter()
    drawn = draw(world, camera, 0)
    print(f"one frame at {SMALL.width}x{SMALL.height}: {1000 * (time.perf_counter() - started):.0f} ms")
    np.testing.assert_array_equal(drawn.depth_m, dataset.frame(0).depth_m)


def test_a_forest_closes_in_on_the_road_and_is_darker_than_the_country():
    darkness, trees = {}, {}
    for style in ("rural", "forest"):
        drawn = SyntheticDataset(replace(SMALL, sequences=4, frames=1, neighbours=False, styles=(style,)))
        frames = [drawn.frame(index) for index in range(len(drawn))]
        darkness[style] = np.mean([frame.image.mean() for frame in frames])
        near = [(frame.kinds == Kind.VEGETATION) & (frame.depth_m < 25) for frame in frames]
        trees[style] = np.mean(near)
    assert darkness["forest"] < 0.8 * darkness["rural"]
    assert trees["forest"] > 1.2 * trees["rural"]


def test_in_a_jam_vehicles_are_near_in_every_picture():
    drawn = SyntheticDataset(replace(SMALL, sequences=4, frames=1, neighbours=False, styles=("jam",)))
    for index in range(len(drawn)):
        frame = drawn.frame(index)
        vehicles = np.isin(frame.kinds, (Kind.CAR, Kind.LORRY))
        assert (vehicles & (frame.depth_m < 25)).mean() > 0.02
