"""An exported network as its users meet it: what it says of itself, and its answers, without torch.

Exports are an OpenVINO IR (`.xml` beside `.bin`) or an ONNX file. This module does not know how they are
made.
"""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

from model.metadata import CheckpointMetadata
from model.records import read_record

EXPORT_KEY = "depth_export"
"""Under which name of an IR's rt_info, or of an ONNX file's metadata, the description stands."""

INPUT_NAME, OUTPUT_NAME = "image", "disparity"


@dataclass(frozen=True, kw_only=True)
class ExportDescription:
    """What an export says of itself."""

    checkpoint: CheckpointMetadata
    """Of the network that was exported."""
    checkpoint_sha256: str | None = None
    """Of the file that it came from; None where it was exported from memory."""
    height: int
    """Of the input in pixels, which may differ from the configuration's."""
    width: int
    batch: int | None = None
    """The only batch size that it takes; None where it takes any."""
    uint8_input: bool = False
    """True: uint8 RGB, (batch, height, width, 3). False: float32 RGB in [0, 1], (batch, 3, height, width)."""
    half_weights: bool = False
    """True where weights are stored as float16."""

    def __post_init__(self) -> None:
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"batch is {self.batch}; expected at least 1, or none for any")

    def to_json(self) -> str:
        """Return the JSON that :meth:`from_json` reads."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "ExportDescription":
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: A field is missing, unknown or wrong.
        """
        return read_record(cls, json.loads(text), "export")

    @classmethod
    def of_openvino(cls, network: Any) -> "ExportDescription":
        """Read the description of an `openvino.Model`.

        Raises:
            ValueError: It is not an export of ours, or its description is damaged.
        """
        if not network.has_rt_info([EXPORT_KEY]):
            raise ValueError(f"not an export of ours: its rt_info lacks {EXPORT_KEY!r}")
        return cls.from_json(network.get_rt_info([EXPORT_KEY]).astype(str))


def describe(
    checkpoint: CheckpointMetadata,
    *,
    checkpoint_sha256: str | None = None,
    height: int | None = None,
    width: int | None = None,
    batch: int | None = None,
    uint8_input: bool = False,
    half_weights: bool = False,
) -> ExportDescription:
    """Describe an export of a checkpoint, at its configuration's size where none is given."""
    return ExportDescription(
        checkpoint=checkpoint,
        checkpoint_sha256=checkpoint_sha256,
        height=height or checkpoint.config.height,
        width=width or checkpoint.config.width,
        batch=batch,
        uint8_input=uint8_input,
        half_weights=half_weights,
    )


class ExportedNetwork:
    """An exported network, compiled for this machine's CPU.

    Args:
        path: `.onnx` for ONNX Runtime, `.xml` for OpenVINO.
        precision: In which OpenVINO computes; ONNX Runtime always computes in float32.
        threads: As many as the runtime likes where None.

    Raises:
        ValueError: It is not an export of ours.
    """

    def __init__(
        self,
        path: Path,
        *,
        precision: Literal["float32", "bfloat16"] = "float32",
        threads: int | None = None,
    ) -> None:
        if path.suffix == ".onnx" and precision == "float32":
            self.description, self._run = _open_onnx(path, threads)
        elif path.suffix == ".xml":
            self.description, self._run = _open_openvino(path, precision, threads)
        else:
            raise ValueError(f"{path}: expected an .xml file, or an .onnx file at float32, not {precision}")

    def disparity(self, batch: np.ndarray) -> Float32[np.ndarray, "batch height width"]:
        """Return the disparity, in 1/unit of the network, of a batch as the description demands it."""
        return self._run(batch)


Run = Callable[[np.ndarray], np.ndarray]


def _open_openvino(path: Path, precision: str, threads: int | None) -> tuple[ExportDescription, Run]:
    import openvino

    core = openvino.Core()
    network = core.read_model(path)
    hints: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32"}
    if threads is not None:
        hints["INFERENCE_NUM_THREADS"] = threads
    description = ExportDescription.of_openvino(network)
    request = core.compile_model(network, "CPU", hints).create_infer_request()

    def run(batch: np.ndarray) -> np.ndarray:
        disparity: np.ndarray = request.infer([batch])[0].copy()
        return disparity

    return description, run


def _open_onnx(path: Path, threads: int | None) -> tuple[ExportDescription, Run]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    properties = session.get_modelmeta().custom_metadata_map
    if EXPORT_KEY not in properties:
        raise ValueError(f"{path}: not an export of ours: its metadata lacks {EXPORT_KEY!r}")

    def run(batch: np.ndarray) -> np.ndarray:
        disparity: np.ndarray = session.run([OUTPUT_NAME], {INPUT_NAME: batch})[0]
        return disparity

    return ExportDescription.from_json(properties[EXPORT_KEY]), run
