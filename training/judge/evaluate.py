"""Judge a checkpoint by a published protocol, and say what every number was measured under: `depth-evaluate`.

`training.judge.evaluation` is the same for programs.
"""

import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from jaxtyping import Float32

from model.commands import ending_with_its_reader, explain, merged
from model.metadata import CheckpointError
from model.weights import WeightsSource
from training.data.frames import FrameError
from training.data.kitti_calibration import field, intrinsics, read_calibration
from training.data.layout import LayoutError, open_all, verify_all
from training.data.sequence import Sample
from training.judge.alignment import Alignment
from training.judge.aspects import AspectsWatch, Semantics
from training.judge.baselines import Plane, best_plane, ground_plane
from training.judge.bootstrap import BootstrapConfig
from training.judge.candidates import Candidate, open_candidate
from training.judge.comparison import PredictDisparity
from training.judge.evaluation import Watch, evaluate_all, require_countable
from training.judge.evaluation_files import Baseline, Evaluation, write_evaluation
from training.judge.options import refuse_unused
from training.judge.protocols.cityscapes import CITYSCAPES, open_cityscapes
from training.judge.protocols.folder import FOLDER, Crop, FolderFrames, reading, within
from training.judge.protocols.kitti_eigen import KITTI_EIGEN, open_kitti_eigen
from training.judge.protocols.kitti_improved import KITTI_IMPROVED, open_kitti_improved
from training.judge.protocols.make3d import MAKE3D, open_make3d
from training.judge.protocols.nyu import NYU, NyuFrames
from training.judge.protocols.protocol import JudgedFrames, JudgingError, JudgingProtocol, Sets
from training.judge.protocols.truth_files import CITYSCAPES_DISPARITY, DepthScale, unit_remark
from training.judge.report import Report
from training.judge.stamp import stamp
from training.networks.semantics import ProbeError

USAGE = """
Judge a checkpoint, an export of one, or a described network of others, by a published protocol.

  depth-evaluate CHECKPOINT --protocol kitti-eigen --data RAW --split LIST
  depth-evaluate CHECKPOINT --protocol kitti-improved --data RAW --split LIST --ground-truth DEPTH
  depth-evaluate CHECKPOINT --protocol cityscapes --data CITYSCAPES
  depth-evaluate CHECKPOINT --protocol make3d --data MAKE3D
  depth-evaluate NETWORK.onnx --protocol nyu --data NYU

One's own photographs, by depth files of the same names (PNG, TIFF, .npy, .exr; --depth-scale says what their
numbers mean); so with odometry 04, and with drives of KITTI raw:

  depth-evaluate CHECKPOINT --protocol folder --crop garg --alignment median none --block 10
      --data kitti_odometry/sequences/04/image_2
      --ground-truth kitti_odometry/sequences/04/velodyne_depth
  depth-evaluate CHECKPOINT --protocol folder --crop garg --alignment median none --block 10
      --data kitti_raw/2011_09_26/2011_09_26_drive_traffic_sync/image_02/data
      --ground-truth kitti_depth/2011_09_26_drive_traffic_sync/proj_depth/velodyne_raw/image_02
  depth-evaluate CHECKPOINT --protocol folder --crop garg --alignment median none --block 10
      --data kitti_raw/2011_09_26/2011_09_26_drive_0013_sync/image_02/data
      --ground-truth kitti_depth/2011_09_26_drive_0013_sync/proj_depth/velodyne_raw/image_02

Several drives at once, each of which counts the same, and two checkpoints on the same frames:

  depth-evaluate CHECKPOINT --protocol folder --data DRIVE_A DRIVE_B --ground-truth DEPTH_A DEPTH_B --block 10
      --against OTHER_CHECKPOINT
"""

_LEFT_COLOUR = ("P2", "P_rect_02")
"""The projection's name in KITTI's two kinds of calibration files."""


@dataclass(frozen=True, kw_only=True)
class EvaluateCommand:
    """Judge a checkpoint, or an export of one, by a published protocol."""

    checkpoint: tyro.conf.Positional[Path]
    """A checkpoint (.safetensors), an export of one (.onnx, .xml), or a network of others (.onnx, .xml) with
    its .depth.json beside it."""
    protocol: Literal["kitti-eigen", "kitti-improved", "cityscapes", "make3d", "nyu", "folder"]
    data: tuple[Path, ...]
    """The data set's root; for `folder`, the photographs, of one set or several, which count the same."""
    ground_truth: tuple[Path, ...] = ()
    """For `kitti-improved` the folder of train and val; for `folder` a folder of one PNG, TIFF, .npy or .exr
    for each photograph, as many folders as `data` has."""
    depth_scale: str = "auto"
    """For `folder`: what the ground truth's numbers mean. `auto`: integers are KITTI's 256 steps a metre,
    floats are metres. `kitti` 256, `mm` 1000, `tum` 5000, `cm` 100, `m` 1, or any number of steps a metre;
    `cityscapes`: disparity as Cityscapes stores it, with its cameras by `calibration`."""
    min_depth: float | None = None
    """For `folder`: ground truth counts above this, in metres; 0.001 where it is not given."""
    max_depth: float | None = None
    """For `folder`: ground truth counts below this, in metres; 80 where it is not given."""
    gap: int | None = None
    """For `folder`: a jump of the names' numbers by more than this begins another set, of another place."""
    split: Path | None = None
    """For KITTI: the list of frames, such as '2011_09_26/2011_09_26_drive_0002_sync 0000000069 l' a line. The
    two protocols have a list each, of 697 and 652 frames; both are called test_files.txt where they lie."""
    crop: Crop = "none"
    """For `folder`: which pixels count; `garg` for KITTI's cameras."""
    alignment: tuple[Literal["median", "lsq", "none"], ...] | None = None
    """How predictions come to the ground truth's scale; of several, the first sorts the contact sheet. By
    default median, and what its unit needs for a network of others: lsq where it is affine, median and none
    where it is in metres."""
    flip: bool = False
    """Average with the prediction for the mirrored photograph: the plain mean, where Godard et al. (CVPR
    2017) keep one of the two in the outer columns."""
    baselines: bool = False
    """State constant planes beside the results: the road under the camera, where its calibration is known,
    and the best plane."""
    baseline_data: tuple[Path, Path] | None = None
    """Photographs and depth files of training, to fit the best plane to; otherwise it is fitted to the judged
    frames' own ground truth."""
    calibration: Path | None = None
    """For `folder`: KITTI's calib.txt or calib_cam_to_cam.txt, for the road under the left colour camera;
    or, of Cityscapes' disparity, a camera JSON or the folder of one for each photograph."""
    camera_height: float = 1.65
    """Of the baseline's camera above the road, in metres."""
    block: int = 1
    """Successive frames that intervals draw together: 1 for photographs, about a second of video."""
    resamples: int = 2000
    """How often intervals are drawn."""
    aspects: bool = False
    """Measure edges, vehicles and the sky as well. The latter two are where a token probe sees them, which
    needs the foundation model's weights; vehicles are judged under the first alignment."""
    against: Path | None = None
    """Another checkpoint, or export of one, on the same frames; says which differences exceed chance."""
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
        return self.name or ", ".join(map(place_name, self.data if self.split is None else [self.split]))

    def alignments(self, candidate: Candidate) -> tuple[Alignment, ...]:
        """Return the alignments by their full names: those that were asked for, or the candidate's usual."""
        if self.alignment is None:
            return candidate.usual
        if not self.alignment:
            raise JudgingError("--alignment names none; expected median, lsq or none, or several of them")
        return tuple("least_squares" if name == "lsq" else name for name in self.alignment)

    def open(self) -> "tuple[Sets, JudgingProtocol]":
        """Open the frames.

        Raises:
            LayoutError: Files are missing.
            JudgingError: An option is missing that the protocol needs, or given that it does not take.
        """
        refuse_unused(self)
        if self.protocol == "folder":
            return self._folders()
        if len(self.data) != 1:
            raise JudgingError(f"--protocol {self.protocol} takes one --data, and {len(self.data)} are given")
        (data,) = self.data
        if self.protocol == "kitti-eigen":
            opened: tuple[JudgedFrames, JudgingProtocol]
            opened = open_kitti_eigen(data, self._needed_split()), KITTI_EIGEN
        elif self.protocol == "kitti-improved":
            (truth,) = self._needed_truth()
            opened = open_kitti_improved(data, self._needed_split(), truth), KITTI_IMPROVED
        elif self.protocol == "cityscapes":
            opened = open_cityscapes(data), CITYSCAPES
        elif self.protocol == "nyu":
            opened = NyuFrames(data), NYU
        else:
            opened = open_make3d(data), MAKE3D
        return Sets.of(opened[0]), opened[1]

    def _folders(self) -> "tuple[Sets, JudgingProtocol]":
        truths = self._needed_truth()
        scale = DepthScale.of(self.depth_scale, self.calibration)
        opened = open_all(
            [partial(FolderFrames, data, truth, scale) for data, truth in zip(self.data, truths, strict=True)]
        )
        lengths = [
            length
            for frames in opened
            for length in ([len(frames)] if self.gap is None else frames.runs(self.gap))
        ]
        protocol = reading(scale, within(FOLDER[self.crop], self.min_depth, self.max_depth))
        return Sets(parts=tuple(opened), lengths=tuple(lengths)), protocol

    def _needed_split(self) -> Path:
        if self.split is None:
            raise JudgingError(f"--protocol {self.protocol} needs --split")
        return self.split

    def _needed_truth(self) -> tuple[Path, ...]:
        if not self.ground_truth:
            raise JudgingError(f"--protocol {self.protocol} needs --ground-truth")
        if len(self.ground_truth) != len(self.data):
            raise JudgingError(
                f"--data names {len(self.data)} sets and --ground-truth {len(self.ground_truth)}; "
                "expected as many"
            )
        return self.ground_truth


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
        raise JudgingError(f"--stamp needs a checkpoint, and {command.checkpoint} is none (.safetensors)")
    frames, protocol = command.open()
    candidate = _open_candidate(command, command.checkpoint)
    candidate.check(alignments := command.alignments(candidate), aspects=command.aspects)
    verify_all(frames.parts)
    require_countable(frames, protocol)
    aspects = _aspects(command, candidate, protocol, alignments[0]) if command.aspects else None
    reports = _judge_candidate(command, candidate, frames, protocol, alignments, aspects)
    evaluation = Evaluation(
        candidate=candidate,
        data=command.data_name(),
        reports=reports,
        baselines=_baselines(command, frames, protocol, alignments),
        against=_against(command, frames, protocol, alignments),
        aspects=None if aspects is None else aspects.report(),
        remark=_remark(frames, candidate, reports),
    )
    if command.output is not None:
        write_evaluation(command.output, evaluation, frames, protocol)
    if command.stamp:
        stamp(command.checkpoint, [report.accuracy(evaluation.data) for report in evaluation.reports])
    return evaluation


def _aspects(
    command: EvaluateCommand, candidate: Candidate, protocol: JudgingProtocol, alignment: Alignment
) -> AspectsWatch:
    semantics = Semantics(_weights(command))
    return AspectsWatch(protocol, alignment, candidate.metres_per_unit, semantics)


def _weights(command: EvaluateCommand) -> WeightsSource:
    return "hub" if command.foundation_weights is None else command.foundation_weights


def _open_candidate(command: EvaluateCommand, path: Path) -> Candidate:
    weights = _weights(command)
    return open_candidate(path, foundation_weights=weights, device=command.device, bfloat16=command.bfloat16)


def _judge_candidate(
    command: EvaluateCommand,
    candidate: Candidate,
    frames: Sets,
    protocol: JudgingProtocol,
    alignments: Sequence[Alignment],
    watch: Watch | None = None,
) -> tuple[Report, ...]:
    return _judge(
        command,
        candidate.predict,
        frames,
        protocol,
        alignments,
        candidate.metres_per_unit,
        flip=command.flip,
        batch_size=candidate.batch_size,
        watch=watch,
    )


def _against(
    command: EvaluateCommand, frames: Sets, protocol: JudgingProtocol, alignments: Sequence[Alignment]
) -> Baseline | None:
    """Judge the other candidate on the same frames."""
    if command.against is None:
        return None
    other = _open_candidate(command, command.against)
    other.check(alignments)
    found = _judge_candidate(command, other, frames, protocol, alignments)
    return Baseline(name=command.against.name, reports=found)


def _remark(frames: Sets, candidate: Candidate, reports: Sequence[Report]) -> str | None:
    """Say that the ground truth seems to be in another unit, where the candidate knows metres."""
    steps = {part.steps_per_m() if isinstance(part, FolderFrames) else None for part in frames.parts}
    one = steps.pop()
    if candidate.metres_per_unit is None or one is None or steps:
        return None
    return unit_remark(reports[0].scale.median, one)


def _judge(
    command: EvaluateCommand,
    predict: PredictDisparity,
    frames: Sets,
    protocol: JudgingProtocol,
    alignments: Sequence[Alignment],
    metres_per_unit: float | None,
    *,
    flip: bool,
    batch_size: int = 1,
    watch: Watch | None = None,
) -> tuple[Report, ...]:
    return evaluate_all(
        predict,
        frames,
        protocol,
        alignments,
        metres_per_unit=metres_per_unit,
        flip=flip,
        batch_size=command.batch_size or batch_size,
        bootstrap=BootstrapConfig(resamples=command.resamples, block=command.block),
        lengths=frames.lengths,
        progress=_show if sys.stderr.isatty() else None,
        watch=watch,
    )


def _baselines(
    command: EvaluateCommand, frames: Sets, protocol: JudgingProtocol, alignments: Sequence[Alignment]
) -> tuple[Baseline, ...]:
    planes = dict(_planes(command, frames, protocol)) if command.baselines else {}
    return tuple(
        Baseline(
            name=name,
            plane=plane,
            reports=_judge(command, plane.predict, frames, protocol, alignments, 1.0, flip=False),
        )
        for name, plane in planes.items()
    )


def _planes(command: EvaluateCommand, frames: Sets, protocol: JudgingProtocol) -> Iterator[tuple[str, Plane]]:
    intrinsics = _intrinsics(command, frames)
    if intrinsics is not None:
        height, height_m = protocol.prepare(frames[0].image).shape[0], command.camera_height
        road = ground_plane(intrinsics, height, camera_height_m=height_m, farthest_m=protocol.clamp_m[1])
        yield f"road {height_m:g} m under the camera, by calibration alone", road
    if command.baseline_data is None:
        yield "best constant plane, fitted to this very ground truth", best_plane(frames, protocol)
    else:
        scale = DepthScale.of(command.depth_scale, command.calibration)
        fitted = best_plane(FolderFrames(*command.baseline_data, scale), FOLDER[command.crop])
        yield f"best constant plane, fitted to {place_name(command.baseline_data[0])}", fitted


def _intrinsics(command: EvaluateCommand, frames: JudgedFrames) -> Float32[np.ndarray, "3 3"] | None:
    """Return the camera of the first photograph, as far as anything tells."""
    if command.calibration is None or command.depth_scale == CITYSCAPES_DISPARITY:
        frame = frames[0]
        return frame.intrinsics if isinstance(frame, Sample) else None
    values = read_calibration(command.calibration)
    name = next((name for name in _LEFT_COLOUR if name in values), _LEFT_COLOUR[0])
    return intrinsics(field(values, name, (3, 4), command.calibration))


def _show(done: int, of: int) -> None:
    print(f"\r{done} of {of} images", end="" if done < of else "\n", file=sys.stderr, flush=True)


@ending_with_its_reader()
def main(arguments: Sequence[str] | None = None) -> None:
    """Run `depth-evaluate`."""
    command = tyro.cli(
        EvaluateCommand,
        prog="depth-evaluate",
        description=USAGE,
        args=merged(arguments, "--alignment", "--data"),
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        evaluation = run(command)
    except (CheckpointError, JudgingError, LayoutError, FrameError, ProbeError, ValueError, OSError) as error:
        raise SystemExit(f"depth-evaluate: {explain(error)}") from error
    print("\n".join(evaluation.lines()))


if __name__ == "__main__":
    main()
