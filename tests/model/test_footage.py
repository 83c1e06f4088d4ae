from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from model.footage import VideoError, VideoReader
from tests.model.films import MATRICES, corners, film

YUV = np.array([120, 90, 200])


def read(path: Path, **options):
    with VideoReader(path, **options) as reader:
        return list(reader), reader


def seen(path: Path) -> np.ndarray:
    frames, _ = read(path)
    return frames[0].rgb


def close(image: np.ndarray, expected: np.ndarray, off: float = 30.0) -> bool:
    return image.shape == expected.shape and float(np.abs(image.astype(float) - expected).mean()) < off


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("quarter turn", lambda picture: np.rot90(picture, -1)),
        ("mirrored", np.fliplr),
        ("upside down", lambda picture: np.rot90(picture, 2)),
        ("mirrored and turned", lambda picture: picture.transpose(1, 0, 2)),
    ],
)
def test_frames_stand_as_the_file_says_that_they_are_shown(tmp_path, said, shown):
    path = film(tmp_path / "film.mp4", [corners()] * 3, matrix=MATRICES[said])
    assert close(seen(path), shown(corners()))


def test_wide_pixels_become_square(tmp_path):
    def wide(stream):
        stream.sample_aspect_ratio = Fraction(3, 2)

    frames, reader = read(film(tmp_path / "film.mp4", [corners()] * 3, set_up=wide))
    assert frames[0].rgb.shape == (48, 96, 3)
    assert reader.size == (48, 96)
    assert "1.5 times as wide as high" in reader.remarks[0]


def test_wide_pixels_of_a_film_that_lies_on_its_side_become_square(tmp_path):
    def wide(stream):
        stream.sample_aspect_ratio = Fraction(3, 2)

    path = film(tmp_path / "film.mp4", [corners()] * 3, set_up=wide, matrix=MATRICES["quarter turn"])
    assert close(seen(path), np.rot90(corners(48, 96), -1))


@pytest.mark.parametrize(
    ("matrix", "full", "rgb"),
    [
        (1, False, (250, 90, 40)),
        (1, True, (233, 93, 49)),
        (5, False, (235, 76, 44)),
        (5, True, (220, 81, 52)),
    ],
)
def test_colours_follow_the_matrix_and_the_range_that_the_file_states(tmp_path, matrix, full, rgb):
    def tagged(stream):
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = 2 if full else 1

    image = seen(film(tmp_path / "film.mp4", [YUV] * 3, raw=True, set_up=tagged))
    assert image[24, 32].tolist() == pytest.approx(rgb, abs=2)


def test_large_frames_without_tags_are_taken_for_high_definition(tmp_path):
    grey = np.zeros((720, 64, 3), np.uint8)
    grey[..., 0] = 200
    untagged = seen(film(tmp_path / "film.mp4", [grey] * 2))
    # The writer made 601 of it, and says so nowhere: a player reads 709.
    assert untagged[300, 30, 0] > 205


@pytest.mark.parametrize(
    ("transfer", "level", "grey"), [(18, 512, 143), (18, 400, 109), (16, 593, 240), (16, 450, 141)]
)
def test_hdr_is_tone_mapped_and_said(tmp_path, transfer, level, grey):
    def hdr(stream):
        stream.codec_context.colorspace = stream.codec_context.color_primaries = 9
        stream.codec_context.color_trc = transfer

    path = film(
        tmp_path / "film.mp4", [np.array([level, 512, 512])] * 2, raw=True, set_up=hdr,
        codec="libx265", pixels="yuv420p10le", options={"x265-params": "bframes=0:log-level=none"},
    )  # fmt: skip
    frames, reader = read(path)
    assert frames[0].rgb[24, 32].tolist() == pytest.approx([grey] * 3, abs=5)
    assert "HDR" in reader.remarks[0]


def test_interlaced_frames_lose_their_combs(tmp_path):
    """Something moves between the two fields of a frame: each row is where the other row's frame was not."""
    pictures = []
    for number in range(6):
        picture = np.full((48, 64, 3), 40, np.uint8)
        picture[0::2, 8 + 4 * number : 16 + 4 * number] = 220
        picture[1::2, 10 + 4 * number : 18 + 4 * number] = 220
        pictures.append(picture)
    interlaced = {"x264-params": "interlaced=1:tff=1", "crf": "1"}
    frames, reader = read(film(tmp_path / "film.mp4", pictures, options=interlaced))
    assert len(frames) == 6
    assert "deinterlaced" in reader.remarks[0]
    combs = [np.abs(np.diff(each.astype(float), axis=0)).mean() for each in (pictures[3], frames[3].rgb)]
    assert combs[1] < combs[0] / 2


def test_the_largest_of_several_pictures_is_read(tmp_path):
    with av.open(str(tmp_path / "film.mkv"), "w") as container:
        streams = [container.add_stream("libx264", rate=10) for _ in range(2)]
        for stream, width in zip(streams, (32, 96), strict=True):
            stream.width, stream.height, stream.pix_fmt = width, 48, "yuv420p"
        for number in range(3):
            for stream in streams:
                frame = av.VideoFrame.from_ndarray(np.zeros((48, stream.width, 3), np.uint8), "rgb24")
                frame.pts = number
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    frames, reader = read(tmp_path / "film.mkv")
    assert {frame.rgb.shape for frame in frames} == {(48, 96, 3)}
    assert reader.remarks == ["has 2 picture streams; the largest is read"]


def test_a_gap_and_times_that_start_again_begin_a_new_stretch(tmp_path):
    levels = [np.full((48, 64, 3), 20 * number, np.uint8) for number in range(6)]
    with_gap, _ = read(film(tmp_path / "gap.mp4", levels, ticks=[0, 1, 2, 20, 21, 22]))
    assert [frame.stretch for frame in with_gap] == [0, 0, 0, 1, 1, 1]
    joined = tmp_path / "joined.ts"
    for name in ("a.ts", "b.ts"):
        film(tmp_path / name, levels)
    joined.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    twice, _ = read(joined)
    assert [frame.stretch for frame in twice] == [0] * 6 + [1] * 6


def damaged(tmp_path: Path, count: int, every: int) -> Path:
    """A film in which every so many-th packet, each a picture of its own, is garbage."""
    path = film(tmp_path / "film.mp4", [corners()] * count, options={"g": "1"})
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for at, size in places[::every]:
        data[at : at + size] = b"\xff" * size
    path.write_bytes(data)
    return path


def test_a_damaged_packet_is_left_out_and_counted(tmp_path):
    frames, reader = read(damaged(tmp_path, 12, 6))
    assert len(frames) == 10
    assert reader.remarks == ["2 packets cannot be decoded and are left out"]


def test_a_film_of_which_most_is_damaged_is_refused(tmp_path):
    with pytest.raises(VideoError, match=r"cannot be decoded: \d+ packets are damaged, 0 frames are not"):
        read(damaged(tmp_path, 12, 1))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts", ".mts", ".3gp"])
def test_frames_are_shrunk_as_far_as_they_still_cover_the_size_that_is_asked_for(tmp_path, suffix):
    if suffix == ".mts":  # FFmpeg writes it under the other name
        path = film(tmp_path / "film.ts", [corners()] * 2).rename(tmp_path / "film.mts")
    else:
        path = film(tmp_path / f"film{suffix}", [corners()] * 2)
    frames, reader = read(path, covers=(12, 32))
    assert frames[0].rgb.shape == (24, 32, 3)
    assert reader.size == (48, 64)
    assert read(path, covers=(480, 640))[0][0].rgb.shape == (48, 64, 3)


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"no video")
    with pytest.raises(VideoError, match="cannot be opened as a video"):
        VideoReader(tmp_path / "film.mp4")
