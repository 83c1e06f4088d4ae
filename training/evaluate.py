"""Judge a checkpoint by a published protocol, and say what every number was measured under: `depth-evaluate`.

It does not know how networks are trained; `training.evaluation` is the same for programs.
"""

import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from jaxtyping import Float32

from model.metadata import CheckpointError
from model.weights import WeightsSource
from training.alignment import Alignment
from training.baselines import Plane, best_plane, ground_plane
from training.bootstrap import BootstrapConfig
from training.candidates import open_candidate
from training.comparison import PredictDisparity
from training.data.frames import FrameError
from training.data.kitti_calibration import field, intrinsics, read_calibration
from training.data.layout import LayoutError
from training.data.sequence import Sample
from training.evaluation import evaluate_all
from training.evaluation_files import Baseline, Evaluation, write_evaluation
from training.protocols.cityscapes import CITYSCAPES, open_cityscapes
from training.protocols.folder import FOLDER, Crop, FolderFrames
from training.protocols.kitti_eigen import KITTI_EIGEN, open_kitti_eigen
from training.protocols.kitti_improved import KITTI_IMPROVED, open_kitti_improved
from training.protocols.make3d import MAKE3D, open_make3d
from training.protocols.protocol import JudgedFrames, JudgingError, JudgingProtocol
from training.report import Report
from training.stamp import stamp

USAGE = """
Judge a checkpoint, or an export of one, by a published protocol.

  depth-evaluate CHECKPOINT --protocol kitti-eigen --data RAW --split LIST
  depth-evaluate CHECKPOINT --protocol kitti-improved --data RAW --split LIST --ground-truth DEPTH
  depth-evaluate CHECKPOINT --protocol cityscapes --data CITYSCAPES
  depth-evaluate CHECKPOINT --protocol make3d --data MAKE3D

One's own photographs, by depth PNGs of the same names; so with odometry 04, and with drives of KITTI raw:

  depth-evaluate CHECKPOINT --protocol folder --crop garg --alignment median none --block 10
      --data kitti_odometry/sequences/04/image_2
      --ground-truth kitti_odometry/sequences/04/velodyne_depth
  depth-evaluate CHECKPOINT --protocol folder --crop garg --alignment median none --block 10
      --data kitti_raw/2011_09_26/2011_09_26_drive_traffic_sync/image_02/data
      --ground-truth kitti_depth/2011_09_26_drive_traffic_sync/proj_depth/velodyne_raw/image_02
  depth-evaluate CHECKPOINT --protocol folder --crop garg --alignment median none --block 10
      --data kitti_raw/2011_09_26/2011_09_26_drive_0013_sync/image_02/data
      --ground-truth kitti_depth/2011_09_26_drive_0013_sync/proj_depth/velodyne_raw/image_02
"""

_LEFT_COLOUR = ("P2", "P_rect_02")
"""The projection's name in KITTI's two kinds of calibration files."""


@dataclass(frozen=True, kw_only=True)
class EvaluateCommand:
    """Judge a checkpoint, or an export of one, by a published protocol."""

    checkpoint: tyro.conf.Positional[Path]
    """A checkpoint (.safetensors), or an export of one (.onnx, .xml)."""
    protocol: Literal["kitti-eigen", "kitti-improved", "cityscapes", "make3d", "folder"]
    data: Path
    """The data set's root; for `folder`, the photographs."""
    ground_truth: Path | None = None
    """Depth PNGs: for `kitti-improved` the folder of train and val, for `folder` one PNG a photograph."""
    split: Path | None = None
    """For KITTI: the list of frames, such as '2011_09_26/2011_09_26_drive_0002_sync 0000000069 l' a line."""
    crop: Crop = "none"
    """For `folder`: which pixels count; `garg` for KITTI's cameras."""
    alignment: tuple[Literal["median", "lsq", "none"], ...] = ("median",)
    """How predictions come to the ground truth's scale; of several, the first sorts the contact sheet."""
    flip: bool = False
    """Average with the prediction for the mirrored photograph."""
    baselines: bool = False
    """State constant planes beside the results: the road under the camera, where its calibration is known,
    and the best plane."""
    baseline_data: tuple[Path, Path] | None = None
    """Photographs and depth PNGs of training, to fit the best plane to; otherwise it is fitted to the judged
    frames' own ground truth."""
    calibration: Path | None = None
    """For `folder`: KITTI's calib.txt or calib_cam_to_cam.txt, for the road under the left colour camera."""
    camera_height: float = 1.65
    """Of the baseline's camera above the road, in metres."""
    block: int = 1
    """Successive frames that intervals draw together: 1 for photographs, about a second of video."""
    resamples: int = 2000
    """How often intervals are drawn."""
    output: Path | None = None
    """Folder for summary.json, images.csv and best_and_worst.png."""
    stamp: bool = False
    """Write the results into the checkpoint's own description."""
    name: str = ""
    """What to call the data in results; by default the last parts of its path."""
    foundation_weights: Path | None = None
    """A teacher's, as a timm .safetensors file; by default they are downloaded."""
    device: str = "cpu"
    """Where a checkpoint runs."""
    bfloat16: bool = False
    """Run in bfloat16: quicker where the hardware has it, and less exact."""
    batch_size: int | None = None
    """Images at once; by default what suits the device or the export."""

    def data_name(self) -> str:
        """Return what to call the data."""
        return self.name or place_name(self.data if self.split is None else self.split)

    def alignments(self) -> tuple[Alignment, ...]:
        """Return the alignments by their full names."""
        if not self.alignment:
            raise JudgingError("--alignment names none; expected median, lsq or none, or several of them")
        return tuple("least_squares" if name == "lsq" else name for name in self.alignment)

    def open(self) -> tuple[JudgedFrames, JudgingProtocol]:
        """Open the frames.

        Raises:
            LayoutError: Files are missing.
            JudgingError: An argument that the protocol needs is missing.
        """
        if self.protocol == "kitti-eigen":
            return open_kitti_eigen(self.data, self._needed("split")), KITTI_EIGEN
        if self.protocol == "kitti-improved":
            truth = self._needed("ground_truth")
            return open_kitti_improved(self.data, self._needed("split"), truth), KITTI_IMPROVED
        if self.protocol == "cityscapes":
            return open_cityscapes(self.data), CITYSCAPES
        if self.protocol == "make3d":
            return open_make3d(self.data), MAKE3D
        return FolderFrames(self.data, self._needed("ground_truth")), FOLDER[self.crop]

    def _needed(self, field: Literal["split", "ground_truth"]) -> Path:
        path: Path | None = getattr(self, field)
        if path is None:
            raise JudgingError(f"--protocol {self.protocol} needs --{field.replace('_', '-')}")
        return path


def place_name(path: Path) -> str:
    """Return the last parts of a path, which tell one sequence from another."""
    return "/".join(path.resolve().parts[-3:])


def run(command: EvaluateCommand) -> Evaluation:
    """Judge as asked, and write what was asked for.

    Raises:
        JudgingError: Something cannot be judged; likewise `LayoutError`, `FrameError`, `CheckpointError` and
            `ValueError`, each of which names what is wrong.
    """
    if command.stamp and command.checkpoint.suffix != ".safetensors":
        raise JudgingError(f"--stamp needs a checkpoint, and {command.checkpoint} is an export")
    weights: WeightsSource = "hub" if command.foundation_weights is None else command.foundation_weights
    candidate = open_candidate(
        command.checkpoint,
        foundation_weights=weights,
        device=command.device,
        bfloat16=command.bfloat16,
    )
    frames, protocol = command.open()
    evaluation = Evaluation(
        candidate=candidate,
        data=command.data_name(),
        reports=_judge(
            command,
            candidate.predict,
            frames,
            protocol,
            candidate.metres_per_unit,
            flip=command.flip,
            batch_size=candidate.batch_size,
        ),
        baselines=_baselines(command, frames, protocol),
    )
    if command.output is not None:
        write_evaluation(command.output, evaluation, frames, protocol)
    if command.stamp:
        stamp(command.checkpoint, [report.accuracy(evaluation.data) for report in evaluation.reports])
    return evaluation


def _judge(
    command: EvaluateCommand,
    predict: PredictDisparity,
    frames: JudgedFrames,
    protocol: JudgingProtocol,
    metres_per_unit: float | None,
    *,
    flip: bool,
    batch_size: int = 1,
) -> tuple[Report, ...]:
    return evaluate_all(
        predict,
        frames,
        protocol,
        command.alignments(),
        metres_per_unit=metres_per_unit,
        flip=flip,
        batch_size=command.batch_size or batch_size,
        bootstrap=BootstrapConfig(resamples=command.resamples, block=command.block),
        progress=_show if sys.stderr.isatty() else None,
    )


def _baselines(
    command: EvaluateCommand, frames: JudgedFrames, protocol: JudgingProtocol
) -> tuple[Baseline, ...]:
    planes = dict(_planes(command, frames, protocol)) if command.baselines else {}
    return tuple(
        Baseline(
            name=name,
            plane=plane,
            reports=_judge(command, plane.predict, frames, protocol, 1.0, flip=False),
        )
        for name, plane in planes.items()
    )


def _planes(
    command: EvaluateCommand, frames: JudgedFrames, protocol: JudgingProtocol
) -> Iterator[tuple[str, Plane]]:
    intrinsics = _intrinsics(command, frames)
    if intrinsics is not None:
        height, height_m = protocol.prepare(frames[0].image).shape[0], command.camera_height
        road = ground_plane(intrinsics, height, camera_height_m=height_m, farthest_m=protocol.clamp_m[1])
        yield f"road {height_m:g} m under the camera, by calibration alone", road
    if command.baseline_data is None:
        yield "best constant plane, fitted to this very ground truth", best_plane(frames, protocol)
    else:
        fitted = best_plane(FolderFrames(*command.baseline_data), FOLDER[command.crop])
        yield f"best constant plane, fitted to {place_name(command.baseline_data[0])}", fitted


def _intrinsics(command: EvaluateCommand, frames: JudgedFrames) -> Float32[np.ndarray, "3 3"] | None:
    """Return the camera of the first photograph, as far as anything tells."""
    if command.calibration is None:
        frame = frames[0]
        return frame.intrinsics if isinstance(frame, Sample) else None
    values = read_calibration(command.calibration)
    name = next((name for name in _LEFT_COLOUR if name in values), _LEFT_COLOUR[0])
    return intrinsics(field(values, name, (3, 4), command.calibration))


def _show(done: int, of: int) -> None:
    print(f"\r{done} of {of} images", end="" if done < of else "\n", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `depth-evaluate`."""
    command = tyro.cli(
        EvaluateCommand,
        prog="depth-evaluate",
        description=USAGE,
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        evaluation = run(command)
    except (CheckpointError, JudgingError, LayoutError, FrameError, ValueError, OSError) as error:
        raise SystemExit(f"depth-evaluate: {error}") from error
    print("\n".join(evaluation.lines()))


if __name__ == "__main__":
    main()
