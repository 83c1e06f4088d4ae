"""A described network in the runtime that opens its file: ONNX Runtime, or OpenVINO.

Whatever a graph says, nothing is executed but the runtime's own operators.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from model.described.description import (
    DescriptionError,
    NetworkDescription,
    description_path,
    read_description,
)
from model.described.network import DescribedNetwork
from model.drawing import TOLERANCES, check_answer, drawn_image, golden_answer
from model.golden import GoldenAnswer, GoldenError
from model.view import Reading, predict_by_shape

GOLDEN_PICTURE = (480, 640)
"""Height and width of the drawn image of golden answers."""
_NUMPY: dict[str, type[np.generic]] = {
    "float": np.float32,
    "float32": np.float32,
    "float16": np.float16,
    "f32": np.float32,
}
_NUMPY |= {"f16": np.float16, "uint8": np.uint8, "u8": np.uint8, "int64": np.int64, "i64": np.int64}
_NUMPY |= {"int32": np.int32, "i32": np.int32, "double": np.float64, "f64": np.float64}


class NetworkFileError(Exception):
    """A network's file that cannot be used as its description says; the message names the file."""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input or an output, as a file declares it."""

    name: str
    shape: tuple[int | None, ...]
    """None where it is dynamic."""
    dtype: type[np.generic] = np.float32


@runtime_checkable
class Graph(Protocol):
    """A network's file, opened by a runtime."""

    runtime: str
    """Name and version."""
    precision: Literal["float32", "bfloat16"]
    inputs: list[Tensor]
    outputs: list[Tensor]

    def run(self, feeds: Mapping[str, np.ndarray], wanted: Sequence[str]) -> Sequence[np.ndarray]:
        """Return these outputs for these inputs."""
        ...


class RunningNetwork:
    """A network that returns its outputs for batches of prepared pictures.

    Args:
        path: `.onnx`, or OpenVINO's `.xml`.
        description: What it needs.
        runtime: In place of the description's.
        threads: On a CPU; as many as the runtime likes where None.
        device: `cpu`, or `cuda:NUMBER`.
        precision: `bfloat16` for OpenVINO alone.
        sized: Whether its file has to take the sizes that the description gives.

    Raises:
        NetworkFileError: It cannot be opened, or is not what the description says.
    """

    def __init__(
        self,
        path: Path,
        description: NetworkDescription,
        *,
        runtime: str | None = None,
        threads: int | None = None,
        device: str = "cpu",
        precision: Literal["float32", "bfloat16"] = "float32",
        sized: bool = True,
    ) -> None:
        self.path, self.steps = path, DescribedNetwork(description)
        chosen = runtime or description.runtime
        if chosen == "auto":
            chosen = "onnxruntime" if path.suffix == ".onnx" and find_spec("onnxruntime") else "openvino"
        self.graph = _open(path, chosen, threads, device, precision)
        self._input = self._find_input()
        self._wanted = self._find_outputs()
        self.main = self._wanted[0]
        if sized:
            self._check_size()

    @property
    def max_batch(self) -> int | None:
        """The only number of pictures that it takes at once; None where it takes any."""
        return self._input.shape[0]

    @property
    def static_size(self) -> tuple[int, int] | None:
        """Height and width of the only input that it takes; None where it takes any."""
        nchw = self.steps.description.input.layout == "nchw"
        height, width = self._input.shape[2:] if nchw else self._input.shape[1:3]
        return None if height is None or width is None else (height, width)

    def run(self, batch: Float32[np.ndarray, "batch a b c"]) -> list[dict[str, np.ndarray]]:
        """Return the outputs of each picture, by tensor: maps of (rows, columns), or single numbers.

        Raises:
            NetworkFileError: The network returns something else.
        """
        said = self.steps.description.input
        outputs = self._run(batch)
        if said.flip:
            across = 3 if said.layout == "nchw" else 2
            mirrored = self._run(np.ascontiguousarray(np.flip(batch, across)))
            for one, other in zip(outputs, mirrored, strict=True):
                for name, values in one.items():
                    one[name] = (values + (other[name][:, ::-1] if values.ndim == 2 else other[name])) / 2
        return outputs

    def see(self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> list[Reading]:
        """Return what it says of pictures of any sizes, each at its own size and through no known lens.

        Raises:
            NetworkFileError: The network returns something else than its description says.
            ValueError: It cannot see a picture, or returned NaN or infinity.
        """
        outputs = predict_by_shape([self.steps.prepare(picture) for picture in pictures], self.run)
        sizes = [(picture.shape[0], picture.shape[1]) for picture in pictures]
        return [
            replace(self.steps.read(output, size, *size), confidence=self.steps.confidence(output, size))
            for output, size in zip(outputs, sizes, strict=True)
        ]

    def answer_drawing(self) -> np.ndarray:
        """Return the main output for the drawn image."""
        item = self.steps.prepare(drawn_image(*GOLDEN_PICTURE))
        return self.run(item[None])[0][self.main]

    def golden_answer(self) -> GoldenAnswer:
        """Return the main output for the drawn image, to be kept.

        Raises:
            GoldenError: It holds NaN or infinity, or zeros alone.
        """
        return golden_answer(self.answer_drawing())

    def check_golden(self) -> None:
        """Compare the answer to the drawn image with the description's, where it has one.

        Raises:
            GoldenError: It differs by more than the precision explains.
        """
        golden = self.steps.description.golden
        if golden is not None:
            check_answer(golden, self.answer_drawing(), TOLERANCES[self.graph.precision])

    def _run(self, batch: np.ndarray) -> list[dict[str, np.ndarray]]:
        size = self.max_batch or len(batch)
        outputs: list[dict[str, np.ndarray]] = []
        for first in range(0, len(batch), size):
            part = batch[first : first + size]
            count = len(part)
            if count < size:
                part = np.concatenate([part, np.repeat(part[-1:], size - count, axis=0)])
            try:
                found = self.graph.run(self._feeds(part), self._wanted)
            except Exception as error:  # runtimes' errors share no class; each says what the graph refuses
                raise NetworkFileError(
                    f"{self.path} fails on an input of {list(part.shape)}: {error}"
                ) from error
            outputs += [self._of_one(found, index, size) for index in range(count)]
        return outputs

    def _feeds(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        feeds = {self._input.name: batch.astype(self._input.dtype, copy=False)}
        declared = {tensor.name: tensor for tensor in self.graph.inputs}
        for extra in self.steps.description.input.extra:
            tensor = declared[extra.tensor]
            feeds[extra.tensor] = np.full([1] * len(tensor.shape), extra.value, tensor.dtype)
        return feeds

    def _of_one(self, found: Sequence[np.ndarray], index: int, size: int) -> dict[str, np.ndarray]:
        one = {}
        for name, values in zip(self._wanted, found, strict=True):
            of_it = values[index] if values.ndim and len(values) == size else values
            of_it = of_it.reshape([side for side in of_it.shape if side != 1])
            if of_it.ndim not in (0, 2):
                raise NetworkFileError(
                    f"{self.path}: output {name!r} has the shape {list(values.shape)}; expected one map, or "
                    "one number, for each picture"
                )
            one[name] = np.asarray(of_it, np.float32)
        return one

    def _find_input(self) -> Tensor:
        said, inputs = self.steps.description.input, self.graph.inputs
        names = [tensor.name for tensor in inputs]
        for extra in said.extra:
            if extra.tensor not in names:
                raise NetworkFileError(self._no_tensor("input.extra", extra.tensor, names))
        if said.tensor and said.tensor not in names:
            raise NetworkFileError(self._no_tensor("input.tensor", said.tensor, names))
        extras = {extra.tensor for extra in said.extra}
        left = [tensor for tensor in inputs if tensor.name not in extras]
        found = next((t for t in left if (t.name == said.tensor if said.tensor else len(t.shape) == 4)), None)
        if found is None or len(found.shape) != 4 or len(left) > 1:
            shapes = ", ".join(f"{tensor.name} {list(tensor.shape)}" for tensor in left)
            raise NetworkFileError(
                f"{self.path}: its inputs are {shapes}; expected one of four dimensions (input.tensor), "
                "and a number for each other one (input.extra)"
            )
        channels = found.shape[1 if said.layout == "nchw" else 3]
        if channels not in (3, None):
            raise NetworkFileError(
                f"{self.path}: input {found.name!r} has the shape {list(found.shape)}; expected three "
                f"channels as {said.layout} has them (input.layout)"
            )
        return found

    def _find_outputs(self) -> list[str]:
        said = self.steps.description
        names = [tensor.name for tensor in self.graph.outputs]
        sides = {"sky": said.sky, "mask": said.mask, "confidence": said.confidence}
        wanted = {"output.tensor": said.output.tensor or names[0]}
        wanted |= {f"{key}.tensor": side.tensor for key, side in sides.items() if side is not None}
        if said.focal.field_of_view:
            wanted["focal.field_of_view"] = said.focal.field_of_view
        for key, name in wanted.items():
            if name not in names:
                raise NetworkFileError(self._no_tensor(key, name, names))
        return list(dict.fromkeys(wanted.values()))

    def _no_tensor(self, key: str, name: str, names: Sequence[str]) -> str:
        return (
            f"{self.path} has no tensor {name!r}, which {key} names; expected one of {', '.join(names)}, "
            "or null for what it lacks"
        )

    def _check_size(self) -> None:
        size = self.static_size
        if size is None:
            return
        rules = self.steps.description.size
        fixed = rules.rule in ("fixed", "fit-and-pad") or rules.aspect == "stretch"
        if not fixed or (rules.target[0], rules.target[-1]) != size:
            raise NetworkFileError(
                f"{self.path} takes pictures of {size[1]}x{size[0]} pixels alone, and its description has "
                f'another size (size.rule {rules.rule!r}); expected "size": {{"rule": "fixed", "target": '
                f"[{size[0]}, {size[1]}]}}"
            )


def open_network(
    path: Path,
    *,
    threads: int | None = None,
    device: str = "cpu",
    precision: Literal["float32", "bfloat16"] = "float32",
) -> RunningNetwork:
    """Open a network by the description beside it, and hold it to its golden answer; see `RunningNetwork`.

    Raises:
        NetworkFileError: It or its description cannot be used, or it fails the golden check.
    """
    try:
        description = read_description(description_path(path))
        running = RunningNetwork(path, description, threads=threads, device=device, precision=precision)
        running.check_golden()
    except (DescriptionError, ValueError) as error:
        raise NetworkFileError(str(error)) from error
    except GoldenError as error:
        raise NetworkFileError(f"{path}: {error}") from error
    return running


def _open(
    path: Path, runtime: str, threads: int | None, device: str, precision: Literal["float32", "bfloat16"]
) -> Graph:
    if runtime == "openvino":
        return _OpenVino(path, threads, precision)
    if path.suffix != ".onnx":
        raise NetworkFileError(f"{path}: ONNX Runtime opens .onnx files; expected runtime 'openvino'")
    if find_spec("onnxruntime") is None:
        raise NetworkFileError(
            f"{path} is to be run by ONNX Runtime, which is not installed; expected the extra `onnxruntime` "
            "of this package, or runtime 'openvino' in its description"
        )
    return _OnnxRuntime(path, threads, device)


class _OnnxRuntime:
    def __init__(self, path: Path, threads: int | None, device: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        providers: list[Any] = ["CPUExecutionProvider"]
        if device.startswith("cuda"):
            there = onnxruntime.get_available_providers()
            if "CUDAExecutionProvider" in there:
                number = int(device.partition(":")[2] or 0)
                providers.insert(0, ("CUDAExecutionProvider", {"device_id": number}))
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=providers)
        except Exception as error:  # its errors share no class; each says what is wrong with the file
            raise NetworkFileError(f"{path} cannot be opened: {error}") from error
        used = self._session.get_providers()[0].removesuffix("ExecutionProvider")
        self.runtime = f"ONNX Runtime {onnxruntime.__version__} on {used}"
        self.precision: Literal["float32", "bfloat16"] = "float32"
        self.inputs = [_of_onnx(tensor) for tensor in self._session.get_inputs()]
        self.outputs = [_of_onnx(tensor) for tensor in self._session.get_outputs()]

    def run(self, feeds: Mapping[str, np.ndarray], wanted: Sequence[str]) -> Sequence[np.ndarray]:
        found: Sequence[np.ndarray] = self._session.run(list(wanted), dict(feeds))
        return found


class _OpenVino:
    def __init__(self, path: Path, threads: int | None, precision: Literal["float32", "bfloat16"]) -> None:
        import openvino

        core = openvino.Core()
        hints: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }
        if threads is not None:
            hints["INFERENCE_NUM_THREADS"] = threads
        try:
            network = core.read_model(path)
            self._compiled = core.compile_model(network, "CPU", hints)
        except Exception as error:  # as above
            raise NetworkFileError(f"{path} cannot be opened: {error}") from error
        self._request = self._compiled.create_infer_request()
        self.runtime = f"OpenVINO {openvino.get_version().split('-')[0]} on CPU"
        self.precision = precision
        self.inputs = [_of_openvino(port) for port in network.inputs]
        self.outputs = [_of_openvino(port) for port in network.outputs]

    def run(self, feeds: Mapping[str, np.ndarray], wanted: Sequence[str]) -> Sequence[np.ndarray]:
        self._request.infer(dict(feeds))
        return [self._request.get_tensor(name).data.copy() for name in wanted]


def _of_onnx(tensor: Any) -> Tensor:
    shape = tuple(side if isinstance(side, int) else None for side in tensor.shape)
    kind = tensor.type.removeprefix("tensor(").removesuffix(")")
    return Tensor(name=tensor.name, shape=shape, dtype=_NUMPY.get(kind, np.float32))


def _of_openvino(port: Any) -> Tensor:
    sides = port.partial_shape
    shape = tuple(None if side.is_dynamic else side.get_length() for side in sides)
    kind = _NUMPY.get(port.element_type.get_type_name(), np.float32)
    return Tensor(name=port.any_name, shape=shape, dtype=kind)
