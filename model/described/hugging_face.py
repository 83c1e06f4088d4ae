"""The description of a network whose `preprocessor_config.json` and `config.json` are transformers' own.

It follows transformers' processors, which resample otherwise than the authors' own programs do.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from model.described.description import DescriptionError

_KERNELS: Mapping[int, Mapping[str, Any]] = {
    0: {"down": "nearest", "up": "nearest"},
    1: {"down": "lanczos", "up": "lanczos"},
    2: {"down": "linear", "up": "linear", "antialias": True, "rounded": True},
    3: {"down": "cubic-pil", "up": "cubic-pil"},
}
"""By Pillow's number of the filter."""
_HALF = (0.5, 0.5, 0.5)
_Json = dict[str, Any]


def read_hugging_face(folder: Path) -> _Json:
    """Return the keys of a description, but for its format and its licence.

    Raises:
        DescriptionError: A file is missing or damaged, or the processor or network is not one of those known.
    """
    said, config = (_read(folder / name) for name in ("preprocessor_config.json", "config.json"))
    kind = str(said.get("image_processor_type") or said.get("feature_extractor_type") or "")
    for ending in ("Fast", "Pil"):
        kind = kind.removesuffix(ending)
    family = kind.removesuffix("ImageProcessor").removesuffix("FeatureExtractor")
    if family not in _SIZES:
        raise DescriptionError(
            f"{folder}: its image processor is {kind!r}; expected that of {', '.join(_SIZES)}"
        )
    if said.get("do_center_crop"):
        raise DescriptionError(f"{folder}: do_center_crop is true; expected false")
    return {
        "input": _input(said, family),
        "size": (size := _SIZES[family](said)),
        **_output(config, family, folder, size["target"][-1:]),
    }


def _read(path: Path) -> _Json:
    try:
        value = json.loads(path.read_text())
    except OSError as error:
        raise DescriptionError(f"{path} cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise DescriptionError(f"{path} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise DescriptionError(f"{path} holds {type(value).__name__}; expected a JSON object")
    return value


def _input(said: _Json, family: str) -> _Json:
    normalises = said.get("do_normalize", family != "GLPN")
    rescales = said.get("do_rescale", True)
    found: _Json = {"range": 1 if rescales else 255}
    if rescales and abs(said.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-3:
        raise DescriptionError(f"rescale_factor is {said['rescale_factor']}; expected 1/255")
    if normalises:
        found |= {
            "mean": list(said.get("image_mean") or _HALF),
            "std": list(said.get("image_std") or _HALF),
        }
    return found


def _target(said: _Json, default: tuple[int, int]) -> list[int]:
    size = said.get("size", {"height": default[0], "width": default[1]})
    if isinstance(size, int):
        return [size, size]
    if not isinstance(size, dict) or not {"height", "width"} <= set(size):
        raise DescriptionError(f"size is {size!r}; expected a height and a width")
    return [int(size["height"]), int(size["width"])]


def _kernel(said: _Json, default: int) -> _Json:
    number = said.get("resample", default)
    if number not in _KERNELS:
        raise DescriptionError(f"resample is {number!r}; expected one of {', '.join(map(str, _KERNELS))}")
    return dict(_KERNELS[number])


def _dpt_size(said: _Json) -> _Json:
    if said.get("do_pad"):
        raise DescriptionError("do_pad is true for a DPT processor; expected false")
    keeps = said.get("keep_aspect_ratio", False)
    rule = "minimal" if keeps else "fixed"
    target = _target(said, (384, 384))
    multiple = int(said.get("ensure_multiple_of", 1) or 1)
    if not keeps:
        target = [round(side / multiple) * multiple for side in target]
    return {"rule": rule, "target": target, "multiple": multiple, **_kernel(said, 3)}


def _zoe_size(said: _Json) -> _Json:
    keeps = said.get("keep_aspect_ratio", True)
    pads = said.get("do_pad", True)
    return {
        "rule": "minimal" if keeps else "fixed",
        "target": _target(said, (384, 512)),
        "multiple": max(1, round(said.get("ensure_multiple_of", 1))),
        "pad": "reflect" if pads else "none",
        "down": "linear-aligned",
        "up": "linear-aligned",
    }


def _pro_size(said: _Json) -> _Json:
    return {"rule": "fixed", "target": _target(said, (1536, 1536)), "down": "linear", "up": "linear"}


def _glpn_size(said: _Json) -> _Json:
    multiple = int(said.get("size_divisor", 32))
    return {"rule": "native", "target": [], "multiple": multiple, "rounding": "floor", **_kernel(said, 2)}


_SIZES: Mapping[str, Callable[[_Json], _Json]] = {
    "DPT": _dpt_size,
    "ZoeDepth": _zoe_size,
    "DepthPro": _pro_size,
    "GLPN": _glpn_size,
}


def _output(config: _Json, family: str, folder: Path, width: list[int]) -> _Json:
    if family == "DepthPro":  # depth = focal length over width, over the output
        return {
            "output": {"quantity": "disparity", "unit": "metre", "clamp": [1e-4, 1e4]},
            "focal": {"rule": "horizontal", "reference": width[0], "field_of_view": "field_of_view"},
        }
    kind = config.get("model_type")
    metric = {"quantity": "depth", "unit": "metre", "resize": "cubic"}
    if config.get("max_depth"):
        metric["max_depth"] = config["max_depth"]
    if kind in ("zoedepth", "glpn") or config.get("depth_estimation_type") == "metric":
        return {"output": metric}
    if kind in ("dpt", "depth_anything", "prompt_depth_anything"):
        return {"output": {"quantity": "disparity", "unit": "affine", "resize": "cubic"}}
    raise DescriptionError(
        f"{folder}: its model_type is {kind!r}; expected dpt, depth_anything, zoedepth, glpn or depth_pro"
    )
