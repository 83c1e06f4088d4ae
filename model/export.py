"""Write a deployed network as ONNX or OpenVINO IR, and say how well the export agrees with it.

    depth-export CHECKPOINT --format openvino --uint8-input

The batch is dynamic, the image size fixed. `model.exported` reads it.
"""

import argparse
import dataclasses
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt8

try:
    import torch
    from torch import Tensor, nn
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("exporting needs torch: pip install 'vfm-depth[torch]'") from error

from model.atomic import replacing
from model.checkpoint import load_checkpoint
from model.checksums import SUMS_SUFFIX, write_checksums
from model.commands import ending_with_its_reader
from model.exported import EXPORT_KEY, INPUT_NAME, OUTPUT_NAME, ExportDescription, ExportedNetwork, describe
from model.lean import lean
from model.metadata import CheckpointError, contents_sha256
from model.network import DeployedNet, DepthNetwork

log = logging.getLogger(__name__)

# Measured beside each limit: a student after 240 steps on LiDAR depth, six street frames at 640x192.
FLOAT32_ERROR = 1e-4
"""How much float32 exports may differ from the eager network: the largest relative error of disparity.

Measured: OpenVINO 2e-6, ONNX Runtime 5e-5.
"""
BFLOAT16_ERROR = 0.02
"""The same for OpenVINO in bfloat16, but the mean error. Measured: 0.006, and 0.07 at the worst pixel."""
HALF_WEIGHTS_ERROR = 0.002
"""The mean error with weights stored as float16, computed in float32. Measured: 0.0006, 0.01 at worst."""

ONNX_OPSET = 18


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far an export's disparity is from the eager network's, relative to the latter."""

    largest: float
    mean: float


class Uint8Network(nn.Module):
    """A deployed network with the pre-processing in front: what decoders give, it takes."""

    def __init__(self, network: DeployedNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: UInt8[Tensor, "batch height width 3"]) -> Float[Tensor, "batch height width"]:
        """Return the disparity of uint8 RGB images, channels last."""
        disparity: Tensor = self.network(image.permute(0, 3, 1, 2).float() / 255)
        return disparity


def export_onnx(network: DepthNetwork, path: Path, description: ExportDescription) -> None:
    """Write a network as one ONNX file, which takes the place of one already there in one step.

    Args:
        network: As loaded or trained; what is exported is its deployed form.
        path: Ends in `.onnx`.
        description: Which input to export for; written into the file's metadata, with the golden answer.

    Raises:
        ValueError: The description is of another network, or asks for what ONNX files here cannot hold.
        ImportError: The packages of the `export` extra are not installed.
    """
    if path.suffix != ".onnx" or description.half_weights:
        raise ValueError(f"{path}: an ONNX file ends in .onnx and holds float32 weights")
    deployed = _deployed(network, description)
    description = dataclasses.replace(description, golden=deployed.golden_answer())
    program = torch.onnx.export(
        _trace(deployed, description),
        input_names=[INPUT_NAME],
        output_names=[OUTPUT_NAME],
        opset_version=ONNX_OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # it is only without dynamo
    _forget_tracing(program.model)
    program.model.metadata_props[EXPORT_KEY] = description.to_json()
    with replacing(path) as partial:
        program.save(partial, external_data=False)


def _forget_tracing(model: Any) -> None:
    """Take away what torch notes of the program that it traced: stack traces, with paths of this machine."""
    for graph in (model.graph, *model.functions.values()):
        graph.metadata_props.clear()
        for value in (*graph.inputs, *getattr(graph, "initializers", {}).values()):
            value.metadata_props.clear()
        for node in graph.all_nodes():
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()


def export_openvino(network: DepthNetwork, path: Path, description: ExportDescription) -> None:
    """Write a network as OpenVINO IR: `path`, and the weights beside it in `.bin`.

    Args:
        network: As loaded or trained; what is exported is its deployed form.
        path: Ends in `.xml`.
        description: Which input to export for, and whether to halve the weights; written into the rt_info,
            with the golden answer.

    Raises:
        ValueError: The description is of another network, or the path ends otherwise.
    """
    import openvino

    if path.suffix != ".xml":
        raise ValueError(f"{path}: an OpenVINO IR ends in .xml")
    deployed = _deployed(network, description)
    description = dataclasses.replace(description, golden=deployed.golden_answer())
    converted = openvino.convert_model(_trace(lean(deployed), description))
    shape = list(_example(description).shape)
    converted.reshape([-1 if description.batch is None else description.batch, *shape[1:]])
    converted.inputs[0].get_tensor().set_names({INPUT_NAME})
    converted.outputs[0].get_tensor().set_names({OUTPUT_NAME})
    converted.set_rt_info(description.to_json(), [EXPORT_KEY])
    save_ir(converted, path, half_weights=description.half_weights)


def save_ir(network: Any, path: Path, *, half_weights: bool) -> None:
    """Write an `openvino.Model` to `path`, to the `.bin` beside it, and both checksums to the `.sha256`.

    Three files cannot be replaced in one step: the old `.xml` goes first and the new one comes last, so that
    a reader finds a whole export or none.
    """
    import openvino

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", suffix=".partial") as folder:
        written = Path(folder) / path.name
        openvino.save_model(network, written, compress_to_fp16=half_weights)
        write_checksums(written.with_suffix(SUMS_SUFFIX), [written.with_suffix(".bin"), written])
        path.unlink(missing_ok=True)
        for suffix in (".bin", SUMS_SUFFIX, ".xml"):
            with replacing(path.with_suffix(suffix)) as partial:
                written.with_suffix(suffix).replace(partial)


def measure_agreement(
    network: DepthNetwork,
    path: Path,
    *,
    precision: Literal["float32", "bfloat16"] = "float32",
    images: int = 2,
) -> Agreement:
    """Run an export beside the eager network on smooth random images of bright and dark, and compare."""
    exported = ExportedNetwork(path, precision=precision)
    description = exported.description
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((description.batch or images, 3, 6, 10), generator=generator)
    size = (description.height, description.width)
    image = nn.functional.interpolate(coarse, size, mode="bilinear").mul(255).to(torch.uint8)
    with torch.inference_mode():
        eager: np.ndarray = network.deployed(height=size[0], width=size[1])(image.float() / 255).numpy()
    batch = image.permute(0, 2, 3, 1).contiguous() if description.uint8_input else image.float() / 255
    error = np.abs(exported.disparity(batch.numpy()) - eager) / eager
    return Agreement(largest=float(error.max()), mean=float(error.mean()))


def _example(description: ExportDescription) -> Tensor:
    # Two images where any number goes: tracing takes a batch of one for a constant.
    batch, height, width = description.batch or 2, description.height, description.width
    if description.uint8_input:
        return torch.zeros((batch, height, width, 3), dtype=torch.uint8)
    return torch.zeros((batch, 3, height, width))


def _deployed(network: DepthNetwork, description: ExportDescription) -> DeployedNet:
    if description.checkpoint.config != network.config:
        raise ValueError("the description's configuration is not the network's")
    return network.deployed(height=description.height, width=description.width)


def _trace(deployed: DeployedNet, description: ExportDescription) -> torch.export.ExportedProgram:
    batch: Any = torch.export.Dim("batch", min=1) if description.batch is None else None
    return torch.export.export(
        Uint8Network(deployed) if description.uint8_input else deployed,
        (_example(description),),
        dynamic_shapes=({0: batch},),
    )


@ending_with_its_reader()
def main() -> None:
    """Run `depth-export`."""
    parser = argparse.ArgumentParser(prog="depth-export", description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--format", choices=("onnx", "openvino"), required=True)
    parser.add_argument("--output", type=Path, help="default: beside the checkpoint, as .onnx or .xml")
    parser.add_argument("--uint8-input", action="store_true", help="take uint8 (batch, height, width, 3)")
    parser.add_argument("--batch", type=int, help="fix the batch size; default: any")
    parser.add_argument("--height", type=int, help="in pixels, a multiple of 32; default: the checkpoint's")
    parser.add_argument("--width", type=int, help="likewise")
    parser.add_argument("--half-weights", action="store_true", help="store float16 weights (OpenVINO)")
    parser.add_argument("--foundation-weights", type=Path, help="a teacher's, as a timm .safetensors file")
    parser.add_argument("--no-check", action="store_true", help="do not compare the export with the network")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        _export(arguments)
    except (CheckpointError, ValueError, ImportError, OSError) as error:
        raise SystemExit(f"depth-export: {error}") from error


def _export(arguments: argparse.Namespace) -> None:
    network, metadata = load_checkpoint(
        arguments.checkpoint, foundation_weights=arguments.foundation_weights or "hub"
    )
    description = describe(
        metadata,
        checkpoint_sha256=contents_sha256(arguments.checkpoint),
        height=arguments.height,
        width=arguments.width,
        batch=arguments.batch,
        uint8_input=arguments.uint8_input,
        half_weights=arguments.half_weights,
    )
    write, suffix = (export_onnx, ".onnx") if arguments.format == "onnx" else (export_openvino, ".xml")
    path = arguments.output or arguments.checkpoint.with_suffix(suffix)
    write(network, path, description)
    log.info("wrote %s", path)
    if not arguments.no_check:
        agreement = measure_agreement(network, path)
        log.info("relative error of disparity: mean %.1e, largest %.1e", agreement.mean, agreement.largest)


if __name__ == "__main__":
    main()
