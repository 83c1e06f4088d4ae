"""The command line of ``depth-predict``: what may be asked, and what is said of it."""

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import tyro
from tqdm import tqdm

from model.commands import ending_with_its_reader, merged
from model.described import DescriptionError, view_of
from model.metadata import CheckpointError
from service.backends import Backend, BackendError, BackendOptions, choose, open_backend
from service.backends.base import Precision
from service.backends.choose import cores
from service.codec import COLOUR_MAPS
from service.codec.cameras import Camera, CamerasError, read_cameras
from service.codec.measure import Knowledge
from service.contract.bounds import STEADINESS, USUAL_STEADINESS
from service.contract.errors import InvalidArgument, ServiceError
from service.contract.formats import Format, PlyEdges
from service.contract.options import SceneOptions, read_options
from service.contract.pose import Pose
from service.contract.request import Colour, Sky, SparseDepth
from service.predict.inputs import Input, find_inputs
from service.predict.outputs import Failed, Outputs, Written
from service.predict.photographs import predict_photographs
from service.predict.poses import read_poses
from service.predict.scene import Known
from service.settings import PRETRAINED

_MOST_THREADS = 4
"""Beside the network, for each of decoding and encoding."""
_USUAL_FORMATS = (Format.PNG16, Format.COLOR)

USAGE = f"""
Depth of photographs, of folders of photographs, and of videos.

  depth-predict street.jpg holiday/ drive.mp4 --output depth
  depth-predict street.jpg --formats npy ply --fov-deg 70
  depth-predict drive.mp4 --camera-height-m 1.5 --fov-deg 90

A photograph gives, as --formats asks:

{chr(10).join(f"  {one:<10} NAME{one.spec.suffix:<14} {one.spec.text}" for one in Format)}

A video gives NAME_side_by_side.mp4, and with --formats a folder NAME_frames, too.
Depth lies along the optical axis.
"""


@dataclass(frozen=True, kw_only=True)
class PredictCommand:
    """Depth of photographs, of folders of photographs, and of videos."""

    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """JPEG, PNG, WebP and AVIF files, videos, and folders of them."""
    output: Path = Path("depth")
    """The folder to write to; it is made where it is missing."""
    formats: tuple[Format, ...] | None = None
    """What to write: png16 and color by default; of videos, only the side-by-side video by default."""
    checkpoint: Path = PRETRAINED / "student.safetensors"
    """The network: a checkpoint, or a network of others (.onnx, .xml) with its .depth.json beside it."""
    foundation_weights: Path | None = None
    """A teacher's, as a timm .safetensors file; by default they are downloaded."""
    backend: Literal["auto", "openvino", "torch"] = "auto"
    """What runs the network; by default OpenVINO on a CPU, torch on a GPU."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:NUMBER."""
    precision: Precision = "auto"
    """float32 agrees with the reference to a few parts in 10,000; auto may be quicker and less exact."""
    intrinsics: tuple[float, float, float, float] | None = None
    """The camera's fx fy cx cy, in pixels of the upright picture, whose first pixel's centre is at 0.5."""
    fov_deg: float | None = None
    """Instead of intrinsics: the horizontal field of view."""
    camera_height_m: float | None = None
    """How high the camera stands over flat ground that it sees: makes depth metric."""
    known_distance: tuple[float, float, float] | None = None
    """Instead of the height: a pixel X Y of the picture and the METRES to what it shows."""
    known_points: str | None = None
    """Or several such pixels, as X,Y,METRES;X,Y,METRES;... Wrong ones count for little."""
    cameras: Path | None = None
    """A YAML file of calibrated cameras, as OpenCV, Kalibr or ROS writes them."""
    camera: str | None = None
    """One of them, in place of intrinsics: its lens, its distortion, and its height where that is noted."""
    rectify: Literal["yes", "no"] = "yes"
    """For a camera with distortion: depth of the rectified picture; no: of the raw one."""
    sparse_depth: Path | None = None
    """Depth with holes, as 16-bit grey PNG, 0 where nothing was measured: the photograph's, or a folder
    of such files by the photographs' names."""
    sparse_depth_steps_per_metre: float = 256.0
    """What a metre is in it."""
    sky: Sky = "none"
    """What is infinitely far has no depth; far: as the farthest thing in the picture."""
    ply_edges: PlyEdges = "keep"
    """Of point clouds: drop leaves out the sky, and what is blurred between two surfaces."""
    color_map: str = "turbo"
    """Of previews and videos."""
    near: float | None = None
    """The depth at the near end of the colours; by default the photograph's own, in videos a moving one."""
    far: float | None = None
    """Likewise at the far end."""
    steadiness: float = USUAL_STEADINESS
    """How firmly a video's depth is held from frame to frame, from 0 (not at all) to 1."""
    poses: Path | None = None
    """Of a video's camera, a line a frame as in KITTI's pose files: they hold its depth steadier still."""
    video_width: int = 1280
    """Of each half of the side-by-side video at most, in pixels."""
    overwrite: bool = False
    """Replace what an earlier run wrote; otherwise nothing is done where a file is in the way."""
    json: bool = False
    """Print a JSON object for each input, one a line."""

    def known(self) -> Known:
        """Return what is known beside the pictures.

        Raises:
            InvalidArgument: The options do not fit together; likewise `CheckpointError`.
        """
        given = {
            "fov_deg": self.fov_deg,
            "camera_height_m": self.camera_height_m,
            "known_points": self.known_points,
            "camera": self.camera,
            "sky": self.sky,
            "rectify": self.rectify,
            **dict(zip(("fx_px", "fy_px", "cx_px", "cy_px"), self.intrinsics or (), strict=False)),
            **dict(
                zip(("known_x_px", "known_y_px", "known_distance_m"), self.known_distance or (), strict=False)
            ),
        }
        known = read_options(
            SceneOptions, ((name, value) for name, value in given.items() if value is not None)
        )
        anchor = known.anchor()
        if self.sparse_depth is not None:
            if anchor is not None:
                raise InvalidArgument("--sparse-depth and another anchor are given; expected one of them")
            anchor = SparseDepth(png=b"", steps_per_metre=self.sparse_depth_steps_per_metre)
        knowledge = Knowledge(
            lens=known.lens(),
            anchor=anchor,
            camera=self._camera(),
            rectify=known.rectify == "yes",
            sky=known.sky,
        )
        if knowledge.camera is not None and knowledge.lens is not None:
            raise InvalidArgument("--camera and a lens were both given; expected one of them")
        try:
            view = view_of(self.checkpoint)
        except DescriptionError as error:
            raise InvalidArgument(str(error)) from None
        return Known(view=view, knowledge=knowledge, sparse_depth=self.sparse_depth)

    def _camera(self) -> Camera | None:
        if self.camera is None:
            return None
        if self.cameras is None:
            raise InvalidArgument(f"--camera is {self.camera!r}; expected --cameras FILE beside it")
        try:
            cameras = read_cameras(self.cameras)
        except CamerasError as error:
            raise InvalidArgument(str(error)) from None
        if self.camera not in cameras:
            raise InvalidArgument(f"--camera is {self.camera!r}; expected one of {', '.join(cameras)}")
        return cameras[self.camera]

    def colour(self) -> Colour:
        """Return how depth is coloured."""
        if self.color_map not in COLOUR_MAPS:
            raise InvalidArgument(
                f"--color-map is {self.color_map!r}; expected one of {', '.join(COLOUR_MAPS)}"
            )
        return Colour(map=self.color_map, near=self.near, far=self.far)

    def check(self) -> None:
        """Refuse numbers that mean nothing."""
        STEADINESS.check("--steadiness", self.steadiness)
        if self.video_width < 16:
            raise InvalidArgument(f"--video-width is {self.video_width}; expected at least 16 pixels")
        if not self.inputs:
            raise InvalidArgument("nothing was given to predict; expected photographs, folders or videos")
        if not self.checkpoint.is_file():
            raise InvalidArgument(
                f"no checkpoint lies at {self.checkpoint}; expected one there, or --checkpoint"
            )


def run(command: PredictCommand) -> Iterator[Written | Failed]:
    """Predict as asked, photographs first, and yield what became of each input.

    Raises:
        InvalidArgument: Nothing was begun, and why; likewise `CheckpointError` and `BackendError`.
    """
    command.check()
    colour, known = command.colour(), command.known()
    outputs = Outputs(
        command.output,
        command.formats or _USUAL_FORMATS,
        overwrite=command.overwrite,
        ply_edges=command.ply_edges,
    )
    inputs = find_inputs(command.inputs, command.output)
    videos = [one for one in inputs if one.is_video]
    photographs = [one for one in inputs if not one.is_video]
    if videos and find_spec("av") is None:
        raise InvalidArgument(
            f"{videos[0].path} needs PyAV; expected it by pip install '.[video]' in the source tree"
        )
    poses = None if command.poses is None else read_poses(command.poses, videos)
    if videos and (command.sparse_depth is not None or command.rectify == "no"):
        raise InvalidArgument(
            f"--sparse-depth and --rectify no are of photographs; expected none beside {videos[0].path}"
        )
    if command.rectify == "no" and outputs.need_photographs:
        raise InvalidArgument("a point cloud is of the rectified picture; expected --rectify yes")
    outputs.check(inputs, frames=command.formats is not None)
    with closing(_open(command)) as backend:
        threads = min(_MOST_THREADS, cores())
        answers = predict_photographs(photographs, backend, known, colour, outputs, threads=threads)
        with closing(answers), _bar(len(photographs), "photographs") as bar:
            for answer in answers:
                bar.update()
                yield answer
        if videos:
            yield from _videos(command, videos, poses, backend, known, colour, outputs)


def _open(command: PredictCommand) -> Backend:
    placement = choose(command.backend, command.device)
    options = BackendOptions(
        device=placement.devices[0],
        precision=command.precision,
        threads=placement.threads,
        foundation_weights=command.foundation_weights,
    )
    return open_backend(placement.backend, command.checkpoint, options)


def _videos(
    command: PredictCommand,
    videos: Sequence[Input],
    poses: Sequence[Pose] | None,
    backend: Backend,
    known: Known,
    colour: Colour,
    outputs: Outputs,
) -> Iterator[Written | Failed]:
    from service.predict.videos import VideoOptions, predict_video  # PyAV is an extra

    options = VideoOptions(
        colour=colour,
        steadiness=command.steadiness,
        poses=poses,
        panel_width=command.video_width,
        frames=command.formats is not None,
    )
    for video in videos:
        with _bar(None, video.path.name) as bar:

            def show(done: int, of: int | None, bar: "tqdm[None]" = bar) -> None:
                bar.total = None if of is None else max(done, of)
                bar.update(done - bar.n)

            answer = predict_video(video, backend, known, outputs, options, show)
        yield answer


def _bar(total: int | None, what: str) -> "tqdm[None]":
    """Return a progress bar, which shows itself only to a terminal, and not for nothing."""
    return tqdm(total=total, desc=what, unit="", disable=True if total == 0 else None)


def _refuse_smoothing(arguments: Sequence[str]) -> None:
    """Say what took the place of an option of the last release."""
    if any(word.partition("=")[0] == "--smoothing" for word in arguments):
        raise SystemExit(
            "depth-predict: --smoothing is gone; expected --steadiness in its place, from 0 to 1"
        )


@ending_with_its_reader()
def main(arguments: Sequence[str] | None = None) -> None:
    """Run `depth-predict`."""
    _refuse_smoothing(sys.argv[1:] if arguments is None else arguments)
    command = tyro.cli(
        PredictCommand,
        prog="depth-predict",
        description=USAGE,
        args=merged(arguments, "--formats"),
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.EnumChoicesFromValues),
    )
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        written, failed = _run_and_print(command)
    except BrokenPipeError:
        raise  # nobody reads what is printed
    except (ServiceError, CheckpointError, BackendError, OSError) as error:
        raise SystemExit(f"depth-predict: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    if not command.json:
        print(f"{written} of {written + len(failed)} written to {command.output}")
    for one in failed:
        print(f"depth-predict: {one.input}: {one.error}", file=sys.stderr)
    if failed:
        raise SystemExit(1)


def _run_and_print(command: PredictCommand) -> tuple[int, list[Failed]]:
    """Return how many inputs were predicted, and which were not."""
    failed: list[Failed] = []
    written = 0
    for answer in run(command):
        written += isinstance(answer, Written)
        if isinstance(answer, Failed):
            failed.append(answer)
        elif answer.notice:
            print(f"depth-predict: {answer.input}: {answer.notice}", file=sys.stderr)
        if command.json:
            print(json.dumps(answer.to_json()), flush=True)
    return written, failed


if __name__ == "__main__":
    main()
