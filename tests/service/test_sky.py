"""What is infinitely far, from a network to callers: zero disparity is no error in any format."""

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from jaxtyping import Float32, UInt8
from PIL import Image
from prometheus_client import CollectorRegistry

from depth_client.result import result_of
from service.backends.simulated import SimulatedBackend
from service.contract.errors import InferenceFailed
from service.contract.formats import Format
from service.contract.regions import Regions
from service.contract.request import Colour, DepthRequest, FieldOfView, Sky
from service.engine import Engine
from service.telemetry.metrics import Metrics
from tests.service.checkpoints import write_checkpoint
from tests.service.opened import settings

HEIGHT, WIDTH = 96, 140
LENS = FieldOfView(horizontal_deg=70.0)
DEPTHS = [format_ for format_ in Format if format_.spec.content == "depth" and format_.is_available]


class Outdoors(SimulatedBackend):
    """Takes all that is black for infinitely far, and says so as networks of others do."""

    def predict(
        self, images: UInt8[np.ndarray, "batch height width 3"]
    ) -> Float32[np.ndarray, "batch height width"]:
        disparity = super().predict(images)
        disparity[images[..., 1] == 0] = self.far
        return disparity

    far = 0.0


class Below(Outdoors):
    """Likewise, by a number below zero."""

    far = -0.2


class Broken(Outdoors):
    """Likewise, by what is no number."""

    far = float("nan")


def photograph(sky_rows: int) -> bytes:
    pixels = np.full((HEIGHT, WIDTH, 3), 50, np.uint8)
    pixels[:sky_rows] = 0
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@asynccontextmanager
async def opened(folder: Path, kind: type[Outdoors] = Outdoors) -> AsyncIterator[Engine]:
    engine = Engine(
        settings(models=folder, backend="simulated", watch_interval_s=0.0),
        Metrics(CollectorRegistry()),
        opening=lambda _, checkpoint, options: kind(checkpoint, options),
    )
    async with engine:
        await engine.wait_ready()
        yield engine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_checkpoint(folder / "tiny.safetensors", metres_per_unit=1.0)
    return folder


@pytest.mark.parametrize("kind", [Outdoors, Below])
@pytest.mark.parametrize("format_", DEPTHS)
async def test_the_sky_has_no_depth_in_any_format_or_that_of_the_farthest_thing(
    folder: Path, format_: Format, kind: type[Outdoors]
) -> None:
    async with opened(folder, kind) as engine:
        for sky in ("none", "far"):
            asked = DepthRequest(image=photograph(HEIGHT // 2), format=format_, sky=sky)
            answer = await engine.depth(asked)
            depth = result_of(answer).depth
            above, below = depth[: HEIGHT // 2 - 3], depth[HEIGHT // 2 + 3 :]
            assert below == pytest.approx(256 / 51, rel=2e-3)
            assert (answer.minimum, answer.maximum) == pytest.approx((256 / 51, 256 / 51), rel=1e-3)
            if sky == "none":
                assert np.isnan(above).all()
                assert answer.invalid == ("0" if format_.spec.invalid == "0" else answer.invalid)
                assert answer.invalid in ("0", "nan", "null")
            else:
                assert above == pytest.approx(256 / 51, rel=2e-3)


async def test_json_has_null_where_there_is_no_depth(folder: Path) -> None:
    async with opened(folder) as engine:
        answer = await engine.depth(DepthRequest(image=photograph(HEIGHT // 2), format=Format.JSON))
    rows = json.loads(answer.body)["depth"]
    assert (rows[0][0], answer.invalid) == (None, "null")
    assert rows[-1][0] > 0


@pytest.mark.parametrize(("sky", "share"), [("none", 0.5), ("far", 1.0)])
async def test_a_point_cloud_leaves_the_sky_out(folder: Path, sky: Sky, share: float) -> None:
    async with opened(folder) as engine:
        asked = DepthRequest(image=photograph(HEIGHT // 2), format=Format.PLY, lens=LENS, sky=sky)
        head = (await engine.depth(asked)).body.split(b"end_header")[0].decode()
    count = int(head.split("element vertex ")[1].split("\n")[0])
    assert count / (HEIGHT * WIDTH) == pytest.approx(share, abs=0.04)


async def test_the_sky_is_black_in_a_preview_and_has_no_distance(folder: Path) -> None:
    async with opened(folder) as engine:
        shown = await engine.depth(DepthRequest(image=photograph(HEIGHT // 2), format=Format.COLOR))
        regions = Regions(points=((5.0, 5.0), (5.0, HEIGHT - 5.0)))
        asked = DepthRequest(image=photograph(HEIGHT // 2), regions=regions, map=False)
        distances = (await engine.depth(asked)).distances
    colours = cv2.imdecode(np.frombuffer(shown.body, np.uint8), cv2.IMREAD_COLOR)
    assert colours is not None
    assert not colours[: HEIGHT // 2 - 3].any()
    assert colours[HEIGHT // 2 + 3 :].any(axis=-1).all()
    assert distances is not None
    sky, ground = distances.points
    assert (sky.median, sky.share) == (None, 0.0)
    assert ground.median == pytest.approx(256 / 51)


@pytest.mark.parametrize("sky", ["none", "far"])
async def test_a_picture_of_nothing_but_sky_is_no_error(folder: Path, sky: Sky) -> None:
    async with opened(folder) as engine:
        for format_ in Format:
            if format_.is_available:
                asked = DepthRequest(image=photograph(HEIGHT), format=format_, lens=LENS, sky=sky)
                answer = await engine.depth(asked)
                assert (answer.minimum, answer.maximum) == (0.0, 0.0)


async def test_a_network_that_returns_no_number_at_all_is_said_to_have_failed(folder: Path) -> None:
    """A hole in a map is no error."""
    async with opened(folder, Broken) as engine:
        for format_ in Format:
            if format_.is_available:
                asked = DepthRequest(image=photograph(HEIGHT), format=format_, lens=LENS)
                with pytest.raises(InferenceFailed, match="NaN or infinity everywhere"):
                    await engine.depth(asked)
                holed = await engine.depth(DepthRequest(image=photograph(9), format=format_, lens=LENS))
                assert holed.maximum == pytest.approx(256 / 51, rel=1e-3)


async def test_a_preview_of_nothing_is_black_whatever_its_range(folder: Path) -> None:
    async with opened(folder) as engine:
        for near, far in ((None, None), (None, 0.5), (300.0, None), (1.0, 80.0)):
            colour = Colour(near=near, far=far)
            asked = DepthRequest(image=photograph(HEIGHT), format=Format.COLOR, colour=colour)
            shown = await engine.depth(asked)
            assert not cv2.imdecode(np.frombuffer(shown.body, np.uint8), cv2.IMREAD_COLOR).any()
