"""Metres through each lens, and from what is known of the scene."""

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from prometheus_client import CollectorRegistry

from depth_client import KnownDistance, KnownPoints, SparseDepth
from service.codec.cameras import CamerasError
from service.codec.scale import GROUND_ERROR
from service.contract.errors import InvalidArgument
from service.contract.request import (
    CameraHeight,
    FieldOfView,
    Format,
)
from service.engine import Engine
from service.telemetry.metrics import Metrics
from tests.service.lenses import (
    HEIGHT,
    LENS,
    PHOTO,
    TRAINED,
    WIDTH,
    asked,
    floats,
    opened,
    png,
    sparse,
    write_models,
)
from tests.service.opened import settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


async def test_metres_grow_with_the_vertical_focal_length_over_the_height_alone(folder: Path) -> None:
    async with opened(folder) as frontend:
        plain = await asked(frontend)
        through = await asked(frontend, lens=LENS)
        wider = await asked(frontend, lens=replace(LENS, fx_px=400, cx_px=3))
        narrow, wide = [
            floats(await asked(frontend, lens=FieldOfView(horizontal_deg=deg))) for deg in (20, 55)
        ]
    assert (plain.scale_source, plain.fy_per_height) == ("checkpoint", TRAINED)
    assert (through.scale_source, through.fy_per_height) == ("checkpoint+lens", 2.0)
    np.testing.assert_allclose(floats(through), floats(plain) * (2 / TRAINED), rtol=1e-6)
    assert np.array_equal(floats(wider), floats(through))
    np.testing.assert_allclose(narrow / wide, np.tan(np.radians(27.5)) / np.tan(np.radians(10)), rtol=1e-5)


async def test_a_checkpoint_of_several_lenses_is_left_as_it_is(folder: Path) -> None:
    async with opened(folder) as frontend:
        plain, through = [await asked(frontend, model="several", lens=lens) for lens in (None, LENS)]
    assert plain.body == through.body
    assert (through.scale_source, through.fy_per_height) == ("checkpoint", None)


async def test_a_photograph_s_own_lens_counts_as_a_given_one_unless_one_is_given(folder: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 1
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 50
    photograph = png(exif=exif)
    async with opened(folder) as frontend:
        by_exif = await asked(frontend, image=photograph)
        assert by_exif.intrinsics is not None
        by_lens = await asked(frontend, lens=by_exif.intrinsics)
        other = await asked(frontend, image=photograph, lens=LENS)
        cloud = await asked(frontend, image=photograph, format=Format.PLY)
    assert (by_exif.scale_source, by_lens.scale_source) == ("exif", "checkpoint+lens")
    assert by_exif.body == by_lens.body
    assert (other.scale_source, other.fy_per_height) == ("checkpoint+lens", 2.0)
    assert cloud.media_type == "model/ply"


async def test_a_named_camera_is_its_lens(folder: Path) -> None:
    async with opened(folder) as frontend:
        by_name, by_lens = await asked(frontend, camera="plain"), await asked(frontend, lens=LENS)
        with pytest.raises(InvalidArgument, match="there is no camera 'front'; expected one of plain, bent"):
            await asked(frontend, camera="front")
        with pytest.raises(InvalidArgument, match="180x100 pixels, and camera 'plain' is calibrated for"):
            await asked(frontend, camera="plain", image=PHOTO[:100])
        with pytest.raises(InvalidArgument, match="camera 'plain' and a lens are given"):
            await asked(frontend, camera="plain", lens=LENS)
    assert (by_name.body, by_name.intrinsics) == (by_lens.body, by_lens.intrinsics)
    assert (by_name.scale_source, by_name.rectified) == ("checkpoint+lens", "none")


async def test_a_camera_with_distortion_says_of_which_picture_its_depth_is(folder: Path) -> None:
    async with opened(folder) as frontend:
        straight = await asked(frontend, camera="bent")
        raw = await asked(frontend, camera="bent", rectify=False)
        png16 = await asked(frontend, camera="bent", rectify=False, format=Format.PNG16)
    assert (straight.rectified, straight.invalid, raw.rectified, raw.invalid) == ("yes", "none", "no", "nan")
    assert straight.intrinsics is not None
    assert raw.intrinsics is None
    holes = np.isnan(floats(raw))
    assert 0 < holes.mean() < 0.5
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png16.body))) == 0, holes)
    # Depth of the row in the middle is the same in both, for there the picture is not bent up or down.
    np.testing.assert_allclose(floats(raw)[60, 90], floats(straight)[60, 90], rtol=0.02)


async def test_a_camera_s_height_counts_where_there_is_ground(folder: Path) -> None:
    (folder / "high.yaml").write_text(
        "high: {image_width: 96, image_height: 64, camera_matrix: [48, 0, 47.5, 0, 48, 31.5, 0, 0, 1], "
        "height_m: 1.5}"
    )
    ramp = np.clip((np.arange(64) + 0.5 - 32) * 6, 0, 255).astype(np.uint8)
    street = np.repeat(np.repeat(ramp[:, None, None], 96, axis=1), 3, axis=2)
    async with opened(folder, cameras=folder / "high.yaml") as frontend:
        by_name = await asked(frontend, image=street, camera="high")
        lens = FieldOfView(horizontal_deg=90)
        by_height = await asked(frontend, image=street, lens=lens, anchor=CameraHeight(height_m=1.5))
        ground = await asked(frontend, image=street, lens=lens, ground=True)
        wall = await asked(frontend, image=np.full((64, 96, 3), 90, np.uint8), camera="high")
    assert by_name.scale_source == by_height.scale_source == "camera-height"
    np.testing.assert_allclose(floats(by_name), floats(by_height), rtol=1e-4)
    assert by_name.ground is not None
    assert by_name.ground.height == pytest.approx(1.5)
    assert by_name.ground.error < 0.03
    assert by_name.uncertainty == pytest.approx(math.hypot(GROUND_ERROR, by_name.ground.error), rel=0.01)
    assert ground.ground is not None
    assert ground.scale_source == "checkpoint+lens"
    ratio = float(floats(ground)[60, 48] / floats(by_height)[60, 48])
    assert ground.ground.height == pytest.approx(1.5 * ratio, rel=1e-4)
    assert abs(ground.ground.pitch_deg) < 2
    assert wall.scale_source == "checkpoint+lens"
    assert "the metres are those of the checkpoint" in wall.notice


def known(factor: float, *wrong: int) -> KnownPoints:
    rows = (10, 30, 60, 90, 110)
    return KnownPoints(
        points=tuple(
            KnownDistance(x_px=20.5 + row, y_px=row + 0.5, distance_m=metres * (5 if index in wrong else 1))
            for index, row in enumerate(rows)
            for metres in [factor * 256 / (41 + row)]
        )
    )


async def test_known_points_give_metres_and_say_how_well(folder: Path) -> None:
    async with opened(folder) as frontend:
        right, wrong = [await asked(frontend, anchor=known(3.0, *bad)) for bad in ((), (2,))]
        affine = await asked(frontend, model="affine", anchor=known(3.0))
        with pytest.raises(InvalidArgument, match="expected at least two points"):
            await asked(frontend, model="affine", anchor=KnownDistance(x_px=9, y_px=9, distance_m=3))
        with pytest.raises(InvalidArgument, match="fixes no shift of disparity"):
            await asked(frontend, model="affine", lens=LENS, anchor=CameraHeight(height_m=1))
    assert right.scale_source == wrong.scale_source == "known-points"
    assert right.fit is not None
    assert wrong.fit is not None
    assert (right.fit.points, right.fit.agreeing, wrong.fit.agreeing) == (5, 5, 4)
    assert right.uncertainty is not None
    assert right.uncertainty < 0.08
    expected = 3.0 * 256 / (41 + np.arange(HEIGHT))[:, None]
    assert np.abs(floats(wrong) / expected - 1).max() < 0.15
    assert affine.fit is not None
    assert affine.fit.shift
    assert affine.unit == "metre"


async def test_a_sparse_depth_image_is_many_known_points(folder: Path) -> None:
    metres = np.zeros((HEIGHT // 2, WIDTH // 2))
    metres[5::9, ::7] = (3.0 * 256 / (42 + 2 * np.arange(HEIGHT // 2)))[5::9, None]
    async with opened(folder) as frontend:
        answer = await asked(frontend, model="several", anchor=SparseDepth(png=sparse(metres)))
        for png_bytes, says in (
            (b"no png", "cannot be read"),
            (png(), "expected 16-bit grey PNG"),
            (sparse(metres[:, :30]), "expected one shape"),
            (sparse(metres * 0), "0 everywhere"),
        ):
            with pytest.raises(InvalidArgument, match=says):
                await asked(frontend, anchor=SparseDepth(png=png_bytes))
    assert answer.fit is not None
    assert answer.fit.points == np.count_nonzero(metres)
    np.testing.assert_allclose(floats(answer)[60], 3.0 * 256 / 101, rtol=0.03)


async def test_what_needs_a_lens_says_so_once_the_photograph_has_none(folder: Path) -> None:
    async with opened(folder) as frontend:
        for fields in ({"format": Format.PLY}, {"anchor": CameraHeight(height_m=1)}, {"ground": True}):
            with pytest.raises(InvalidArgument, match="needs a lens: intrinsics, a field of view, a named"):
                await asked(frontend, **fields)


def test_cameras_that_cannot_be_read_keep_the_service_from_starting(folder: Path) -> None:
    with pytest.raises(CamerasError, match="cannot be read"):
        Engine(settings(models=folder, cameras=folder / "none.yaml"), Metrics(CollectorRegistry()))


async def test_a_png_says_in_its_texts_what_its_metres_rest_on(folder: Path) -> None:
    async with opened(folder) as frontend:
        plain = await asked(frontend, format=Format.PNG16)
        through = await asked(frontend, format=Format.PNG16, lens=LENS)
    texts = [Image.open(io.BytesIO(answer.body)).text for answer in (plain, through)]
    values = {"scale": "0.00390625", "invalid": "0", "unit": "metre"}
    assert texts == [
        values | {"scale_source": "checkpoint", "fy_per_height": "1.92"},
        values | {"scale_source": "checkpoint+lens", "fy_per_height": "2.0"},
    ]
