"""The parts of the trial on a GPU that run networks, and what stands before and behind them."""

import io
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from benchmarks.gpu_trial_parts import (
    DTYPES,
    STUDENT,
    Busy,
    NeedsGpu,
    Row,
    Trial,
    images_for,
    per_second,
)
from model.checkpoint import save_checkpoint
from model.config import preset
from model.images import disparity_to_depth_map
from model.metadata import CheckpointMetadata, Provenance
from model.network import build
from service.backends import BackendOptions, open_backend

PHOTO = (375, 1242)
"""Height and width of KITTI's photographs."""
_PER_METRE = 256


def parity(trial: Trial) -> list[Row]:
    """How far each precision is from the plain network, and how finely depth is graded in it."""
    rows = []
    for name, network in (("student", trial.student()), ("teacher", trial.teacher())):
        images = images_for(network, 2)
        with torch.inference_mode():
            plain = network(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).numpy()
        for precision in DTYPES if trial.cuda else ("float32", "bfloat16"):
            found = trial.runner(network, precision, max_batch=2)(images)
            off = float((np.abs(found - plain) / plain).mean())
            rows.append(Row(what=f"{name}, {precision}: mean error", value=100 * off, unit="%"))
            graded = len(np.unique(found)) / len(np.unique(plain))
            rows.append(
                Row(what=f"{name}, {precision}: distinct depths", value=100 * graded, unit="% of the plain")
            )
    return rows


def graphs(trial: Trial) -> list[Row]:
    """The teacher with and without recorded graphs."""
    if not trial.cuda:
        raise NeedsGpu("graphs are CUDA's")
    network, rows = trial.teacher(), []
    for recorded in (True, False):
        run = trial.runner(network, max_batch=8, graphs=recorded)
        for count in (1, 8):
            _, ms = per_second(run, images_for(network, count), callers=1, seconds=trial.measure_s)
            rows.append(
                Row(
                    what=f"teacher, {'graph' if recorded else 'eager'}, batch of {count}", value=ms, unit="ms"
                )
            )
    return rows


def throughput(trial: Trial) -> list[Row]:
    """Images a second of the student's network alone, by batch, lanes and instances."""
    network, rows = trial.student(), []
    for lanes in (1, 2, 3) if trial.cuda else (1,):
        run = trial.runner(network, max_batch=64 if trial.cuda else 4, lanes=lanes)
        for count in (1, 8, 32, 64) if trial.cuda else (1, 4):
            with Busy() as busy:
                rate, ms = per_second(run, images_for(network, count), callers=lanes, seconds=trial.measure_s)
            what = f"student, {lanes} lanes, batch of {count}"
            rows += [Row(what=what, value=rate, unit="images/s"), Row(what=what, value=ms, unit="ms a batch")]
            rows += busy.rows(what)
    if trial.cuda:
        both = [trial.runner(network, max_batch=32, lanes=2) for _ in range(2)]
        images = images_for(network, 32)
        with Busy() as busy, ThreadPoolExecutor(2) as pool:
            rates = pool.map(lambda run: per_second(run, images, callers=2, seconds=trial.measure_s)[0], both)
            rows.append(
                Row(what="student, 2 instances of 2 lanes, batch of 32", value=sum(rates), unit="images/s")
            )
        rows += busy.rows("student, 2 instances")
    return rows


def reloads(trial: Trial) -> list[Row]:
    """Load the model anew three times beside itself while it serves; no batch may fail."""
    with TemporaryDirectory() as folder:
        checkpoint = _tiny_checkpoint(Path(folder)) if trial.quick else STUDENT
        kind = "torch"
        options = BackendOptions(device=str(trial.device), max_batch=8 if trial.cuda else 2)
        backend = open_backend(kind, checkpoint, options)
        street = np.zeros((2, backend.height, backend.width, 3), np.uint8)
        expected, failures, taken, done = backend.predict(street), [], [], threading.Event()

        def serve() -> None:
            while not done.is_set():
                began = time.perf_counter()
                try:
                    if not np.allclose(backend.predict(street), expected, rtol=1e-2):
                        failures.append("another answer")
                except RuntimeError as error:
                    failures.append(str(error))
                taken.append(time.perf_counter() - began)

        with ThreadPoolExecutor(backend.lanes) as pool:
            serving = [pool.submit(serve) for _ in range(backend.lanes)]
            try:
                for _ in range(3):
                    open_backend(kind, checkpoint, options).close()
            finally:
                done.set()
            for one in serving:
                one.result()
        backend.close()
    if failures:
        raise RuntimeError(f"{len(failures)} batches failed beside a reload, the first: {failures[0]}")
    return [
        Row(what="batches that failed", value=len(failures), unit="batches"),
        Row(what="batches served meanwhile", value=len(taken), unit="batches"),
        Row(what="slowest batch", value=1000 * max(taken), unit="ms"),
    ]


def codec(trial: Trial) -> list[Row]:
    """JPEGs decoded on the card, and depth finished there: resized, inverted, and in 16 bits."""
    rows, network = [], trial.student()
    street = np.repeat(np.repeat(images_for(network, 1)[0], 2, axis=0), 2, axis=1)
    photo = np.asarray(Image.fromarray(street).resize(PHOTO[::-1]))
    run = trial.runner(network, max_batch=1)
    disparity = run(images_for(network, 1))
    depth = disparity_to_depth_map(disparity[0], *PHOTO) * _PER_METRE
    expected = np.clip(np.round(depth), 0, 65535).astype(np.int64)
    on_device = torch.from_numpy(disparity).to(trial.device)
    steps = np.abs(finished(on_device, *PHOTO)[0].cpu().numpy().astype(np.int64) - expected)
    rows.append(
        Row(what="depth finished on the device: largest difference", value=int(steps.max()), unit="of 65535")
    )
    batch = on_device.expand(8, -1, -1).contiguous()
    rows.append(_timed("depth finished on the device", lambda: finished(batch, *PHOTO).cpu(), 8, trial))
    rows.append(
        _timed("depth finished on the CPU", lambda: disparity_to_depth_map(disparity[0], *PHOTO), 1, trial)
    )
    return rows + _jpegs(photo, trial)


def finished(disparity: Tensor, height: int, width: int) -> Tensor:
    """Return depth in 1/256 of its unit, (batch, height, width) uint16, as PNG16 holds it.

    Half the bytes of float32 cross back to the host, and none of the resizing is left to it.
    """
    resized = functional.interpolate(
        disparity[:, None], (height, width), mode="bilinear", align_corners=False
    )
    depth = (_PER_METRE / resized[:, 0]).round_().clamp_(0, 65535)
    return depth.to(torch.int32).to(torch.uint16)


def _jpegs(photo: np.ndarray, trial: Trial) -> list[Row]:
    try:
        from torchvision.io import decode_jpeg
    except ImportError:
        return []
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=90)
    data = torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)
    rows = [_timed("JPEG of 1242x375 on the CPU", lambda: decode_jpeg(data), 1, trial)]
    for count in (1, 8, 32) if trial.cuda else ():
        listed = [data] * count

        def decode(listed: list[Tensor] = listed) -> None:
            decode_jpeg(listed, device=trial.device)
            torch.cuda.synchronize()

        rows.append(_timed(f"JPEGs of 1242x375 by nvJPEG, {count} at once", decode, count, trial))
    return rows


def _timed(what: str, work: Callable[[], object], images: int, trial: Trial) -> Row:
    work()
    began, count = time.monotonic(), 0
    while time.monotonic() - began < trial.measure_s:
        work()
        count += 1
    return Row(what=what, value=images * count / (time.monotonic() - began), unit="images/s")


def _tiny_checkpoint(folder: Path) -> Path:
    network = build(preset("tiny"), backbone_weights="random")
    path = folder / "tiny.safetensors"
    save_checkpoint(path, network, CheckpointMetadata(config=network.config, provenance=Provenance()))
    return path
