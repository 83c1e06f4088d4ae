"""What the parts of the trial on a GPU share: the device, the networks, and how figures are written down."""

import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from model.checkpoint import load_checkpoint
from model.config import preset
from model.drawing import drawn_image
from model.network import DeployedNet, build
from model.precision import computing_in
from service.backends.cuda import CudaDevice, CudaRunner, forward, set_arithmetic

ROOT = Path(__file__).parents[1]
STUDENT = ROOT / "model" / "pretrained" / "student.safetensors"
TEACHER = ROOT / "model" / "pretrained" / "teacher.safetensors"
DTYPES = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

Run = Callable[[np.ndarray], np.ndarray]


class NeedsGpu(Exception):  # noqa: N818 - it is read as a sentence
    """A part that a CPU cannot do; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A figure."""

    what: str
    value: float
    unit: str


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Where, and how thoroughly."""

    device: torch.device
    quick: bool
    foundation_weights: Path | None = None

    @classmethod
    def here(cls, *, quick: bool, foundation_weights: Path | None = None) -> "Trial":
        """Return a trial on the first CUDA device, or on the CPU where there is none."""
        device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
        return cls(device=device, quick=quick, foundation_weights=foundation_weights)

    @property
    def cuda(self) -> bool:
        """Whether there is a GPU."""
        return self.device.type == "cuda"

    @property
    def measure_s(self) -> float:
        """How long each figure is measured."""
        return 0.1 if self.quick else 1.5

    def student(self) -> DeployedNet:
        """Return the student that ships, or a tiny one with random weights."""
        return self._random("tiny") if self.quick else load_checkpoint(STUDENT)[0].deployed()

    def teacher(self) -> DeployedNet:
        """Return the teacher that ships where its foundation model is given; else one with random weights."""
        if self.foundation_weights is None:
            return self._random("tiny-teacher" if self.quick else "teacher")
        return load_checkpoint(TEACHER, foundation_weights=self.foundation_weights)[0].deployed()

    def runner(
        self,
        network: DeployedNet,
        precision: str = "bfloat16",
        *,
        max_batch: int = 8,
        lanes: int = 1,
        graphs: bool = True,
    ) -> Run:
        """Return what runs a network on the device as the service does; eager on a CPU."""
        prepared = computing_in(network, DTYPES[precision])
        if not self.cuda:

            def eager(images: np.ndarray) -> np.ndarray:
                with torch.inference_mode():
                    return forward(prepared, torch.from_numpy(images)).numpy()

            return eager
        device = CudaDevice(self.device)
        size = (network.config.height, network.config.width)
        with device.current():
            set_arithmetic(precision)
            prepared.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            return CudaRunner(prepared, device, size, max_batch, graphs=graphs, lanes=lanes)

    @staticmethod
    def _random(name: str) -> DeployedNet:
        """Return a preset with random weights, its gates open and its heads lively."""
        torch.manual_seed(0)
        network = build(preset(name), foundation_weights="random", backbone_weights="random")
        with torch.no_grad():
            for parameter_name, parameter in network.named_parameters():
                if "gate" in parameter_name:
                    parameter.fill_(0.5)
                if "disparity_heads" in parameter_name and parameter.ndim > 1:
                    parameter.normal_(std=0.5 * parameter[0].numel() ** -0.5)
        return network.deployed()


def images_for(network: DeployedNet, count: int) -> np.ndarray:
    """Return the drawn street and others of other colours and light."""
    street = drawn_image(network.config.height, network.config.width)
    shifts = np.arange(count, dtype=np.uint8)[:, None, None, None] * 5
    return np.ascontiguousarray(
        np.stack([np.roll(street, 31 * one, axis=1) for one in range(count)]) ^ shifts
    )


def per_second(run: Run, images: np.ndarray, *, callers: int, seconds: float) -> tuple[float, float]:
    """Return images a second of so many callers at once, and the median milliseconds of a batch."""
    until = time.monotonic() + seconds

    def call(_: int) -> list[float]:
        taken = []
        while time.monotonic() < until:
            began = time.perf_counter()
            run(images)
            taken.append(time.perf_counter() - began)
        return taken

    run(images)
    began = time.monotonic()
    with ThreadPoolExecutor(callers) as pool:
        taken = [one for each in pool.map(call, range(callers)) for one in each]
    return len(images) * len(taken) / (time.monotonic() - began), 1000 * statistics.median(taken)


class Busy:
    """The GPU's busy share as its driver tells it, sampled while a block runs."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._samples: list[float] = []
        self._reader: threading.Thread | None = None

    def __enter__(self) -> "Busy":
        query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "100"]
        with suppress(OSError):
            self._process = subprocess.Popen(query, stdout=subprocess.PIPE, text=True)
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._reader is not None:
            self._process.terminate()
            self._process.wait()
            self._reader.join()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with suppress(ValueError):
                self._samples.append(float(line))

    def rows(self, what: str) -> list[Row]:
        """Return the median share, where there is a driver to ask."""
        if not self._samples:
            return []
        return [Row(what=f"{what}: GPU busy", value=statistics.median(self._samples), unit="%")]
