from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from depth_client import InvalidArgument, camera, folder, video


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """Six grey frames, each 20 lighter than the one before, at 5 a second."""
    path = tmp_path / "drive.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(6):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 + 20 * index, np.uint8))
            frame.pts, frame.time_base = index, Fraction(1, 5)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_video_gives_its_frames_and_their_times(drive: Path) -> None:
    frames = list(video(drive))
    assert [frame.index for frame in frames] == list(range(6))
    assert [frame.time_s for frame in frames] == pytest.approx([index / 5 for index in range(6)])
    for index, frame in enumerate(frames):
        assert isinstance(frame.image, np.ndarray)
        assert frame.image.shape == (48, 64, 3)
        assert frame.image.mean() == pytest.approx(40 + 20 * index, abs=3)


def test_a_folder_gives_its_pictures_by_name_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/2.PNG", "a.jpg", "c.webp", "notes.txt"):
        (tmp_path / name).write_bytes(name.encode())
    frames = list(folder(tmp_path))
    assert [frame.name for frame in frames] == ["a.jpg", "b/2.PNG", "c.webp"]
    assert [frame.image for frame in frames] == [b"a.jpg", b"b/2.PNG", b"c.webp"]
    assert {frame.time_s for frame in frames} == {None}


def test_what_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "no.mp4").write_bytes(b"no video")
    with pytest.raises(InvalidArgument, match="no picture"):
        folder(tmp_path)
    for path in (tmp_path / "missing.mp4", tmp_path / "no.mp4"):
        with pytest.raises(InvalidArgument, match="cannot be opened as a video"):
            video(path)
    with pytest.raises(InvalidArgument, match="no camera"):
        camera(str(tmp_path / "missing"))
