import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
from PIL import Image

from service.codec.encode import EncodeOptions, Surfaces, encode_depth, held_range
from service.codec.point_cloud import intrinsics_of
from service.codec.scale import Scale
from service.contract.basis import Basis
from service.contract.errors import InvalidArgument
from service.contract.request import Colour, FieldOfView, Format, Intrinsics

DEPTH = np.geomspace(0.5, 90, 30 * 50).reshape(30, 50).astype(np.float32)
METRES = EncodeOptions(unit="metre")
SHAPE = DEPTH.shape

READERS: dict[Format, Callable[[bytes], np.ndarray]] = {
    Format.PNG16: lambda body: cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED),  # type: ignore[dict-item,return-value]
    Format.NPY: lambda body: np.load(io.BytesIO(body)),
    Format.FLOAT32: lambda body: np.frombuffer(body, "<f4").reshape(SHAPE),
    Format.FLOAT16: lambda body: np.frombuffer(body, "<f2").reshape(SHAPE).astype(np.float32),
    Format.UINT16_MM: lambda body: np.frombuffer(body, "<u2").reshape(SHAPE),
    Format.PNG16_MM: lambda body: cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED),  # type: ignore[dict-item,return-value]
    Format.JXL: lambda body: imagecodecs.jpegxl_decode(body),
    Format.JSON: lambda body: np.array(json.loads(body)["depth"], np.float32),
}
ERRORS = {
    Format.PNG16: 0.5 / 256 + 1e-5,
    Format.NPY: 0.0,
    Format.FLOAT32: 0.0,
    Format.FLOAT16: 90 / 2048,
    Format.UINT16_MM: 0.0005 + 1e-5,
    Format.PNG16_MM: 0.0005 + 1e-5,
    Format.JXL: 0.5 / 256 + 1e-5,
    Format.JSON: 0.0,
}

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("format", READERS)
def test_stored_value_times_scale_is_depth(format: Format) -> None:  # noqa: A002
    depth = np.minimum(DEPTH, 60)
    encoded = encode_depth(depth, format, METRES)
    stored = READERS[format](encoded)
    assert np.abs(stored * format.spec.scale - depth).max() <= ERRORS[format]


@pytest.mark.parametrize("format", [Format.PNG16, Format.UINT16_MM, Format.PNG16_MM, Format.JXL])
def test_no_depth_is_stored_as_the_value_that_means_none(format: Format) -> None:  # noqa: A002
    nearest = np.full(SHAPE, 1e-4, np.float32)
    encoded = encode_depth(nearest, format, METRES)
    assert format.spec.invalid == "0"
    assert (READERS[format](encoded) == 1).all()


def test_a_png_says_256_metres_of_all_that_is_farther() -> None:
    stored = READERS[Format.PNG16](encode_depth(np.full(SHAPE, 300, np.float32), Format.PNG16, METRES))
    assert (stored == 65535).all()


def test_millimetres_beyond_16_bits_are_no_measurement() -> None:
    far = np.full(SHAPE, 70, np.float32)
    far[0, 0] = 65.5
    stored = READERS[Format.UINT16_MM](encode_depth(far, Format.UINT16_MM, METRES))
    assert stored[0, 0] == 65500
    assert (stored.ravel()[1:] == 0).all()


@pytest.mark.parametrize("format", READERS)
@pytest.mark.parametrize("factor", [1, 4, 400])  # all within every format's reach, some beyond, and all
def test_the_range_is_that_of_what_is_stored_as_depth(format: Format, factor: int) -> None:  # noqa: A002
    depth = np.minimum(DEPTH, 60) * np.float32(factor)
    encoded = encode_depth(depth, format, METRES)
    stored = READERS[format](encoded)
    held = stored[stored > 0] * format.spec.scale
    expected = (held.min(), held.max()) if held.size else (0.0, 0.0)
    assert held_range(depth, format) == pytest.approx(expected, abs=1e-5 + format.spec.scale / 2, rel=1e-3)


def test_millimetres_are_the_same_raw_and_as_png() -> None:
    raw, png = (encode_depth(DEPTH, each, METRES) for each in (Format.UINT16_MM, Format.PNG16_MM))
    np.testing.assert_array_equal(READERS[Format.PNG16_MM](png), READERS[Format.UINT16_MM](raw))


@pytest.mark.parametrize("format", [Format.UINT16_MM, Format.PNG16_MM])
def test_relative_depth_is_never_called_millimetres(format: Format) -> None:  # noqa: A002
    with pytest.raises(InvalidArgument, match="needs metric depth"):
        encode_depth(DEPTH, format, EncodeOptions(unit="relative"))


def test_json_names_size_and_unit() -> None:
    said = json.loads(encode_depth(DEPTH, Format.JSON, METRES))
    assert (said["height"], said["width"], said["unit"]) == (30, 50, "metre")


def test_json_of_a_large_map_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="JSON of 50x30 pixels is more than the 1000 allowed"):
        encode_depth(DEPTH, Format.JSON, EncodeOptions(unit="metre", json_max_pixels=1000))


def read_rgb(body: bytes) -> np.ndarray:
    read = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert read is not None
    return read


def test_near_is_the_bright_end_of_the_colours() -> None:
    grey = EncodeOptions(unit="metre", colour=Colour(map="gray"))
    colours = read_rgb(encode_depth(DEPTH, Format.COLOR, grey))
    assert (colours[0, 0] == 255).all()
    assert (colours[-1, -1] == 0).all()


def test_a_fixed_range_gives_a_depth_the_same_colour_in_every_picture() -> None:
    options = EncodeOptions(unit="metre", colour=Colour(map="turbo", near=1, far=50))
    one = read_rgb(encode_depth(np.full((4, 4), 10, np.float32), Format.COLOR, options))
    mixed = np.full((4, 4), 2, np.float32)
    mixed[0, 0] = 10
    other = read_rgb(encode_depth(mixed, Format.COLOR, options))
    assert (one[0, 0] == other[0, 0]).all()
    assert (one[0, 0] != other[1, 1]).any()


def test_a_flat_wall_has_a_colour_too() -> None:
    assert read_rgb(encode_depth(np.full((8, 8), 3, np.float32), Format.COLOR, METRES)).shape == (
        8,
        8,
        3,
    )


def test_an_unknown_colour_map_is_answered_with_the_known() -> None:
    with pytest.raises(InvalidArgument, match=r"no colour map 'rainbow'; expected one of .*turbo"):
        encode_depth(DEPTH, Format.COLOR, EncodeOptions(unit="metre", colour=Colour(map="rainbow")))


def test_a_range_that_the_picture_ends_before_is_refused() -> None:
    options = EncodeOptions(unit="metre", colour=Colour(near=500))
    with pytest.raises(InvalidArgument, match="near is 500 and far is"):
        encode_depth(DEPTH, Format.COLOR, options)


def test_a_point_lies_on_its_pixel_s_ray_at_its_depth() -> None:
    rgb = np.zeros((2, 4, 3), np.uint8)
    rgb[1, 3] = (10, 20, 30)
    depth = np.full((2, 4), 6, np.float32)
    lens = Intrinsics(fx_px=2, fy_px=4, cx_px=2, cy_px=1)
    body = encode_depth(depth, Format.PLY, EncodeOptions(unit="metre", intrinsics=lens, rgb=rgb))
    header, _, points = body.partition(b"end_header\n")
    assert b"element vertex 8\n" in header
    assert b"unit: metre" in header
    vertices = np.frombuffer(points, [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    # The last pixel's centre is at (3.5, 1.5): x = (3.5 - 2) / 2 * 6, y = (1.5 - 1) / 4 * 6.
    assert vertices["xyz"][7].tolist() == [4.5, 0.75, 6.0]
    assert vertices["rgb"][7].tolist() == [10, 20, 30]


def cloud(body: bytes) -> tuple[str, np.ndarray]:
    """The head of a PLY file, and its points' distances along the axis."""
    header, _, points = body.partition(b"end_header\n")
    vertices = np.frombuffer(points, [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    return header.decode(), vertices["xyz"][:, 2]


def test_a_point_cloud_without_a_lens_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="needs a lens"):
        encode_depth(DEPTH, Format.PLY, METRES)


WITHOUT_IMAGECODECS = """
import sys
sys.modules["imagecodecs"] = None
import numpy
from service.codec import decode
from service.codec.encode import EncodeOptions, encode_depth
from service.contract.errors import InvalidArgument
from service.contract.formats import Format
depth, options = numpy.ones((2, 3), numpy.float32), EncodeOptions(unit="metre")
print(len(encode_depth(depth, Format.PNG16, options)) > 0)
try:
    encode_depth(depth, Format.JXL, options)
except InvalidArgument as error:
    print(error)
"""


def test_where_jpeg_xl_is_not_installed_the_error_names_the_extra() -> None:
    command = [sys.executable, "-c", WITHOUT_IMAGECODECS]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    written, error = ran.stdout.splitlines()
    assert written == "True"
    assert error.startswith("jxl needs imagecodecs")
    assert "pip install 'vfm-depth[jxl]'" in error


def test_a_cloud_without_edges_has_no_point_between_two_surfaces_and_none_in_the_sky() -> None:
    # A box before a wall, blurred as a network blurs it: over two of its pixels, here six of the map's.
    near, far, sky = 10.0, 30.0, 90.0
    coarse = np.full((16, 32), far, np.float32)
    coarse[:4] = sky
    coarse[8:, 8:24] = near
    depth = 1 / cv2.resize(1 / coarse, (96, 48), interpolation=cv2.INTER_LINEAR)
    options = EncodeOptions(
        unit="metre",
        intrinsics=intrinsics_of(FieldOfView(horizontal_deg=60.0), 48, 96),
        rgb=np.zeros((48, 96, 3), np.uint8),
        surfaces=Surfaces(network_size=coarse.shape, farthest=100.0),
    )
    _, kept = cloud(encode_depth(depth, Format.PLY, options))
    _, whole = cloud(encode_depth(depth, Format.PLY, replace(options, surfaces=None)))
    assert {round(float(z)) for z in whole} > {10, 16, 25, 30, 90}
    assert {round(float(z)) for z in kept} == {10, 30}
    assert kept.size / whole.size >= 0.5


@pytest.mark.parametrize("format_", [Format.PNG16, Format.PNG16_MM, Format.COLOR, Format.PLY, Format.JSON])
def test_a_file_with_room_for_it_says_its_unit_and_for_which_lens_its_metres_hold(format_: Format) -> None:
    basis = Basis(fy_per_height=1.25, uncertainty=0.03)
    options = EncodeOptions(
        unit="metre",
        intrinsics=intrinsics_of(FieldOfView(horizontal_deg=60.0), *SHAPE),
        rgb=np.zeros((*SHAPE, 3), np.uint8),
        scale=Scale(factor=1.0, unit="metre", source="checkpoint+lens", basis=basis),
    )
    body = encode_depth(DEPTH, format_, options)
    if format_ is Format.JSON:
        said = {name: str(value) for name, value in json.loads(body).items()}
    elif format_ is Format.PLY:
        comments = [line for line in cloud(body)[0].splitlines() if line.startswith("comment")]
        said = dict(comment.removeprefix("comment ").split(": ", 1) for comment in comments)
    else:
        said = Image.open(io.BytesIO(body)).info
    wanted = {"unit": "metre", "scale_source": "checkpoint+lens", "fy_per_height": "1.25"}
    if format_.spec.container == "png" and format_ is not Format.COLOR:
        wanted |= {"scale": str(format_.spec.scale), "invalid": "0"}
    assert wanted.items() <= said.items()
