import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image as Picture

from depth_client import DepthResult, Intrinsics
from depth_client.result import result_of
from examples.ros.conversions import (
    UnfitMessage,
    compressed_depth,
    depth_image,
    header_of,
    info_of,
    lens_of,
)
from examples.ros.messages import CompressedImage, Image, RegionOfInterest
from examples.ros.pictures import picture_of
from service.contract.answer import DepthAnswer
from service.contract.request import Format
from tests.examples.ros.cameras import HEADER, RGB, image, info


def result(depth: np.ndarray, unit: str = "metre", lens: Intrinsics | None = None) -> DepthResult:
    answer = DepthAnswer(
        body=depth.astype("<f4").tobytes(),
        media_type="application/octet-stream",
        format=Format.FLOAT32,
        height=depth.shape[0],
        width=depth.shape[1],
        dtype="<f4",
        scale=1.0,
        unit=unit,
        scale_source="checkpoint",
        minimum=0.5,
        maximum=90.0,
        invalid="none",
        model="student",
        model_version="1",
        request_id="id",
        intrinsics=lens,
    )
    return result_of(answer)


DEPTH = np.array([[0.5, 1.2345, np.nan], [65.535, 65.536, 90.0]], np.float32)


# Pictures


@pytest.mark.parametrize(
    ("encoding", "stored", "expected"),
    [
        ("rgb8", RGB, RGB),
        ("bgr8", RGB[..., ::-1], RGB),
        ("8UC3", RGB[..., ::-1], RGB),
        ("rgba8", np.dstack([RGB, RGB[..., 0]]), RGB),
        ("bgra8", np.dstack([RGB[..., ::-1], RGB[..., 0]]), RGB),
        ("mono8", RGB[..., 0], RGB[..., 0]),
    ],
)
def test_pixels_are_red_green_and_blue_whatever_their_encoding(
    encoding: str, stored: np.ndarray, expected: np.ndarray
) -> None:
    height, width = stored.shape[:2]
    step = stored.size // height
    data = np.ascontiguousarray(stored).tobytes()
    message = Image(header=HEADER, height=height, width=width, encoding=encoding, step=step, data=data)
    np.testing.assert_array_equal(picture_of(message)[0], expected)


def test_bytes_at_the_end_of_rows_are_left_out() -> None:
    np.testing.assert_array_equal(picture_of(image(padding=5))[0], RGB)


@pytest.mark.parametrize(("kind", "size"), [("JPEG", (3, 5)), ("PNG", (3, 5)), ("WEBP", None)])
def test_a_compressed_picture_goes_on_as_it_came(kind: str, size: tuple[int, int] | None) -> None:
    file = io.BytesIO()
    Picture.fromarray(RGB).save(file, kind)
    data = np.frombuffer(file.getvalue(), np.uint8)
    for told in ("bgr8; jpeg compressed bgr8", "png", "webp"):
        assert picture_of(CompressedImage(header=HEADER, format=told, data=data)) == (file.getvalue(), size)


def test_grey_of_16_bits_keeps_them() -> None:
    grey = np.arange(15, dtype=np.uint16).reshape(3, 5) * 4000
    for order, big in (("<u2", 0), (">u2", 1)):
        stored = grey.astype(order).tobytes()
        message = Image(
            header=HEADER, height=3, width=5, encoding="mono16", is_bigendian=big, step=10, data=stored
        )
        data, size = picture_of(message)
        assert size == (3, 5)
        np.testing.assert_array_equal(np.asarray(Picture.open(io.BytesIO(bytes(data)))), grey)


FLAT = np.full((8, 8, 3), (200, 120, 40), np.uint8)
"""One colour, which neither a mosaic nor shared colours change."""


def planes(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y, cr, cb = np.moveaxis(cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb), -1, 0).astype(np.float64)
    # From full range to that of video, as cameras send it (ITU-R BT.601).
    scaled = (16 + y * 219 / 255, 128 + (cb - 128) * 224 / 255, 128 + (cr - 128) * 224 / 255)
    return tuple(np.rint(plane).astype(np.uint8) for plane in scaled)  # type: ignore[return-value]


def yuv(encoding: str) -> np.ndarray:
    y, u, v = planes(FLAT)
    colours = np.where(np.arange(8) % 2 == 0, u, v)
    if encoding in ("yuv422", "uyvy"):
        return np.stack([colours, y], axis=-1)
    if encoding in ("yuv422_yuy2", "yuyv"):
        return np.stack([y, colours], axis=-1)
    first, second = (v, u) if encoding == "nv21" else (u, v)
    return np.concatenate([y, np.where(np.arange(8) % 2 == 0, first, second)[:4]])


@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv21", "nv12"])
def test_what_usb_cameras_send_becomes_the_colours_that_it_was(encoding: str) -> None:
    stored = yuv(encoding)
    step = 8 if encoding.startswith("nv") else 16
    message = Image(header=HEADER, height=8, width=8, encoding=encoding, step=step, data=stored.tobytes())
    shown, size = picture_of(message)
    assert size == (8, 8)
    assert np.abs(np.asarray(shown).astype(int) - FLAT).max() <= 3


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_mosaic_of_colours_becomes_the_colours_that_it_was(pattern: str, bits: int) -> None:
    mosaic = np.empty((8, 8), np.uint8)
    for place, colour in enumerate(pattern):
        mosaic[place // 2 :: 2, place % 2 :: 2] = FLAT[0, 0]["rgb".index(colour)]
    stored = mosaic if bits == 8 else mosaic.astype("<u2") << 8
    step, encoding = stored.itemsize * 8, f"bayer_{pattern}{bits}"
    message = Image(header=HEADER, height=8, width=8, encoding=encoding, step=step, data=stored.tobytes())
    np.testing.assert_array_equal(picture_of(message)[0], FLAT)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (replace(image(), encoding="64FC1"), "the encoding is '64FC1'"),
        (replace(image(), encoding="16UC1"), "the encoding is '16UC1'"),
        (replace(image(), step=5), "in rows of 5"),
        (replace(image(), data=b"short"), "5 bytes"),
        (CompressedImage(header=HEADER, format="16UC1; compressedDepth png", data=b""), "not depth"),
        (CompressedImage(header=HEADER, format="h264", data=b"\0\0\0\1gB"), "the format is 'h264'"),
    ],
)
def test_what_is_no_picture_is_refused(message: object, reason: str) -> None:
    with pytest.raises(UnfitMessage, match=reason):
        picture_of(message)


# Calibration


def test_the_first_pixel_s_centre_is_at_0_in_ros_and_at_a_half_in_the_service() -> None:
    assert lens_of(info()) == Intrinsics(fx_px=4, fy_px=4, cx_px=2.5, cy_px=1.5)


def test_without_p_the_picture_s_own_matrix_counts_and_without_both_there_is_no_lens() -> None:
    assert lens_of(info(p=np.zeros(12))) == Intrinsics(fx_px=4, fy_px=4, cx_px=2.5, cy_px=1.5)
    assert lens_of(info(p=np.zeros(12), k=np.zeros(9))) is None


def test_a_cut_and_binned_picture_has_the_lens_of_its_own_pixels() -> None:
    """The axis goes through the middle of the whole; after a cut of 1 and binning by 2 that is at 0.75."""
    cut = info(roi=RegionOfInterest(x_offset=1, y_offset=0, width=4, height=3), binning_x=2, binning_y=0)
    assert lens_of(cut) == Intrinsics(fx_px=2, fy_px=4, cx_px=0.75, cy_px=1.5)


def test_a_picture_that_was_scaled_has_a_scaled_lens() -> None:
    whole = Intrinsics(fx_px=720, fy_px=720, cx_px=640.5, cy_px=360.5)
    p = np.array([720.0, 0, 640, 0, 0, 720, 360, 0, 0, 0, 1, 0])
    given = replace(info(p=p), height=720, width=1280)
    assert lens_of(given, (720, 1280)) == lens_of(given) == whole
    assert lens_of(given, (360, 640)) == Intrinsics(fx_px=360, fy_px=360, cx_px=320.25, cy_px=180.25)
    odd = lens_of(given, (481, 854))  # rounded, as drivers do
    assert odd is not None
    assert (odd.fx_px, odd.fy_px) == pytest.approx((720 * 854 / 1280, 720 * 481 / 720))
    binned = replace(given, binning_x=2, binning_y=2)
    assert lens_of(binned, (360, 640)) == lens_of(binned) == lens_of(given, (360, 640))


def test_a_calibration_of_another_shape_is_refused_with_both_sizes() -> None:
    given = replace(info(), height=720, width=1280)
    with pytest.raises(UnfitMessage, match="picture is 640x480 and its CameraInfo is of 1280x720"):
        lens_of(given, (480, 640))
    assert lens_of(replace(given, height=0, width=0), (480, 640)) is not None  # it does not say


def test_the_depth_s_calibration_is_the_picture_s_where_their_sizes_are_the_same() -> None:
    given = info(tx=-0.8)
    out = info_of(HEADER, given, result(np.ones((3, 5)), lens=lens_of(given)))
    np.testing.assert_allclose(out.k, given.k)
    np.testing.assert_allclose(out.p, given.p)
    assert (out.height, out.width, out.header) == (3, 5, HEADER)
    np.testing.assert_array_equal(out.d, np.zeros(5))
    np.testing.assert_array_equal(out.r.reshape(3, 3), np.eye(3))


def test_the_depth_s_calibration_is_of_its_own_size_and_keeps_the_stereo_baseline() -> None:
    half = Intrinsics(fx_px=2, fy_px=2, cx_px=1.25, cy_px=0.75)
    out = info_of(HEADER, info(tx=-0.8), result(np.ones((2, 3)), lens=half))
    np.testing.assert_allclose(out.k, [2, 0, 0.75, 0, 2, 0.25, 0, 0, 1])
    assert out.p[3] == pytest.approx(-0.4)  # 0.2 m at half the focal length
    assert (out.height, out.width, out.binning_x, out.roi) == (2, 3, 0, RegionOfInterest())


def test_points_made_from_the_published_calibration_are_those_of_the_client() -> None:
    """As depth_image_proc does it: (u - cx) z / fx, with u counted from 0."""
    depth = np.random.default_rng(1).uniform(1, 50, (3, 5)).astype(np.float32)
    answer = result(depth, lens=lens_of(info()))
    fx, cx, fy, cy = info_of(HEADER, info(), answer).k[[0, 2, 4, 5]]
    columns, rows = np.meshgrid(np.arange(5), np.arange(3))
    points = np.stack([(columns - cx) * depth / fx, (rows - cy) * depth / fy, depth], axis=-1)
    np.testing.assert_allclose(points, answer.points(), atol=1e-5)


# Depth


def test_metres_are_floats_with_nan_where_there_is_none() -> None:
    message = depth_image(HEADER, result(DEPTH))
    assert (message.encoding, message.step, message.is_bigendian) == ("32FC1", 12, 0)
    assert (message.height, message.width, message.header) == (2, 3, HEADER)
    np.testing.assert_array_equal(np.frombuffer(message.data, "<f4").reshape(2, 3), DEPTH)


def test_millimetres_are_whole_with_0_where_there_is_none_or_16_bits_end() -> None:
    message = depth_image(HEADER, result(DEPTH), "16UC1")
    assert (message.encoding, message.step) == ("16UC1", 6)
    stored = np.frombuffer(message.data, "<u2").reshape(2, 3)
    np.testing.assert_array_equal(stored, [[500, 1234, 0], [65535, 0, 0]])


def test_what_is_too_far_is_out_of_range() -> None:
    metres = np.frombuffer(depth_image(HEADER, result(DEPTH), farthest_m=65).data, "<f4")
    np.testing.assert_array_equal(metres[3:], np.inf)
    np.testing.assert_array_equal(metres[:2], DEPTH[0, :2])
    millimetres = np.frombuffer(depth_image(HEADER, result(DEPTH), "16UC1", farthest_m=65).data, "<u2")
    np.testing.assert_array_equal(millimetres, [500, 1234, 0, 0, 0, 0])


def test_relative_depth_is_never_published() -> None:
    with pytest.raises(UnfitMessage, match="the depth is relative"):
        depth_image(HEADER, result(DEPTH, unit="relative"))


def test_compressed_depth_is_a_header_and_a_png_of_the_same_millimetres() -> None:
    message = depth_image(HEADER, result(DEPTH), "16UC1")
    packed = compressed_depth(message)
    assert packed.format == "16UC1; compressedDepth png"
    assert packed.data[:12] == bytes(12)
    read = cv2.imdecode(np.frombuffer(io.BytesIO(packed.data[12:]).read(), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read, np.frombuffer(message.data, "<u2").reshape(2, 3))
    with pytest.raises(UnfitMessage, match="expected 16UC1"):
        compressed_depth(depth_image(HEADER, result(DEPTH)))


def test_stamp_and_frame_are_kept() -> None:
    assert header_of(image()) == HEADER
