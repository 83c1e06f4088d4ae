import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from model.predictor import Predictor
from service.predict.video_file import VideoReader, VideoWriter
from service.predict.videos import panel_size
from tests.model.films import MATRICES, corners, film
from tests.service.predict.conftest import Predict, picture

RATE = Fraction(25)


def write_video(path: Path, images: Sequence[np.ndarray], ticks: Sequence[int] | None = None) -> Path:
    with VideoWriter(path, rate=RATE, time_base=1 / RATE) as writer:
        for index, image in enumerate(images):
            writer.write(image, ticks[index] if ticks else index)
    return path


def read_video(path: Path) -> list[np.ndarray]:
    reader = VideoReader(path)
    frames = list(iter(reader.next, None))
    reader.close()
    return [frame.rgb for frame in frames]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "drive.mp4", [picture(index, 96, 160) for index in range(11)])


def test_what_is_written_is_read_again_with_its_colours_and_times(tmp_path: Path) -> None:
    images = [picture(index, 96, 160) for index in range(4)]
    path = write_video(tmp_path / "any name", images, ticks=[0, 1, 5, 6])
    reader = VideoReader(path)
    frames = list(iter(reader.next, None))
    assert [float(frame.ticks * reader.time_base) for frame in frames] == pytest.approx([0, 0.04, 0.2, 0.24])
    for frame, image in zip(frames, images, strict=True):
        assert np.abs(frame.rgb.astype(int) - image).mean() < 4
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    reader.close()


def test_a_video_gives_itself_beside_its_depth(predict: Predict, video: Path, tmp_path: Path) -> None:
    predict(video)
    (made,) = (tmp_path / "out").iterdir()
    assert made.name == "drive_side_by_side.mp4"
    with av.open(str(made)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
    before, after = read_video(video), read_video(made)
    assert len(before) == len(after) == 11
    for old, new in zip(before, after, strict=True):
        assert new.shape == (96, 320, 3)
        assert np.abs(new[:, :160].astype(int) - old).mean() < 4
        assert np.abs(new[:, 160:].astype(int) - old).mean() > 20


def test_the_nearest_is_the_brightest_in_given_colours(predict: Predict, video: Path, tmp_path: Path) -> None:
    predict(video, "--formats", "npy", "--color-map", "gray", "--near", "0.1", "--far", "300")
    depth = np.load(tmp_path / "out" / "drive_frames" / "000004_depth.npy")
    right = read_video(tmp_path / "out" / "drive_side_by_side.mp4")[4][:, 160:].mean(axis=2)
    expected = 255 * (1 / depth - 1 / 300) / (1 / 0.1 - 1 / 300)
    assert np.abs(right - expected.clip(0, 255)).mean() < 4


def test_unsmoothed_frames_are_the_predictor_s(
    predict: Predict, checkpoint: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(video, "--formats", "npy", "color", "--steadiness", "0", "--json")
    expected = Predictor.from_checkpoint(checkpoint).predict(read_video(video))
    frames = tmp_path / "out" / "drive_frames"
    depths = [np.load(frames / f"{index:06}_depth.npy") for index in range(11)]
    np.testing.assert_allclose(np.stack(depths), np.stack(expected), rtol=1e-4)
    assert len(list(frames.iterdir())) == 22
    record = json.loads(capsys.readouterr().out)
    assert (record["frames"], record["unit"], record["height"], record["width"]) == (11, "metre", 96, 160)
    assert (record["minimum"], record["maximum"]) == (float(np.min(depths)), float(np.max(depths)))
    assert record["files"]["npy"] == {"path": str(frames), "scale": 1.0, "invalid": "none"}


def test_a_known_distance_holds_for_the_first_frame_and_its_scale_for_all(
    predict: Predict, relative_checkpoint: Path, video: Path, tmp_path: Path
) -> None:
    options = ("--formats", "npy", "--steadiness", "0", "--known-distance", "80", "48", "7")
    predict(video, *options, checkpoint=relative_checkpoint)
    expected = np.stack(Predictor.from_checkpoint(relative_checkpoint).predict(read_video(video)))
    depths = np.stack([np.load(path) for path in sorted((tmp_path / "out" / "drive_frames").iterdir())])
    assert np.median(depths[0, 46:51, 78:83]) == pytest.approx(7, rel=1e-5)
    np.testing.assert_allclose(depths / expected, depths[0, 0, 0] / expected[0, 0, 0], rtol=1e-4)


def test_poses_are_read_a_line_a_frame_and_there_are_as_many_as_frames(
    predict: Predict, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poses, still = tmp_path / "poses.txt", "1 0 0 0 0 1 0 0 0 0 1 0\n"
    poses.write_text(still * 11)
    options = ("--fov-deg", "70", "--overwrite", "--poses", str(poses))
    predict(video, *options)
    for count in (10, 12):
        poses.write_text(still * count)
        with pytest.raises(SystemExit):
            predict(video, *options)
        assert f"--poses has {count} lines" in capsys.readouterr().err
    poses.write_text(still + "1 0 0 here\n")
    with pytest.raises(SystemExit, match=r"poses\.txt, line 2: could not convert"):
        predict(video, *options)


def test_a_video_cut_short_is_reported_and_leaves_no_half_a_file(
    predict: Predict, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    with pytest.raises(SystemExit) as stopped:
        predict(tmp_path / "broken.mp4", folder / "0.png", "--formats", "npy")
    assert stopped.value.code == 1
    assert "broken.mp4: cannot be opened as a video" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0_depth.npy"]


def test_a_video_of_odd_size_gets_even_halves() -> None:
    assert panel_size(375, 1241, 1280) == (376, 1240)
    assert panel_size(2160, 3840, 1280) == (720, 1280)


def test_a_video_that_another_run_wrote_is_in_the_way(predict: Predict, video: Path) -> None:
    predict(video)
    with pytest.raises(SystemExit, match=r"drive_side_by_side\.mp4 exists"):
        predict(video)
    predict(video, "--overwrite")


def test_a_mirrored_video_is_read_as_a_player_shows_it_and_what_was_done_is_said(
    predict: Predict, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def wide(stream) -> None:
        stream.sample_aspect_ratio = Fraction(3, 2)

    path = film(tmp_path / "phone.3gp", [corners(96, 160)] * 3, matrix=MATRICES["mirrored"], set_up=wide)
    predict(path)
    shown = read_video(tmp_path / "out" / "phone_side_by_side.mp4")[0][:, :240]
    assert shown.shape == (96, 240, 3)
    assert np.abs(shown.astype(int) - np.fliplr(corners(96, 240))).mean() < 30
    assert "phone.3gp has pixels 1.5 times as wide as high" in caplog.text
