import math

import av
import numpy as np
import pytest

from tests.assets import shared
from tests.training.data.fabricated import pattern, write_image
from training.data import video_file
from training.data.frames import Frame, FrameError
from training.data.layout import LayoutError, images_in
from training.data.sequence import SequenceDataset
from training.data.video import Video, VideoConfig
from training.data.video_file import extract_frames

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
    kept = Video(config(folder_of(tmp_path, [0, 1, 1, 1, 2, 3]), min_change=0.0))
    assert len(kept) == 6


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
    folder = extract_frames(tmp_path / "v.mp4", tmp_path / "cache", fps=10)
    levels = [image.mean() for image in frames_in(folder)]
    assert levels == pytest.approx([15 * place for place in range(10)], abs=3)


def frames_in(folder):
    return [Frame(key=stem, path=path).read() for stem, path in images_in(folder).items()]


def test_a_slower_video_gives_all_of_its_frames(tmp_path):
    write_video(tmp_path / "v.mp4", 6, 5)
    assert len(images_in(extract_frames(tmp_path / "v.mp4", tmp_path / "cache", fps=10))) == 6


def test_rates_that_do_not_divide_keep_the_wanted_number_of_frames(tmp_path):
    write_video(tmp_path / "v.mp4", 50, 25)
    assert len(images_in(extract_frames(tmp_path / "v.mp4", tmp_path / "cache", fps=10))) == 20


def test_frames_are_extracted_once_and_again_when_the_video_changes(tmp_path):
    write_video(tmp_path / "v.mp4", 6, 10)
    first = extract_frames(tmp_path / "v.mp4", tmp_path / "cache", fps=10)
    (first / "000000.jpg").unlink()
    assert extract_frames(tmp_path / "v.mp4", tmp_path / "cache", fps=10) == first
    assert len(images_in(first)) == 5
    write_video(tmp_path / "v.mp4", 8, 10)
    assert extract_frames(tmp_path / "v.mp4", tmp_path / "cache", fps=10) != first


def test_a_broken_video_leaves_nothing_behind(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"no video at all")
    with pytest.raises(FrameError, match=r"v\.mp4: cannot be decoded"):
        extract_frames(tmp_path / "v.mp4", tmp_path / "cache", fps=10)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_video_file_becomes_samples(tmp_path):
    write_video(tmp_path / "v.mp4", 10, 10, levels=[20 * number for number in range(5)] * 2)
    dataset = Video(config(tmp_path / "v.mp4", cache=tmp_path / "cache"))
    assert list(dataset.keys)[:2] == ["v/000000", "v/000001"]
    assert dataset[3].image.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fov_deg": None}, "expected focal_px, fov_deg or learn_intrinsics"),
        ({"focal_px": (50.0, 50.0)}, "both focal_px and fov_deg"),
        ({"fov_deg": 190.0}, "fov_deg is 190"),
        ({"offsets": ()}, "offsets is empty"),
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
    decode = video_file._frames

    def overtaken(path, fps):
        yield from decode(path, fps)
        monkeypatch.setattr(video_file, "_frames", decode)
        extract_frames(path, tmp_path / "cache", fps=fps)

    monkeypatch.setattr(video_file, "_frames", overtaken)
    folder = extract_frames(video, tmp_path / "cache", fps=10.0)
    assert len(images_in(folder)) == 3
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folder.name]
