"""What can be judged: a checkpoint, an export of one, a described network of others, or a live network.

Each becomes a function from photographs to disparity, shown to the network as in service.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from model.checksums import file_sha256
from model.described import description_path, network_sha256
from model.described.runtime import NetworkFileError, RunningNetwork, open_network
from model.exported import ExportDescription, ExportedNetwork
from model.images import check_image, resize_image, to_model_batch
from model.metadata import DepthScale, read_metadata
from model.predictor import Predictor
from model.weights import WeightsSource
from training.judge.alignment import Alignment
from training.judge.comparison import PredictDisparity
from training.judge.protocols.protocol import JudgingError

_GPU_BATCH = 16
_FARTHEST = 1e-6
"""The disparity of what has none, over the largest of its picture: farther than any ground truth."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A file that is judged."""

    path: Path
    sha256: str
    """Of the file as it was judged, which a stamp changes; of others' networks, with the rules around it."""
    said: Mapping[str, Any]
    """What it says of itself, as plain JSON types."""
    scale: DepthScale
    """What a unit of its depth is worth, without a lens."""
    predict: PredictDisparity
    batch_size: int
    """How many images it is best given at once."""
    usual: tuple[Alignment, ...] = ("median",)
    """The alignments that its unit needs."""
    needs_lens: bool = False
    """Whether its depth would be in metres if its lens were known."""

    @property
    def metres_per_unit(self) -> float | None:
        """What a unit of its depth is worth; None where nobody knows."""
        return self.scale.factor if self.scale.unit == "metre" else None

    def check(self, alignments: Sequence[Alignment], *, aspects: bool = False) -> None:
        """Refuse what would give numbers of this network that mean nothing.

        Raises:
            JudgingError: Naming the alignment, and those that fit; or the aspects, which are ratios of depth.
        """
        if aspects and self.scale.affine:
            raise JudgingError(
                f"--aspects compares ratios of depth, which {self.path} does not know "
                "(output.unit 'affine'); expected no --aspects"
            )
        for alignment in alignments:
            if self.scale.affine and alignment != "least_squares":
                raise JudgingError(
                    f"--alignment {alignment}: {self.path} knows the inverse of depth up to a factor and a "
                    "shift (output.unit 'affine'), and only lsq fits both; expected --alignment lsq"
                )
            if alignment == "none" and self.needs_lens:
                raise JudgingError(
                    f"--alignment none: the metres of {self.path} need a lens (focal.rule), which this "
                    "command does not give it; expected --alignment median, or lsq"
                )


def open_candidate(
    path: Path, *, foundation_weights: WeightsSource = "hub", device: str = "cpu", bfloat16: bool = False
) -> Candidate:
    """Load a checkpoint (.safetensors), an export of one (.onnx, .xml) or a described network of others.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        JudgingError: The described network cannot be used.
        ValueError: The export cannot be used.
    """
    exported = path.suffix in (".onnx", ".xml")
    if exported and description_path(path).is_file():
        return _described(path, device=device, bfloat16=bfloat16)
    if exported:
        network = ExportedNetwork(path, precision="bfloat16" if bfloat16 else "float32")
        metadata, predict = network.description.checkpoint, of_export(network)
        batch_size = network.description.batch or 1
    else:
        predictor = Predictor.from_checkpoint(
            path, foundation_weights=foundation_weights, device=device, bfloat16=bfloat16
        )
        metadata, predict = read_metadata(path), of_predictor(predictor)
        batch_size = 1 if device == "cpu" else _GPU_BATCH
    return Candidate(
        path=path,
        sha256=file_sha256(path),
        said=json.loads(metadata.to_json()),
        scale=metadata.scale,
        predict=predict,
        batch_size=batch_size,
    )


def _described(path: Path, *, device: str, bfloat16: bool) -> Candidate:
    try:
        running = open_network(path, device=device, precision="bfloat16" if bfloat16 else "float32")
    except NetworkFileError as error:
        raise JudgingError(str(error)) from error
    description = running.steps.description
    scale, focal = running.steps.scale, description.focal
    needs_lens = focal.rule != "none" and not focal.field_of_view
    usual: tuple[Alignment, ...] = ("median",)
    if scale.affine:
        usual = ("least_squares",)
    elif scale.unit == "metre" and not needs_lens:
        usual = ("median", "none")
    return Candidate(
        path=path,
        sha256=network_sha256(path, description),
        said=json.loads(json.dumps(dataclasses.asdict(description))),
        scale=DepthScale() if needs_lens else scale,
        predict=of_described(running),
        batch_size=1,
        usual=usual,
        needs_lens=needs_lens,
    )


def of_described(running: RunningNetwork) -> PredictDisparity:
    """Judge a described network. Pixels to which it gives no depth count as infinitely far."""

    def predict(images: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        try:
            readings = running.see(images)
        except NetworkFileError as error:
            raise JudgingError(str(error)) from error
        return [_everywhere(reading.disparity, running.path) for reading in readings]

    return predict


def _everywhere(
    disparity: Float32[np.ndarray, "rows columns"], path: Path
) -> Float32[np.ndarray, "rows columns"]:
    known = np.nan_to_num(disparity, nan=0.0)
    largest = float(known.max())
    if largest <= 0.0:
        raise JudgingError(f"{path} gave no depth to any pixel of a photograph; expected some")
    everywhere: Float32[np.ndarray, "rows columns"] = np.maximum(known, np.float32(_FARTHEST * largest))
    return everywhere


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
