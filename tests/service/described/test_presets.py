"""Each preset's network, as it is served, is held to its authors' steps, in the libraries that they call."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from model.drawing import drawn_image
from service.contract.request import FieldOfView
from tests.model.described.standins import write_network
from tests.service.described.serving import WAYS, Service, describe, photograph, serving

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `onnxruntime`")
torch = pytest.importorskip("torch")

SHAPES = [(75, 248), (108, 192), (240, 320), (155, 66), (90, 90)]
LENS = FieldOfView(horizontal_deg=60.0)
IMAGENET = (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))
HALF = (np.full(3, 0.5), np.full(3, 0.5))
PATCH = 14
SMALLER: dict[str, dict] = {
    "depth-anything-v1": {"size": {"target": [98]}},
    "depth-anything-v2": {"size": {"target": [98]}},
    "depth-anything-v2-metric-indoor": {"size": {"target": [98]}},
    "depth-anything-v2-metric-outdoor": {"size": {"target": [98]}},
    "depth-anything-3-mono": {"size": {"target": [126]}},
    "depth-anything-3-metric": {"size": {"target": [126]}},
    "midas-dpt": {"size": {"target": [96]}},
    "midas-small": {"size": {"target": [128]}},
    "zoedepth": {"size": {"target": [96, 128]}},
    "metric3d-v2": {"size": {"target": [88, 152]}},
    "depth-pro": {"size": {"target": [128]}, "focal": {"reference": 128}},
    "monodepth2": {},
    "lite-mono": {},
}
"""The presets' rules at smaller targets, so that five shapes of each are quick."""


def interpolate(
    values: np.ndarray, size: tuple[int, int], mode: str, aligned: bool | None = False
) -> np.ndarray:
    found = torch.nn.functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(values, np.float32))[None, None],
        size,
        mode=mode,
        align_corners=aligned,
    )
    return found[0, 0].numpy()


class Authors:
    """The steps of a preset's authors around a network."""

    def __init__(self, network: Path) -> None:
        self._session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        planes = np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)
        return dict(zip(self._names, self._session.run(None, {"pixel_values": planes}), strict=True))

    def depth(self, preset: str, picture: np.ndarray) -> np.ndarray:
        """Return what the service should: depth in metres where the preset has them, else 1/output."""
        family = next(name for name in FAMILIES if preset.startswith(name))
        return FAMILIES[family](self, preset, picture)


def scaled(side: float, multiple: int, least: int = 0, most: int | None = None) -> int:
    new = int(np.round(side / multiple) * multiple)
    if most is not None and new > most:
        new = int(np.floor(side / multiple) * multiple)
    return int(np.ceil(side / multiple) * multiple) if new < least else new


def depth_anything(authors: Authors, preset: str, picture: np.ndarray) -> np.ndarray:
    (height, width), target = picture.shape[:2], 98
    factor = max(target / height, target / width)
    size = scaled(width * factor, PATCH, target), scaled(height * factor, PATCH, target)
    image = cv2.resize(picture / 255.0, size, interpolation=cv2.INTER_CUBIC)
    output = authors.run((image - IMAGENET[0]) / IMAGENET[1])["predicted_depth"][0, 0]
    back = interpolate(output, (height, width), "bilinear", aligned=not preset.endswith("v1"))
    return back if "metric" in preset else 1 / back


def depth_anything_3(authors: Authors, preset: str, picture: np.ndarray) -> np.ndarray:
    (height, width), longest = picture.shape[:2], 126
    factor = longest / max(height, width)
    image = picture
    size = round(width * factor), round(height * factor)
    for wanted in (size, tuple((2 * side + PATCH) // (2 * PATCH) * PATCH for side in size)):
        shrinks = wanted[0] * wanted[1] < image.shape[0] * image.shape[1]
        if wanted != image.shape[1::-1]:
            image = cv2.resize(image, wanted, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    outputs = authors.run((image / 255 - IMAGENET[0]) / IMAGENET[1])
    depth = interpolate(outputs["depth"][0, 0], (height, width), "bilinear")
    if preset.endswith("metric"):
        f_px = 0.5 * width / math.tan(math.radians(30))
        depth = depth * f_px * (image.shape[1] / width + image.shape[0] / height) / 2 / 300
    sky = interpolate(outputs["sky"][0, 0], (height, width), "bilinear") >= 0.3
    disparity = 1 / depth
    depth[sky] = 1 / np.percentile(disparity[~sky], 1)
    return depth


def midas(authors: Authors, preset: str, picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    if preset.endswith("small"):
        factor, most, (mean, std) = min(128 / height, 128 / width), 128, IMAGENET
    else:
        down, across = 96 / height, 96 / width
        factor, most, (mean, std) = across if abs(1 - across) < abs(1 - down) else down, None, HALF
    size = scaled(width * factor, 32, most=most), scaled(height * factor, 32, most=most)
    image = cv2.resize(picture / 255.0, size, interpolation=cv2.INTER_CUBIC)
    output = authors.run((image - mean) / std)["predicted_depth"][0, 0]
    return 1 / interpolate(output, (height, width), "bicubic")


def zoedepth(authors: Authors, preset: str, picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    rows, columns = int(np.sqrt(height / 2) * 3), int(np.sqrt(width / 2) * 3)
    padded = np.pad(picture, ((rows, rows), (columns, columns), (0, 0)), mode="reflect") / 255.0
    down, across = 96 / padded.shape[0], 128 / padded.shape[1]
    factor = across if abs(1 - across) < abs(1 - down) else down
    size = scaled(padded.shape[0] * factor, 32), scaled(padded.shape[1] * factor, 32)
    image = np.stack([interpolate(padded[..., c], size, "bilinear", aligned=True) for c in range(3)], axis=-1)
    outputs = []
    for flipped in (False, True):
        seen = image[:, ::-1] if flipped else image
        output = authors.run((seen - 0.5) / 0.5)["predicted_depth"][0, 0]
        outputs.append(output[:, ::-1] if flipped else output)
    back = interpolate(sum(outputs) / 2, padded.shape[:2], "bicubic")
    return back[rows : rows + height, columns : columns + width]


def metric3d(authors: Authors, preset: str, picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    factor = min(88 / height, 152 / width)
    rows, columns = int(height * factor + 1e-6), int(width * factor + 1e-6)
    canvas = np.tile(np.array([123.675, 116.28, 103.53], np.float32), (88, 152, 1))
    top, left = (88 - rows) // 2, (152 - columns) // 2
    canvas[top : top + rows, left : left + columns] = cv2.resize(picture.astype(np.float32), (columns, rows))
    output = authors.run(canvas)["predicted_depth"][0, 0]
    # The network halves its sides: the picture's part of the output begins and ends at halves.
    part = output[round(top / 2) : round(top / 2) + round(rows / 2)]
    part = part[:, round(left / 2) : round(left / 2) + round(columns / 2)]
    f_px = 0.5 * width / math.tan(math.radians(30))
    real = f_px * (columns / width + rows / height) / 2 / 1000
    return (interpolate(part, (height, width), "bilinear") * real).clip(0, 300)


def depth_pro(authors: Authors, preset: str, picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    image = np.stack([interpolate(picture[..., c], (128, 128), "bilinear") for c in range(3)], axis=-1)
    output = authors.run((image / 255 - 0.5) / 0.5)["predicted_depth"][0, 0]
    f_px = 0.5 * width / math.tan(math.radians(30))
    return 1 / interpolate(output * width / f_px, (height, width), "bilinear").clip(1e-4, 1e4)


def monodepth2(authors: Authors, preset: str, picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    image = np.asarray(Image.fromarray(picture).resize((640, 192), Image.Resampling.LANCZOS)) / 255
    output = interpolate(authors.run(image)["predicted_depth"][0, 0], (height, width), "bilinear")
    return 1 / (1 / 100 + (1 / 0.1 - 1 / 100) * output)


FAMILIES = {
    "depth-anything-3": depth_anything_3,
    "depth-anything": depth_anything,
    "midas": midas,
    "zoedepth": zoedepth,
    "metric3d": metric3d,
    "depth-pro": depth_pro,
    "monodepth2": monodepth2,
    "lite-mono": monodepth2,
}


def write_preset(folder: Path, preset: str) -> None:
    three = preset.startswith("depth-anything-3")
    network = write_network(
        folder / f"{preset}.onnx",
        main="depth" if three else "predicted_depth",
        sides=("sky",) if three else (),
        field_of_view=70.0 if preset == "depth-pro" else None,
        seed=list(SMALLER).index(preset),
    )
    describe(network, preset=preset, licence="MIT", **SMALLER[preset])


async def held(service: Service, models: Path, preset: str, shape: tuple[int, int], way: str) -> None:
    picture = drawn_image(*shape)
    expected = Authors(models / f"{preset}.onnx").depth(preset, picture)
    found = await WAYS[way](service, preset, photograph(picture), lens=LENS)
    assert found.shape == shape
    there = expected > 0  # what cubic overshoots to is no depth
    assert np.isnan(found[~there]).all()
    wrong = np.abs(found - expected)[there] / expected[there]
    assert np.quantile(wrong, 0.99) < 1e-3, (preset, shape, way, float(wrong.max()))
    assert wrong.mean() < 1e-3, (preset, shape, way)


@pytest.mark.parametrize("preset", SMALLER)
async def test_a_preset_is_served_as_its_authors_run_it(tmp_path: Path, preset: str) -> None:
    """Over HTTP for each shape, and over every other way for one."""
    write_preset(tmp_path, preset)
    async with serving(tmp_path, max_batch=1) as service:
        for shape in SHAPES:
            await held(service, tmp_path, preset, shape, "http")
        for way in ("grpc", "stream", "v2"):
            await held(service, tmp_path, preset, SHAPES[2], way)
