"""What can be judged: a checkpoint, an export of one, or a live network.

Each becomes a function from photographs to disparity, shown to the network as in service.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from model.checksums import file_sha256
from model.exported import ExportDescription, ExportedNetwork
from model.images import check_image, resize_image, to_model_batch
from model.metadata import CheckpointMetadata, read_metadata
from model.predictor import Predictor
from model.weights import WeightsSource
from training.judge.comparison import PredictDisparity

_GPU_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A file that is judged."""

    path: Path
    sha256: str
    """Of the file as it was judged; a stamp changes it."""
    metadata: CheckpointMetadata
    predict: PredictDisparity
    batch_size: int
    """How many images it is best given at once."""

    @property
    def metres_per_unit(self) -> float | None:
        """What a unit of its depth is worth; None where nobody knows."""
        scale = self.metadata.scale
        return scale.factor if scale.unit == "metre" else None


def open_candidate(
    path: Path, *, foundation_weights: WeightsSource = "hub", device: str = "cpu", bfloat16: bool = False
) -> Candidate:
    """Load a checkpoint (.safetensors) or an export of one (.onnx, .xml).

    Raises:
        CheckpointError: The checkpoint cannot be used.
        ValueError: The export cannot be used.
    """
    if path.suffix in (".onnx", ".xml"):
        exported = ExportedNetwork(path, precision="bfloat16" if bfloat16 else "float32")
        metadata, predict = exported.description.checkpoint, of_export(exported)
        batch_size = exported.description.batch or 1
    else:
        predictor = Predictor.from_checkpoint(
            path, foundation_weights=foundation_weights, device=device, bfloat16=bfloat16
        )
        metadata, predict = read_metadata(path), of_predictor(predictor)
        batch_size = 1 if device == "cpu" else _GPU_BATCH
    return Candidate(
        path=path, sha256=file_sha256(path), metadata=metadata, predict=predict, batch_size=batch_size
    )


def of_predictor(predictor: Predictor) -> PredictDisparity:
    """Judge a predictor; for a live network, make one of it: ``Predictor(network)`` copies it as deployed."""
    height, width = predictor.config.height, predictor.config.width

    def predict(images: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        return list(predictor.disparity(to_model_batch(images, height, width)))

    return predict


def of_export(exported: ExportedNetwork) -> PredictDisparity:
    """Judge an exported network. Where it takes one batch size only, the last batch is filled up."""
    description = exported.description

    def predict(images: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        size = description.batch or len(images)
        disparities: list[np.ndarray] = []
        for start in range(0, len(images), size):
            chunk = list(images[start : start + size])
            filled = chunk + [chunk[-1]] * (size - len(chunk))
            disparities += list(exported.disparity(_export_batch(filled, description)))[: len(chunk)]
        return disparities

    return predict


def _export_batch(images: Sequence[np.ndarray], description: ExportDescription) -> np.ndarray:
    height, width = description.height, description.width
    if not description.uint8_input:
        batch: Float32[np.ndarray, "batch 3 height width"] = to_model_batch(images, height, width)
        return batch
    for image in images:
        check_image(image)
    return np.stack([resize_image(image, height, width) for image in images])
