import math
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.assets import shared
from tests.model.films import film
from tests.training.data.fabricated import pattern, write_image
from tests.training.street import Street
from training.data import video_file
from training.data.frames import Frame, FrameError
from training.data.layout import LayoutError
from training.data.prepared import PreparedDataset
from training.data.sequence import SequenceDataset
from training.data.video import Video
from training.data.video_config import VideoConfig
from training.data.video_file import extract_frames, foretell_space

HEIGHT, WIDTH = 48, 64


def folder_of(tmp_path, numbers, height=HEIGHT, width=WIDTH):
    """A folder of frames; equal numbers look the same."""
    for place, number in enumerate(numbers):
        write_image(tmp_path / "frames" / f"{place:04}.png", smooth(number, height, width))
    return tmp_path / "frames"


def smooth(number, height=HEIGHT, width=WIDTH):
    """Noise coarse enough to survive thumbnails and video codecs."""
    return pattern(number, height // 16, width // 16).repeat(16, axis=0).repeat(16, axis=1)


def config(path, **changes):
    return VideoConfig(path=path, **{"fov_deg": 90.0, **changes})


def write_video(path, frames, fps, *, levels=None):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.bit_rate = 4_000_000
        for number in range(frames):
            level = levels[number] if levels is not None else 5 * number
            image = np.full((HEIGHT, WIDTH, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def test_a_folder_of_frames_becomes_samples_with_unknown_poses(tmp_path):
    dataset = Video(config(folder_of(tmp_path, range(4)), name="trip"))
    assert isinstance(dataset, SequenceDataset)
    assert list(dataset.keys) == [f"trip/{place:04}" for place in range(4)]
    sample = dataset[1]
    assert np.array_equal(sample.image, smooth(1))
    assert [view.role for view in sample.sources] == ["previous", "next"]
    assert [view.source_T_target for view in sample.sources] == [None, None]
    assert np.array_equal(sample.sources[1].image, smooth(2))
    assert sample.intrinsics_known
    dataset.verify()


def test_intrinsics_follow_from_the_field_of_view(tmp_path):
    sample = Video(config(folder_of(tmp_path, range(2)), fov_deg=90.0))[0]
    assert sample.intrinsics == pytest.approx(np.array([[32, 0, 32], [0, 32, 24], [0, 0, 1]]))


def test_given_intrinsics_get_the_half_pixel_of_our_convention(tmp_path):
    given = {"fov_deg": None, "focal_px": (50.0, 51.0), "principal_px": (30.0, 20.0)}
    sample = Video(config(folder_of(tmp_path, range(2)), **given))[0]
    assert sample.intrinsics.tolist() == [[50, 0, 30.5], [0, 51, 20.5], [0, 0, 1]]


def test_intrinsics_to_be_learned_start_from_a_guess_and_say_so(tmp_path):
    sample = Video(config(folder_of(tmp_path, range(2)), fov_deg=None, learn_intrinsics=True))[0]
    assert not sample.intrinsics_known
    assert sample.intrinsics[0, 0] == pytest.approx(32 / math.tan(math.radians(30)))


def test_every_so_many_th_frame_of_a_folder_is_taken(tmp_path):
    dataset = Video(config(folder_of(tmp_path, range(7)), every=3))
    assert [key[-4:] for key in dataset.keys] == ["0000", "0003", "0006"]


def test_frames_that_stand_still_are_dropped(tmp_path):
    dataset = Video(config(folder_of(tmp_path, [0, 1, 1, 1, 2, 3])))
    assert [key[-4:] for key in dataset.keys] == ["0000", "0001", "0004", "0005"]
    for place, number in enumerate([0, 1, 1, 1, 2, 3]):
        write_image(tmp_path / "slow" / f"{place}.png", drive(1, 4)[number])
    assert len(Video(config(tmp_path / "slow", min_change=0.0))) == 6


def test_frames_on_both_sides_of_a_long_wait_are_not_sources_of_each_other(tmp_path):
    dataset = Video(config(folder_of(tmp_path, [0, 1, 1, 1, 1, 2, 3]), max_gap=2))
    roles = {dataset[index].key[-4:]: [view.role for view in dataset[index].sources] for index in range(4)}
    assert roles == {"0000": ["next"], "0001": ["previous"], "0005": ["next"], "0006": ["previous"]}


def test_a_video_without_motion_is_refused(tmp_path):
    with pytest.raises(LayoutError, match="of 3 frames 1 move; expected at least 2"):
        Video(config(folder_of(tmp_path, [1, 1, 1])))


def test_what_cannot_be_read_is_told_with_the_expected_layout(tmp_path):
    folder = folder_of(tmp_path, range(4))
    for place in (1, 2):
        (folder / f"{place:04}.png").write_bytes(b"no")
    with pytest.raises(LayoutError, match=r"0001\.png(?s:.*)0002\.png(?s:.*)expected layout"):
        Video(config(folder))
    with pytest.raises(LayoutError, match="missing file: a video, or a folder of frames"):
        Video(config(tmp_path / "nowhere"))
    (tmp_path / "notes.txt").write_text("no video")
    with pytest.raises(LayoutError, match=r"notes\.txt: expected a folder, or a file of \.mp4"):
        Video(config(tmp_path / "notes.txt"))


def test_a_video_file_is_sampled_at_the_wanted_rate(tmp_path):
    write_video(tmp_path / "v.mp4", 30, 30)
    extracted = extract_frames(tmp_path / "v.mp4", tmp_path / "cache", fps=10)
    levels = [image.mean() for image in frames_in(extracted)]
    assert levels == pytest.approx([15 * place for place in range(10)], abs=3)


def frames_in(extracted):
    return [Frame(key=path.stem, path=path).read() for path in extracted.paths]


def test_a_slower_video_gives_all_of_its_frames(tmp_path):
    write_video(tmp_path / "v.mp4", 6, 5)
    assert len(extract_frames(tmp_path / "v.mp4", tmp_path / "cache", fps=10).paths) == 6


def test_rates_that_do_not_divide_keep_the_wanted_number_of_frames(tmp_path):
    write_video(tmp_path / "v.mp4", 50, 25)
    assert len(extract_frames(tmp_path / "v.mp4", tmp_path / "cache", fps=10).paths) == 20


def test_frames_are_extracted_once_and_again_when_the_video_changes(tmp_path):
    write_video(tmp_path / "v.mp4", 6, 10)
    first = extract_frames(tmp_path / "v.mp4", tmp_path / "cache", fps=10)
    before = first.paths[0].stat().st_mtime_ns
    assert extract_frames(tmp_path / "v.mp4", tmp_path / "cache", fps=10) == first
    assert first.paths[0].stat().st_mtime_ns == before
    first.paths[0].unlink()
    with pytest.raises(FrameError, match="has 5 of 6 frames; delete it, and it is made anew"):
        extract_frames(tmp_path / "v.mp4", tmp_path / "cache", fps=10)
    write_video(tmp_path / "v.mp4", 8, 10)
    assert extract_frames(tmp_path / "v.mp4", tmp_path / "cache", fps=10) != first


def test_a_broken_video_leaves_nothing_behind(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"no video at all")
    with pytest.raises(FrameError, match=r"v\.mp4: cannot be opened as a video"):
        extract_frames(tmp_path / "v.mp4", tmp_path / "cache", fps=10)
    assert not (tmp_path / "cache").exists()


def test_every_is_refused_where_only_fps_thins_frames(tmp_path):
    film(tmp_path / "v.mp4", drive(1, 4))
    with pytest.raises(LayoutError, match="is a file, but every is 3; expected fps"):
        Video(config(tmp_path / "v.mp4", cache=tmp_path / "cache", every=3))


def test_a_video_file_becomes_samples(tmp_path):
    film(tmp_path / "v.mp4", drive(1, 10))
    dataset = Video(config(tmp_path / "v.mp4", cache=tmp_path / "cache"))
    assert list(dataset.keys)[:2] == ["v/000000", "v/000001"]
    assert dataset[3].image.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fov_deg": None}, "expected focal_px, fov_deg, calibration or learn_intrinsics"),
        ({"focal_px": (50.0, 50.0)}, "both focal_px and fov_deg"),
        ({"fov_deg": 190.0}, "fov_deg is 190"),
        ({"offsets": ()}, "offsets is empty"),
        ({"rows": "0.85"}, "rows is '0.85'; expected two shares of the height, as in 0:0.85"),
        ({"rows": "0.5:0.55"}, "expected 0 <= from < to <= 1"),
        ({"calibration": Path("c.yaml")}, "calibration is given, which says all of the camera"),
        ({"fps": 0.0}, r"fps 0\.0.*expected fps > 0"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        config(tmp_path, **changes)


def test_the_wait_at_a_real_traffic_light_is_dropped_and_nothing_else():
    folder = shared("data/kitti_raw/2011_09_26/2011_09_26_drive_0009_extract/image_02/data")
    dataset = Video(config(folder, every=3))
    kept = {int(key[-10:]) for key in dataset.keys}
    assert kept >= set(range(0, 432, 3))
    assert len(kept & set(range(433, 453))) <= 1


def test_who_finds_that_another_process_was_quicker_takes_its_frames(tmp_path, monkeypatch):
    video = tmp_path / "drive.mp4"
    write_video(video, frames=3, fps=10)
    write = video_file._write

    def overtaken(path, folder, fps, covers):
        write(path, folder, fps, covers)
        monkeypatch.setattr(video_file, "_write", write)
        extract_frames(path, tmp_path / "cache", fps=fps)

    monkeypatch.setattr(video_file, "_write", overtaken)
    extracted = extract_frames(video, tmp_path / "cache", fps=10.0)
    assert len(extracted.paths) == 3
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [extracted.paths[0].parent.name]


def test_frames_without_leading_zeros_are_paired_with_their_neighbours(tmp_path):
    for number in range(1, 13):
        write_image(tmp_path / "frames" / f"frame{number}.png", smooth(number))
    dataset = Video(config(tmp_path / "frames"))
    assert [key.split("frame")[-1] for key in dataset.keys] == [str(number) for number in range(1, 13)]
    assert np.array_equal(dataset[8].sources[1].image, smooth(10))


def drive(first, count, step_px=2):
    """Frames of a camera that moves along a wall of its own."""
    wall = cv2.resize(pattern(first, 6, 60), (960, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return [wall[:, step_px * number : step_px * number + WIDTH] for number in range(count)]


def roles(dataset):
    return ["".join(view.role[0] for view in dataset[index].sources) for index in range(len(dataset))]


def test_frames_on_both_sides_of_a_cut_are_not_paired(tmp_path):
    for number, image in enumerate([*drive(1, 5), *drive(2, 5)]):
        write_image(tmp_path / "frames" / f"{number}.png", image)
    assert roles(Video(config(tmp_path / "frames"))) == ["n", "pn", "pn", "pn", "p"] * 2


def test_what_comes_after_times_that_start_again_is_kept_and_not_paired_across(tmp_path):
    for name, first in (("a.ts", 1), ("b.ts", 1)):
        film(tmp_path / name, drive(first, 6))
    joined = tmp_path / "joined.ts"
    joined.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    dataset = Video(config(joined, cache=tmp_path / "cache"))
    assert roles(dataset) == ["n", "pn", "pn", "pn", "pn", "p"] * 2


def test_rows_above_a_bonnet_are_kept_and_the_camera_with_them(tmp_path):
    whole, cut = (
        Video(config(folder_of(tmp_path, range(3)), **changes)) for changes in ({}, {"rows": "0.25:0.75"})
    )
    cut.verify()
    assert np.array_equal(cut[0].image, whole[0].image[12:36])
    assert cut[0].intrinsics.tolist() == [[32, 0, 32], [0, 32, 12], [0, 0, 1]]


def test_large_frames_of_a_file_are_stored_as_small_as_training_needs_them(tmp_path):
    film(tmp_path / "v.mp4", drive(1, 4))
    options = {"cache": tmp_path / "cache", "covers": (12, 16), "rows": "0:0.5"}
    sample = Video(config(tmp_path / "v.mp4", **options))[0]
    assert sample.image.shape == (12, 32, 3)
    assert sample.intrinsics.tolist() == [[16, 0, 16], [0, 16, 12], [0, 0, 1]]


def test_the_space_of_frames_is_foretold(tmp_path, caplog):
    caplog.set_level("INFO")
    film(tmp_path / "v.mp4", drive(1, 20))
    space = foretell_space(tmp_path / "v.mp4", tmp_path / "cache", fps=5)
    extracted = extract_frames(tmp_path / "v.mp4", tmp_path / "cache", fps=5)
    assert space.needed_bytes == pytest.approx(sum(path.stat().st_size for path in extracted.paths), rel=0.2)
    assert f"v.mp4: about 10 frames of {space.frame_bytes / 1e3:.0f} KB" in caplog.text
    assert foretell_space(tmp_path / "v.mp4", tmp_path / "cache", fps=5) is None


def test_sensors_of_ten_bits_keep_their_levels_and_that_is_said(tmp_path, caplog):
    for number in range(3):
        image = smooth(number).astype(np.uint16) * 4 + 64
        write_image(tmp_path / "frames" / f"{number}.png", image)
    dataset = Video(config(tmp_path / "frames"))
    dataset.verify()
    assert np.abs(dataset[1].image.astype(int) - smooth(1)).max() <= 4
    assert "frames have 16 bits a channel; in all of them" in caplog.text


def test_frames_of_one_colour_are_left_out_and_a_video_of_them_is_refused(tmp_path):
    folder = folder_of(tmp_path, range(5))
    write_image(folder / "0002.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    assert [key[-4:] for key in Video(config(folder, min_change=0)).keys] == ["0000", "0001", "0003", "0004"]
    for number in range(3):
        write_image(folder / f"{number:04}.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    with pytest.raises(LayoutError, match="of 5 frames 3 are of one colour"):
        Video(config(folder, min_change=0))


@pytest.mark.parametrize(
    ("given", "degrees"),
    [
        ({"fov_deg": 179.9}, "180"),
        ({"fov_deg": 0.5}, "0.5"),
        ({"fov_deg": None, "focal_px": (20000.0, 700.0)}, "0.183"),
        ({"fov_deg": None, "focal_px": (70.0, 20.0)}, "49.1"),
    ],
)
def test_a_lens_that_nobody_has_is_refused(tmp_path, given, degrees):
    dataset = Video(config(folder_of(tmp_path, range(2)), **given))
    with pytest.raises(
        LayoutError, match=f"a horizontal field of view of {degrees} degrees; expected 1 to 160"
    ):
        dataset.verify()


def test_a_principal_point_of_frames_of_another_size_is_refused(tmp_path):
    given = {"fov_deg": None, "focal_px": (500.0, 500.0), "principal_px": (300.0, 200.0)}
    with pytest.raises(LayoutError, match=r"64x48 pixels, but principal_px is \(300\.0, 200\.0\)"):
        Video(config(folder_of(tmp_path, range(2)), **given))


def test_a_mask_says_where_frames_are_not_to_be_compared(tmp_path):
    mask = np.full((96, 128), 255, np.uint8)
    mask[72:, 32:64] = 0
    write_image(tmp_path / "mask.png", mask)
    dataset = Video(config(folder_of(tmp_path, range(3)), mask=tmp_path / "mask.png", rows="0.5:1"))
    expected = np.ones((24, 64), bool)
    expected[12:, 16:32] = False
    assert np.array_equal(dataset[0].mask, expected)
    prepared = PreparedDataset(dataset, height=12, width=32, max_bytes=10**6)
    assert np.array_equal(prepared[0].mask, expected[::2, ::2])


@pytest.mark.parametrize(
    ("mask", "complaint"),
    [
        (np.full((48, 48), 255, np.uint8), "is 48x48 pixels, but whole frames are 64x48"),
        (np.zeros((48, 64), np.uint8), "is black everywhere"),
    ],
)
def test_a_mask_that_cannot_be_meant_is_refused(tmp_path, mask, complaint):
    write_image(tmp_path / "mask.png", mask)
    with pytest.raises(LayoutError, match=complaint) as refused:
        Video(config(folder_of(tmp_path, range(3)), mask=tmp_path / "mask.png"))
    assert "move" not in str(refused.value), "the frames move, and the mask alone is wrong"


def test_an_unknown_camera_that_turns_starts_where_its_frames_say(tmp_path, caplog):
    caplog.set_level("INFO")
    street = Street(frames=12, width=240, height=144, bonnet=0.15)
    for number in range(street.frames):
        write_image(tmp_path / "frames" / f"{number}.png", street.draw(number)[0])
    unknown = {"fov_deg": None, "learn_intrinsics": True, "rows": "0:0.85", "max_gap": 0}
    sample = Video(config(tmp_path / "frames", **unknown))[3]
    assert not sample.intrinsics_known
    assert sample.intrinsics[0, 0] == pytest.approx(street.focal_px, rel=0.04)
    assert "points tell a horizontal field of view of 7" in caplog.text
    given = Video(config(tmp_path / "frames", **(unknown | {"fov_deg": 60.0})))
    assert given[3].intrinsics[0, 0] == pytest.approx(120 / math.tan(math.radians(30)))


def test_frames_of_eight_bits_among_those_of_sixteen_are_refused(tmp_path):
    for number in range(4):
        image = smooth(number)
        write_image(
            tmp_path / "frames" / f"{number}.png", image if number == 2 else image.astype(np.uint16) * 16
        )
    with pytest.raises(LayoutError, match=r"2\.png: has 8 bits a channel, but 0\.png 16"):
        Video(config(tmp_path / "frames", min_change=0)).verify()


def test_frames_a_second_are_refused_of_a_folder(tmp_path):
    with pytest.raises(LayoutError, match="is a folder, but fps is 3; expected every, or a video file"):
        Video(config(folder_of(tmp_path, range(5)), fps=3))


def test_offsets_that_no_frame_has_are_named(tmp_path):
    with pytest.raises(LayoutError, match="none of 5 frames has another at offsets=-50,50"):
        Video(config(folder_of(tmp_path, range(5)), offsets=(-50, 50)))
