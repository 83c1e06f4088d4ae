import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from service.codec.png import encode_png

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)


def read_cv2(png: bytes) -> np.ndarray:
    read = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert read is not None
    return read


@given(hnp.arrays(np.uint16, SHAPES, elements=st.integers(0, 65535)))
def test_16_bit_grey_reads_back_bit_for_bit_in_opencv_and_pillow(values: np.ndarray) -> None:
    png = encode_png(values)
    assert np.array_equal(read_cv2(png), values)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), values)


@given(hnp.arrays(np.uint8, SHAPES.map(lambda shape: (*shape, 3))))
def test_colours_read_back_bit_for_bit_in_opencv_and_pillow(values: np.ndarray) -> None:
    png = encode_png(values)
    assert np.array_equal(read_cv2(png)[..., ::-1], values)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), values)


def test_pixels_that_do_not_lie_in_a_row_are_read_as_they_look() -> None:
    values = np.arange(600, dtype=np.uint16).reshape(20, 30)
    assert np.array_equal(read_cv2(encode_png(values[::2, ::-1])), values[::2, ::-1])
    assert np.array_equal(read_cv2(encode_png(values.T)), values.T)


@pytest.mark.parametrize(
    "pixels", [np.zeros((0, 4), np.uint16), np.zeros((2, 2), np.float32), np.zeros((2, 2, 4), np.uint8)]
)
def test_other_pixels_are_refused_by_name(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        encode_png(pixels)
