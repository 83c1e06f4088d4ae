"""What clients of the protocol are told about the server and its models: tensors, configuration, versions.

These are the protocol's JSON objects, and its messages have the same fields.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.contract.answer import ModelInfo
from service.contract.errors import UnknownModel
from service.kserve.objects import ModelMetadata, ServerMetadata, TensorMetadata
from service.kserve.tensors import Datatype
from service.settings import Settings

Json = dict[str, Any]

NAME = "vfm-depth"
EXTENSIONS = ("binary_tensor_data", "model_configuration", "parameters", "schedule_policy", "statistics")
ADMIN_EXTENSION = "model_repository"
"""There only where there is an admin key."""
SHARED_MEMORY_EXTENSION = "system_shared_memory"
"""There only where the settings say so."""
UNKNOWN_MODEL = "Request for unknown model"
"""How Triton's own begin, which its examples look for."""
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
"""JPEG, PNG, WebP or AVIF files."""
PIXELS = TensorSpec(name="rgb_uint8", datatype="UINT8", dims=(-1, -1, 3), format="FORMAT_NHWC")
"""RGB from 0 to 255."""
UNIT_PIXELS = TensorSpec(name="rgb_fp32", datatype="FP32", dims=(-1, -1, 3), format="FORMAT_NHWC")
"""RGB from 0 to 1."""
INPUTS = (ENCODED, PIXELS, UNIT_PIXELS)
"""A request brings exactly one of them, so to Triton's clients all are optional."""
DEPTH = TensorSpec(name="depth", datatype="FP32", dims=(-1, -1))
"""In the unit that the answer says."""
OUTPUTS = (DEPTH,)


def server_metadata(version: str, *, admin: bool, shared_memory: bool) -> ServerMetadata:
    """Say what this server is."""
    further = [ADMIN_EXTENSION] * admin + [SHARED_MEMORY_EXTENSION] * shared_memory
    extensions = sorted((*EXTENSIONS, *further))
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
    raise UnknownModel(f"{UNKNOWN_MODEL}: there is no model {asked}; expected one of {known}")


def model_metadata(info: ModelInfo, infos: Sequence[ModelInfo]) -> ModelMetadata:
    """Say which tensors a model takes and gives, and what its depth is."""
    return {
        "name": info.name,
        "versions": [each.version for each in infos if each.name == info.name],
        "platform": NAME,
        "inputs": [_tensor(spec) for spec in INPUTS],
        "outputs": [_tensor(spec) for spec in OUTPUTS],
        "properties": _properties(info),
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
        "parameters": {name: {"string_value": value} for name, value in _properties(info).items()},
        "model_transaction_policy": {"decoupled": False},
    }


def _properties(info: ModelInfo) -> dict[str, str]:
    return {
        "unit": info.unit,
        "height": str(info.height),
        "width": str(info.width),
        "min_depth": f"{info.min_depth:g}",
        "max_depth": f"{info.max_depth:g}",
        "affine": "yes" if info.affine else "no",
        "licence": info.licence,
    }


def _tensor(spec: TensorSpec) -> TensorMetadata:
    return {"name": spec.name, "datatype": spec.datatype, "shape": [-1, *spec.dims]}


def _config_type(spec: TensorSpec) -> str:
    return "TYPE_STRING" if spec.datatype == "BYTES" else f"TYPE_{spec.datatype}"
