"""An engine whose metres can be computed in the head, for each kind of scale, with named cameras.

The simulated device takes green for disparity: (1 + green) / 256 in each pixel.
"""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from prometheus_client import CollectorRegistry

from model.metadata import DepthScale
from service.contract.answer import DepthAnswer
from service.contract.request import (
    DepthRequest,
    Format,
    Intrinsics,
)
from service.engine import Engine
from service.telemetry.metrics import Metrics
from service.transports.frontend import Frontend
from tests.service.checkpoints import write_checkpoint
from tests.service.opened import settings
from training.judge.stamp import redescribe

HEIGHT, WIDTH = 120, 180
TRAINED = 1.92
LENS = Intrinsics(fx_px=150, fy_px=240, cx_px=90, cy_px=60)
"""fy / height = 2."""
ROWS = (np.arange(HEIGHT)[:, None] + np.zeros((1, WIDTH))).astype(np.uint8)
PHOTO = np.repeat((40 + ROWS)[..., None], 3, axis=2)
CAMERAS = """
plain: {image_width: 180, image_height: 120, camera_matrix: [150, 0, 89.5, 0, 240, 59.5, 0, 0, 1]}
bent:
  image_width: 180
  image_height: 120
  camera_matrix: [150, 0, 89.5, 0, 150, 59.5, 0, 0, 1]
  distortion_coefficients: [-0.25, 0.05, 0, 0]
"""


def png(pixels: np.ndarray = PHOTO, **texts: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **texts)
    return file.getvalue()


def write_models(folder: Path) -> Path:
    """Write checkpoints of each kind of scale, and a file of cameras."""
    scales = {
        "student": DepthScale(unit="metre", metres_per_unit=2.0, fy_per_height=TRAINED),
        "several": DepthScale(unit="metre", metres_per_unit=2.0),
        "affine": DepthScale(affine=True),
    }
    for name, scale in scales.items():
        path = write_checkpoint(folder / f"{name}.safetensors")
        redescribe(path, lambda metadata, scale=scale: replace(metadata, scale=scale))
    (folder / "cameras.yaml").write_text(CAMERAS)
    return folder


@asynccontextmanager
async def opened(folder: Path, **chosen: Any) -> AsyncIterator[Frontend]:
    defaults = {"backend": "simulated", "watch_interval_s": 0.0, "codec_threads": 2, "models": folder}
    made = settings(**{**defaults, "cameras": folder / "cameras.yaml", **chosen})
    metrics = Metrics(CollectorRegistry())
    async with Engine(made, metrics) as engine:
        await engine.wait_ready()
        yield Frontend(engine, made, metrics)


async def asked(frontend: Frontend, **fields: Any) -> DepthAnswer:
    usual = {"image": PHOTO, "format": Format.FLOAT32, "model": "student"}
    return await frontend.engine.depth(DepthRequest(**{**usual, **fields}))


def floats(answer: DepthAnswer) -> np.ndarray:
    return np.frombuffer(answer.body, "<f4").reshape(answer.height, answer.width)


def sparse(metres: np.ndarray) -> bytes:
    return png(np.where(metres > 0, np.rint(metres * 256), 0).astype(np.uint16))
