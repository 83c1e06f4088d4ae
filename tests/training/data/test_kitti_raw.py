import numpy as np
import pytest

from tests.assets import shared
from tests.training.data.fabricated import (
    BASELINE_M,
    FOCAL,
    HEIGHT,
    WIDTH,
    ahead,
    depth_steps,
    halve_images,
    kitti_raw,
    oxts_line,
    pattern,
    write_image,
    write_text,
)
from tests.training.data.photometry import photometric_errors
from training.data.kitti_drive import Drive
from training.data.kitti_raw import KittiRaw, KittiRawConfig
from training.data.layout import LayoutError
from training.data.sequence import SequenceDataset

DRIVE = "2011_09_26_drive_0001_sync"


def views_of(sample):
    return {view.role: view for view in sample.sources}


def test_a_sample_of_a_whole_drive_has_its_neighbours_and_its_partner(tmp_path):
    kitti_raw(tmp_path)
    dataset = KittiRaw(KittiRawConfig(root=tmp_path))
    assert isinstance(dataset, SequenceDataset)
    assert list(dataset.keys) == [f"{DRIVE}/image_02/{frame:010}" for frame in range(4)]
    sample = dataset[1]
    views = views_of(sample)
    assert np.array_equal(sample.image, pattern(12))
    assert np.array_equal(views["previous"].image, pattern(2))
    assert np.array_equal(views["next"].image, pattern(22))
    assert np.array_equal(views["stereo"].image, pattern(13))
    assert sample.intrinsics.tolist() == [[20, 0, 16], [0, 20, 6], [0, 0, 1]]
    assert sample.depth_m is None


def test_poses_from_gps_say_that_the_car_went_ahead(tmp_path):
    kitti_raw(tmp_path)
    views = views_of(KittiRaw(KittiRawConfig(root=tmp_path))[1])
    assert np.allclose(views["next"].source_T_target, ahead(1), atol=1e-5)
    assert np.allclose(views["previous"].source_T_target, ahead(-1), atol=1e-5)
    assert views["stereo"].source_T_target[:3, 3].tolist() == [-BASELINE_M, 0, 0]


def test_the_ends_of_a_drive_have_the_neighbours_that_exist(tmp_path):
    kitti_raw(tmp_path)
    dataset = KittiRaw(KittiRawConfig(root=tmp_path, stereo=False))
    assert [view.role for view in dataset[0].sources] == ["next"]
    assert [view.role for view in dataset[3].sources] == ["previous"]


def test_a_frame_without_any_source_is_left_out_unless_none_are_asked_for(tmp_path):
    kitti_raw(tmp_path, frames=1)
    assert len(KittiRaw(KittiRawConfig(root=tmp_path, offsets=(), stereo=False))) == 1
    with pytest.raises(LayoutError, match="has no usable frame"):
        KittiRaw(KittiRawConfig(root=tmp_path, stereo=False))


def test_a_car_that_waits_gives_no_samples_in_time(tmp_path):
    drive = kitti_raw(tmp_path, frames=5)
    for frame in (3, 4):
        write_text(drive / "oxts" / "data" / f"{frame:010}.txt", oxts_line(north_m=2))
    dataset = KittiRaw(KittiRawConfig(root=tmp_path, stereo=False))
    assert [key[-1] for key in dataset.keys] == ["0", "1", "2"]


def test_without_gps_the_pose_network_is_asked(tmp_path):
    drive = kitti_raw(tmp_path)
    (drive / "oxts" / "data").rename(drive / "elsewhere")
    views = views_of(KittiRaw(KittiRawConfig(root=tmp_path))[1])
    assert views["next"].source_T_target is None
    assert views["stereo"].source_T_target is not None


def test_a_split_file_chooses_frames_and_sides(tmp_path):
    kitti_raw(tmp_path)
    write_text(tmp_path / "split.txt", f"2011_09_26/{DRIVE} 2 r\n2011_09_26/{DRIVE} 0000000001 l\n")
    dataset = KittiRaw(KittiRawConfig(root=tmp_path, split=tmp_path / "split.txt"))
    assert [key[-13:] for key in dataset.keys] == ["03/0000000002", "02/0000000001"]
    sample = dataset[0]
    assert np.array_equal(sample.image, pattern(23))
    assert np.array_equal(views_of(sample)["stereo"].image, pattern(22))
    assert views_of(sample)["stereo"].source_T_target[0, 3] == BASELINE_M


def test_split_lines_may_be_paths_or_lack_the_side(tmp_path):
    kitti_raw(tmp_path)
    lines = f"# a comment\n2011_09_26/{DRIVE}/image_03/data/0000000001.png\n2011_09_26/{DRIVE} 2\n"
    write_text(tmp_path / "split.txt", lines)
    dataset = KittiRaw(KittiRawConfig(root=tmp_path, split=tmp_path / "split.txt"))
    assert [key[-13:] for key in dataset.keys] == ["03/0000000001", "02/0000000002"]


def test_everything_missing_is_told_at_once_with_the_expected_layout(tmp_path):
    kitti_raw(tmp_path)
    lines = [f"2011_09_26/{DRIVE} 99 l", "2011_09_28/2011_09_28_drive_0002_sync 5 l", "what is this line"]
    write_text(tmp_path / "split.txt", "\n".join(lines))
    with pytest.raises(LayoutError) as caught:
        KittiRaw(KittiRawConfig(root=tmp_path, split=tmp_path / "split.txt"))
    message = str(caught.value)
    for part in ("0000000099.png", "2011_09_28_drive_0002_sync: missing folder", "calib_cam_to_cam.txt"):
        assert part in message
    assert "line 3: expected '<date>/<drive> <frame> <l|r>'" in message
    assert "<root>/<date>/<date>_drive_<number>_sync/image_02/data/" in message


def test_a_missing_root_is_told_with_the_expected_layout(tmp_path):
    with pytest.raises(LayoutError, match=r"nowhere: missing folder(?s:.*)expected layout"):
        KittiRaw(KittiRawConfig(root=tmp_path / "nowhere"))


def test_depth_comes_from_scans(tmp_path):
    kitti_raw(tmp_path)
    sample = KittiRaw(KittiRawConfig(root=tmp_path, depth="scan"))[1]
    # Straight ahead at 8 m, at the principal point (15.5, 5.5) counted from 0; ties round to even.
    assert sample.depth_m[6, 16] == 8
    assert np.count_nonzero(sample.depth_m) == 1
    assert not sample.depth_is_label


@pytest.mark.parametrize("part", ["", "train", "val"])
def test_depth_comes_from_the_improved_ground_truth_in_its_published_folders(tmp_path, part):
    kitti_raw(tmp_path)
    folder = tmp_path / "depth" / part / DRIVE / "proj_depth" / "groundtruth" / "image_02"
    write_image(folder / "0000000002.png", depth_steps(row=1, column=2, metres=30))
    config = KittiRawConfig(root=tmp_path, depth="png", depth_root=tmp_path / "depth")
    dataset = KittiRaw(config)
    assert [dataset[index].depth_m is not None for index in range(4)] == [False, False, True, False]
    assert dataset[2].depth_m[1, 2] == 30
    only = KittiRawConfig(root=tmp_path, depth="png", depth_root=tmp_path / "depth", only_with_depth=True)
    assert list(KittiRaw(only).keys) == [f"{DRIVE}/image_02/0000000002"]


def test_an_extract_drive_borrows_the_records_of_its_sync_drive_by_the_list_of_pairs(tmp_path):
    sync = kitti_raw(tmp_path, frames=3)
    extract = tmp_path / "2011_09_26" / "2011_09_26_drive_0001_extract"
    for frame in range(6):
        write_image(extract / "image_02" / "data" / f"{frame:010}.jpg", pattern(frame))
    write_text(extract / "image_02" / "sync_index.txt", "# sync_frame extract_frame\n0 2\n1 3\n2 4\n")
    poses = Drive(extract).world_T_imu
    assert sorted(poses) == [2, 3, 4]
    assert np.array_equal(poses[3], Drive(sync).world_T_imu[1])
    drives = KittiRawConfig(root=tmp_path, drives=(extract.name,))
    known = [
        [view.source_T_target is not None for view in KittiRaw(drives)[index].sources] for index in (1, 3)
    ]
    assert known == [[False, False], [True, True]]


def test_records_are_taken_at_the_moment_of_exposure_where_time_stamps_are_there(tmp_path):
    drive = kitti_raw(tmp_path, frames=3)
    write_text(
        drive / "oxts" / "timestamps.txt", "".join(f"2011-09-26 13:00:00.{tenth}\n" for tenth in (0, 1, 2))
    )
    write_text(
        drive / "image_02" / "timestamps.txt",
        "".join(f"2011-09-26 13:00:00.{t}\n" for t in ("05", "1", "19")),
    )
    poses = Drive(drive).world_T_imu
    assert [poses[frame][1, 3] - poses[1][1, 3] for frame in range(3)] == pytest.approx(
        [-0.5, 0, 0.9], abs=1e-6
    )


def test_jitter_of_the_records_is_taken_out_where_only_their_time_stamps_are_there(tmp_path):
    drive = kitti_raw(tmp_path, frames=40)
    late_s = np.random.default_rng(1).uniform(-0.005, 0.005, 40)
    for frame in range(40):
        text = oxts_line(north_m=10 * (0.1 * frame + late_s[frame]))
        write_text(drive / "oxts" / "data" / f"{frame:010}.txt", text)
    stamps = (f"2011-09-26 13:00:{10 + 0.1 * frame + late_s[frame]:012.9f}" for frame in range(40))
    write_text(drive / "oxts" / "timestamps.txt", "\n".join(stamps))
    poses = Drive(drive).world_T_imu
    steps_m = np.diff([poses[frame][1, 3] for frame in range(1, 39)])
    assert np.abs(steps_m - 1).max() < 0.005


def test_an_unreadable_record_is_told_with_the_layout(tmp_path):
    drive = kitti_raw(tmp_path)
    write_text(drive / "oxts" / "data" / "0000000002.txt", "nothing")
    with pytest.raises(LayoutError, match=r"0000000002\.txt: expected latitude"):
        KittiRaw(KittiRawConfig(root=tmp_path))


def test_a_list_of_pairs_of_another_form_is_told(tmp_path):
    kitti_raw(tmp_path)
    extract = tmp_path / "2011_09_26" / "2011_09_26_drive_0001_extract"
    for frame in range(3):
        write_image(extract / "image_02" / "data" / f"{frame:010}.jpg", pattern(frame))
    write_text(extract / "image_02" / "sync_index.txt", "zero one\n")
    with pytest.raises(LayoutError, match=r"sync_index\.txt: expected two frame numbers"):
        KittiRaw(KittiRawConfig(root=tmp_path, drives=(extract.name,)))


def test_contradictory_settings_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected 'png' with a folder"):
        KittiRawConfig(root=tmp_path, depth="png")
    with pytest.raises(ValueError, match=r"offsets is \(-1, 0\)"):
        KittiRawConfig(root=tmp_path, offsets=(-1, 0))
    with pytest.raises(ValueError, match="both a split and drives"):
        KittiRawConfig(root=tmp_path, split=tmp_path / "s.txt", drives=(DRIVE,))


@pytest.fixture(scope="module")
def drive_0013():
    return KittiRaw(
        KittiRawConfig(
            root=shared("data/kitti_raw"),
            drives=("2011_09_26_drive_0013_sync",),
            depth="png",
            depth_root=shared("data/kitti_depth"),
            depth_kind="velodyne_raw",
        )
    )


def test_real_poses_explain_real_frames(drive_0013):
    errors = [photometric_errors(drive_0013[index]) for index in range(20, 140, 24)]
    for role, share in {"previous": 0.6, "next": 0.6, "stereo": 0.45}.items():
        warped, still = np.mean([error[role] for error in errors], axis=0)
        assert warped < share * still, role


def test_a_wrong_pose_would_not_explain_them(drive_0013):
    warped, _ = photometric_errors(drive_0013[60])["next"]
    backwards, _ = photometric_errors(drive_0013[60], invert=True)["next"]
    assert warped < 0.6 * backwards


def test_the_extract_drive_has_metric_poses_from_its_sync_drive():
    config = KittiRawConfig(root=shared("data/kitti_raw"), drives=("2011_09_26_drive_0009_extract",))
    dataset = KittiRaw(config)
    moments = {
        int(dataset.moment(index).frame.path.stem): dataset.moment(index) for index in range(len(dataset))
    }
    # About 10.7 m/s at 10 Hz; before frame 5 no record exists, and from frame 432 the car waits.
    steps_m = [np.linalg.norm(moments[frame].views[0].source_T_target[:3, 3]) for frame in range(8, 30)]
    assert np.ptp(np.diff(steps_m)) < 0.06
    assert 0.9 < np.mean(steps_m) < 1.3
    assert moments[2].views[0].source_T_target is None
    assert not {436, 440, 449} & set(moments)


def test_real_frames_pass_verification(drive_0013):
    assert len(drive_0013) == 144
    assert (HEIGHT, WIDTH) != drive_0013[0].image.shape[:2] == (375, 1242)
    drive_0013.verify()


def test_frames_of_another_size_than_their_calibration_are_refused_with_both_sizes(tmp_path):
    drive = kitti_raw(tmp_path)
    halve_images(drive)
    with pytest.raises(
        LayoutError, match=r"is 16x6 pixels, but its calibration is of 32x12; expected.*resized=yes"
    ):
        KittiRaw(KittiRawConfig(root=tmp_path)).verify()


def test_the_calibration_of_resized_frames_is_scaled_where_that_is_said(tmp_path):
    whole = kitti_raw(tmp_path / "whole")
    halve_images(kitti_raw(tmp_path / "half"))
    half = KittiRaw(KittiRawConfig(root=tmp_path / "half", resized=True, depth="scan"))
    half.verify()
    assert half[1].intrinsics.tolist() == [[FOCAL / 2, 0, WIDTH / 4], [0, FOCAL / 2, HEIGHT / 4], [0, 0, 1]]
    assert views_of(half[1])["stereo"].source_T_target[0, 3] == pytest.approx(-BASELINE_M)
    full = KittiRaw(KittiRawConfig(root=whole.parents[1], depth="scan"))
    hit, smaller = (np.argwhere(dataset[1].depth_m)[0] + 0.5 for dataset in (full, half))
    assert smaller == pytest.approx(hit / 2, abs=0.8)  # both are rounded to whole pixels


def test_whole_frames_that_are_said_to_be_resized_are_refused(tmp_path):
    kitti_raw(tmp_path)
    with pytest.raises(LayoutError, match="has the size of its calibration; expected resized=no"):
        KittiRaw(KittiRawConfig(root=tmp_path, resized=True))


def test_what_macos_leaves_beside_files_is_passed_over(tmp_path):
    drive = kitti_raw(tmp_path)
    for name in (
        "image_02/data/._0000000001.png",
        "velodyne_points/data/._0000000001.bin",
        "oxts/data/._0000000001.txt",
    ):
        (drive / name).write_bytes(b"what macOS leaves")
    dataset = KittiRaw(KittiRawConfig(root=tmp_path, depth="scan"))
    dataset.verify()
    assert len(dataset) == 4
    assert all(sample.depth_m is not None for sample in dataset)


def test_improved_depth_is_found_where_monodepth2_merges_it_with_the_drives(tmp_path):
    drive = kitti_raw(tmp_path)
    path = drive / "proj_depth" / "groundtruth" / "image_02" / "0000000001.png"
    write_image(path, depth_steps(row=3, column=4, metres=7))
    dataset = KittiRaw(KittiRawConfig(root=tmp_path, depth="png", depth_root=tmp_path, only_with_depth=True))
    assert [sample.depth_m[3, 4] for sample in dataset] == [7]
