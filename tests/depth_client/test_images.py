import io
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from depth_client import InvalidArgument
from depth_client.images import encode_png, image_bytes

RGB = np.random.default_rng(0).integers(0, 255, (17, 23, 3), np.uint8)


def test_pixels_become_a_png_that_loses_nothing() -> None:
    for pixels in (RGB, RGB[..., 0], RGB[::2, ::-1]):
        read = np.asarray(Image.open(io.BytesIO(image_bytes(pixels))))
        np.testing.assert_array_equal(read, pixels)
    bgr = cv2.imdecode(np.frombuffer(image_bytes(RGB), np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    np.testing.assert_array_equal(bgr[..., ::-1], RGB)


def test_sixteen_bits_stay_sixteen_bits() -> None:
    steps = np.random.default_rng(1).integers(0, 65536, (7, 9), np.uint16)
    read = cv2.imdecode(np.frombuffer(encode_png(steps), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read, steps)


def test_pixels_become_jpeg_where_a_quality_is_given() -> None:
    smooth = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    body = image_bytes(smooth, jpeg_quality=95)
    assert body.startswith(b"\xff\xd8")
    assert np.abs(np.asarray(Image.open(io.BytesIO(body))).astype(int) - smooth).max() <= 3


def test_files_are_sent_as_they_are(tmp_path: Path) -> None:
    @dataclass
    class Carrier:
        image: bytes

    path = tmp_path / "photo.jpg"
    path.write_bytes(b"photo")
    for picture in (path, str(path), b"photo", bytearray(b"photo"), memoryview(b"photo"), Carrier(b"photo")):
        assert image_bytes(picture, jpeg_quality=50) == b"photo"


@pytest.mark.parametrize(
    "picture", [RGB.astype(np.float32), RGB[..., :2], RGB[:0], np.zeros(3, np.uint8), 7, None]
)
def test_what_is_no_picture_is_refused_and_named(picture: object) -> None:
    with pytest.raises(InvalidArgument, match="expected"):
        image_bytes(picture)  # type: ignore[arg-type]
