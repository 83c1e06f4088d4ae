"""An exported network: its description and its disparity, without torch.

Exports are an OpenVINO IR (`.xml` beside `.bin`) or an ONNX file.
"""

import dataclasses
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

from model.golden import GoldenAnswer
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
    """`model.metadata.contents_sha256` of the checkpoint; None where it was exported from memory."""
    height: int
    """Of the input in pixels, which may differ from the configuration's."""
    width: int
    batch: int | None = None
    """The only batch size that it takes; None where it takes any."""
    uint8_input: bool = False
    """True: uint8 RGB, (batch, height, width, 3). False: float32 RGB in [0, 1], (batch, 3, height, width)."""
    half_weights: bool = False
    """True where weights are stored as float16."""
    golden: GoldenAnswer | None = None
    """What the plain network returns for the drawn image at this size; filled in by what writes exports."""

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
        threads: As many as this process may use processors where None.

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


def openvino_hints(precision: str, threads: int | None) -> dict[str, Any]:
    """Return how OpenVINO compiles a network for a CPU: in `float32` or `bfloat16`, on so many threads."""
    hints: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
        # Pinned, one-thread networks of all processes share the first core, whatever else is idle.
        "ENABLE_CPU_PINNING": False,
    }
    return hints if threads is None else {**hints, "INFERENCE_NUM_THREADS": threads}


Run = Callable[[np.ndarray], np.ndarray]


def _open_openvino(path: Path, precision: str, threads: int | None) -> tuple[ExportDescription, Run]:
    import openvino

    core = openvino.Core()
    network = core.read_model(path)
    description = ExportDescription.of_openvino(network)
    compiled = core.compile_model(network, "CPU", openvino_hints(precision, threads))
    request = compiled.create_infer_request()

    def run(batch: np.ndarray) -> np.ndarray:
        disparity: np.ndarray = request.infer([batch])[0].copy()
        return disparity

    return description, run


def _open_onnx(path: Path, threads: int | None) -> tuple[ExportDescription, Run]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Stated: threads of the runtime's own number are pinned, to processors that this process may not use.
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    properties = session.get_modelmeta().custom_metadata_map
    if EXPORT_KEY not in properties:
        raise ValueError(f"{path}: not an export of ours: its metadata lacks {EXPORT_KEY!r}")

    def run(batch: np.ndarray) -> np.ndarray:
        disparity: np.ndarray = session.run([OUTPUT_NAME], {INPUT_NAME: batch})[0]
        return disparity

    return ExportDescription.from_json(properties[EXPORT_KEY]), run
