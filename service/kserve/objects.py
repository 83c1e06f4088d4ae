"""The protocol's JSON objects as they are returned: types for what writes them, schemas for OpenAPI."""

# ruff: noqa: UP013 - one line an object reads as the table that it is

from collections.abc import Mapping
from typing import Annotated, Any, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

Count = Annotated[int, Field(ge=0)]

V2Error = TypedDict("V2Error", {"error": str})
Live = TypedDict("Live", {"live": bool})
Ready = TypedDict("Ready", {"ready": bool})
ModelReady = TypedDict("ModelReady", {"name": str, "ready": bool})
RepositoryEntry = TypedDict("RepositoryEntry", {"name": str, "version": str, "state": str, "reason": str})
ServerMetadata = TypedDict("ServerMetadata", {"name": str, "version": str, "extensions": list[str]})
TensorMetadata = TypedDict("TensorMetadata", {"name": str, "datatype": str, "shape": list[int]})
ModelMetadata = TypedDict(
    "ModelMetadata",
    {
        "name": str,
        "versions": list[str],
        "platform": str,
        "inputs": list[TensorMetadata],
        "outputs": list[TensorMetadata],
        "properties": dict[str, str],
    },
)
Duration = TypedDict("Duration", {"count": Count, "ns": Count})
InferStatistics = TypedDict(
    "InferStatistics",
    {
        "success": Duration,
        "fail": Duration,
        "queue": Duration,
        "compute_input": Duration,
        "compute_infer": Duration,
        "compute_output": Duration,
        "cache_hit": Duration,
        "cache_miss": Duration,
    },
)
ModelStatistics = TypedDict(
    "ModelStatistics",
    {
        "name": str,
        "version": str,
        "last_inference": Count,
        "inference_count": Count,
        "execution_count": Count,
        "inference_stats": InferStatistics,
        "batch_stats": list[dict[str, Count | Duration]],
    },
)
Statistics = TypedDict("Statistics", {"model_stats": list[ModelStatistics]})
InferOutput = TypedDict(
    "InferOutput",
    {
        "name": str,
        "datatype": str,
        "shape": tuple[Count, Count, Count],
        "parameters": NotRequired[Mapping[str, Any]],
        "data": NotRequired[Annotated[Any, Field(json_schema_extra={"type": "array"})]],
    },
)
InferResponse = TypedDict(
    "InferResponse",
    {"model_name": str, "model_version": str, "id": NotRequired[str], "outputs": list[InferOutput]},
)


def returned_schemas() -> dict[str, Any]:
    """Return the JSON schema of each object, and of its parts, by name."""
    whole = (V2Error, Live, Ready, ModelReady, RepositoryEntry, ServerMetadata, ModelMetadata, Statistics)
    adapters = [(kind.__name__, "serialization", TypeAdapter(kind)) for kind in (*whole, InferResponse)]
    _, document = TypeAdapter.json_schemas(adapters, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    schemas: dict[str, Any] = document["$defs"]
    return schemas
