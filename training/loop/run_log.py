"""What a run says of itself while it goes: JSON lines, TensorBoard, and a line of progress."""

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from model.atomic import naming, replacing
from training.step.step import Pictures

_log = logging.getLogger(__name__)


class RunLog:
    """Writes to a run's folder; a process that does not lead writes nothing.

    Args:
        folder: Of the run.
        tensorboard: Whether to write event files too.
        active: Whether to write at all.
    """

    def __init__(self, folder: Path, *, tensorboard: bool, active: bool = True) -> None:
        self._path = folder / "log.jsonl" if active else None
        if active:
            folder.mkdir(parents=True, exist_ok=True)
        self._board: Any = None
        if active and tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # takes a second, and an optional package

            self._board = SummaryWriter(str(folder / "tensorboard"))

    def scalars(self, step: int, values: Mapping[str, float], *, group: str) -> None:
        """Write numbers of one step."""
        if self._path is not None:
            line = {"step": step, "time": round(time.time(), 3), "group": group}
            line |= {name: _short(value) for name, value in values.items()}
            with naming(self._path), self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{group}/{name}", value, step)

    def pictures(self, step: int, pictures: Pictures) -> None:
        """Write one sheet: photograph, depth, the teacher's depth, warped view, masks."""
        if self._board is not None:
            sheet = picture_sheet(pictures)
            self._board.add_image("pictures", sheet, step, dataformats="HWC")

    def forget_after(self, step: int) -> None:
        """Drop lines of steps that were not saved, so that a resumed run has each line once."""
        if self._path is None or not self._path.exists():
            return
        lines = self._path.read_text().splitlines()
        kept = [line for line in lines if _step_of(line) is not None and (_step_of(line) or 0) <= step]
        if len(kept) < len(lines):
            with replacing(self._path) as partial:
                partial.write_text("".join(line + "\n" for line in kept))

    def close(self) -> None:
        """Write out what is buffered."""
        if self._board is not None:
            self._board.close()


class Progress:
    """A line now and then with loss, speed and time left."""

    def __init__(self, steps: int, start: int) -> None:
        self._steps = steps
        self._since = time.monotonic()
        self._from = start

    def report(self, step: int, loss: float, wait_share: float, extra: str = "") -> None:
        """Say how far the run is after a step; speed is that since the last report."""
        now = time.monotonic()
        each_s = (now - self._since) / max(1, step - self._from)
        left = duration((self._steps - step) * each_s)
        _log.info(
            "step %d/%d  loss %.4f%s  %.0f ms/step  data %.0f%%  %s left",
            step, self._steps, loss, extra, 1000 * each_s, 100 * wait_share, left,
        )  # fmt: skip
        self._since, self._from = now, step


def duration(seconds: float) -> str:
    """Return a time as people say it: `45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def picture_sheet(pictures: Pictures) -> UInt8[np.ndarray, "height width 3"]:
    """Return the pictures one below the other, all of the photograph's size."""
    height, width = pictures.image.shape[-2:]
    rows = [_photograph(pictures.image)]
    rows += [
        _depth(disparity)
        for disparity in (pictures.disparity, pictures.teacher_disparity)
        if disparity is not None
    ]
    rows += [
        _photograph(image.expand(3, -1, -1))
        for image in (pictures.warped, pictures.moving, pictures.sky)
        if image is not None
    ]
    sized = [cv2.resize(row, (width, height), interpolation=cv2.INTER_NEAREST) for row in rows]
    return np.concatenate(sized)


def _photograph(image: Float[Tensor, "3 height width"]) -> UInt8[np.ndarray, "height width 3"]:
    clipped = image.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8)
    result: UInt8[np.ndarray, "height width 3"] = clipped.permute(1, 2, 0).cpu().numpy()
    return result


def _depth(disparity: Float[Tensor, "1 height width"]) -> UInt8[np.ndarray, "height width 3"]:
    """Colour log disparity from its 2nd to its 98th percentile: near is bright."""
    log = disparity[0].float().log().cpu().numpy()
    low, high = np.percentile(log, (2, 98))
    grey = np.clip((log - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
    coloured: UInt8[np.ndarray, "height width 3"] = cv2.cvtColor(
        cv2.applyColorMap(grey, cv2.COLORMAP_MAGMA), cv2.COLOR_BGR2RGB
    )
    return coloured


def _short(value: float) -> float | None:
    """JSON knows no NaN and no infinity."""
    return float(f"{value:.6g}") if np.isfinite(value) else None


def _step_of(line: str) -> int | None:
    try:
        step = json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError):
        return None  # the line was being written when the process was killed
    return int(step)
