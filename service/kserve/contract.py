"""What clients of the protocol are told about the server and its models: tensors, configuration, versions.

It does not know how it is told: these are the protocol's JSON objects, and its messages have the same fields.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.answer import ModelInfo
from service.errors import UnknownModel
from service.kserve.tensors import Datatype
from service.settings import Settings

Json = dict[str, Any]

NAME = "vfm-depth"
EXTENSIONS = ("binary_tensor_data", "model_configuration", "parameters", "schedule_policy", "statistics")
ADMIN_EXTENSION = "model_repository"
"""There only where there is an admin key."""
PRIORITY_LEVELS = 9
"""1 goes first, as in Triton."""
DEFAULT_PRIORITY = 5


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One tensor that models take or give."""

    name: str
    datatype: Datatype
    dims: tuple[int, ...]
    """Of one image; -1 is any size. The batch comes before them."""
    format: str = "FORMAT_NONE"


ENCODED = TensorSpec(name="image", datatype="BYTES", dims=(1,))
"""JPEG, PNG or WebP files."""
PIXELS = TensorSpec(name="rgb_uint8", datatype="UINT8", dims=(-1, -1, 3), format="FORMAT_NHWC")
"""RGB from 0 to 255."""
UNIT_PIXELS = TensorSpec(name="rgb_fp32", datatype="FP32", dims=(-1, -1, 3), format="FORMAT_NHWC")
"""RGB from 0 to 1."""
INPUTS = (ENCODED, PIXELS, UNIT_PIXELS)
"""A request brings exactly one of them, so to Triton's clients all are optional."""
DEPTH = TensorSpec(name="depth", datatype="FP32", dims=(-1, -1))
"""In the unit that the answer says."""
OUTPUTS = (DEPTH,)


def server_metadata(version: str, *, admin: bool) -> Json:
    """Say what this server is."""
    extensions = sorted((*EXTENSIONS, ADMIN_EXTENSION)) if admin else list(EXTENSIONS)
    return {"name": NAME, "version": version, "extensions": extensions}


def find(infos: Sequence[ModelInfo], name: str, version: str) -> ModelInfo:
    """Return a version of a model, the current one where none is named.

    Raises:
        UnknownModel: There is none.
    """
    for info in infos:
        if info.name == name and (info.version == version or (not version and info.current)):
            return info
    known = ", ".join(f"{info.name} {info.version}" for info in infos) or "none yet"
    asked = f"{name[:40]!r}" + (f" of version {version[:40]!r}" if version else "")
    raise UnknownModel(f"there is no model {asked}; expected one of {known}")


def model_metadata(info: ModelInfo, infos: Sequence[ModelInfo]) -> Json:
    """Say which tensors a model takes and gives, and what its depth is."""
    return {
        "name": info.name,
        "versions": [each.version for each in infos if each.name == info.name],
        "platform": NAME,
        "inputs": [_tensor(spec) for spec in INPUTS],
        "outputs": [_tensor(spec) for spec in OUTPUTS],
        "properties": {
            "unit": info.unit,
            "height": str(info.height),
            "width": str(info.width),
            "min_depth": f"{info.min_depth:g}",
            "max_depth": f"{info.max_depth:g}",
        },
    }


def model_config(info: ModelInfo, settings: Settings) -> Json:
    """Say how a model is served."""
    return {
        "name": info.name,
        "platform": NAME,
        "backend": info.backend,
        "version_policy": {"latest": {"num_versions": settings.versions_kept}},
        "max_batch_size": settings.max_images_per_call,
        "input": [
            {
                "name": spec.name,
                "data_type": _config_type(spec),
                "format": spec.format,
                "dims": list(spec.dims),
                "optional": True,
            }
            for spec in INPUTS
        ],
        "output": [
            {"name": spec.name, "data_type": _config_type(spec), "dims": list(spec.dims)} for spec in OUTPUTS
        ],
        "dynamic_batching": {
            "preferred_batch_size": [info.max_batch] if info.max_batch else [],
            "max_queue_delay_microseconds": round(settings.batch_delay_s * 1e6),
            "preserve_ordering": False,
            "priority_levels": PRIORITY_LEVELS,
            "default_priority_level": DEFAULT_PRIORITY,
        },
        "parameters": {
            "unit": {"string_value": info.unit},
            "height": {"string_value": str(info.height)},
            "width": {"string_value": str(info.width)},
        },
        "model_transaction_policy": {"decoupled": False},
    }


def _tensor(spec: TensorSpec) -> Json:
    return {"name": spec.name, "datatype": spec.datatype, "shape": [-1, *spec.dims]}


def _config_type(spec: TensorSpec) -> str:
    return "TYPE_STRING" if spec.datatype == "BYTES" else f"TYPE_{spec.datatype}"
