"""The command line of ``depth-predict``: what may be asked, and what is said of it.

It does not know how anything is predicted.
"""

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

from model.metadata import CheckpointError, read_metadata
from service.backends import Backend, BackendError, BackendOptions, choose, open_backend
from service.backends.base import Precision
from service.backends.choose import cores
from service.codec import COLOUR_MAPS
from service.errors import InvalidArgument, ServiceError
from service.predict.inputs import Input, find_inputs
from service.predict.outputs import Failed, Outputs, Written
from service.predict.photographs import predict_photographs
from service.predict.scene import Scene
from service.request import (
    Anchor,
    CameraHeight,
    Colour,
    FieldOfView,
    Format,
    Intrinsics,
    KnownDistance,
    Lens,
)
from service.settings import PRETRAINED

_MOST_THREADS = 4
"""Beside the network, for each of decoding and encoding."""
_USUAL_FORMATS = ("png16", "color")

USAGE = """
Depth of photographs, of folders of photographs, and of videos.

  depth-predict street.jpg holiday/ drive.mp4 --output depth
  depth-predict street.jpg --formats npy ply --fov-deg 70
  depth-predict drive.mp4 --camera-height-m 1.5 --fov-deg 90

A photograph gives NAME_depth.png (16 bits, 256 steps a unit, 0 = none), NAME_depth.npy (float32),
NAME_depth.jxl (the PNG's values), NAME_color.png and NAME_points.ply, as --formats asks. A video gives
NAME_side_by_side.mp4, and with --formats a folder NAME_frames, too. Depth lies along the optical axis.
"""


@dataclass(frozen=True, kw_only=True)
class PredictCommand:
    """Depth of photographs, of folders of photographs, and of videos."""

    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """JPEG, PNG and WebP files, videos, and folders of them."""
    output: Path = Path("depth")
    """The folder to write to; it is made where it is missing."""
    formats: tuple[Literal["png16", "npy", "jxl", "color", "ply"], ...] | None = None
    """What to write: png16 and color by default; of videos, only the side-by-side video by default."""
    checkpoint: Path = PRETRAINED / "student.safetensors"
    """The network."""
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
    color_map: str = "turbo"
    """Of previews and videos."""
    near: float | None = None
    """The depth at the near end of the colours; by default the photograph's own, in videos a moving one."""
    far: float | None = None
    """Likewise at the far end."""
    smoothing: float = 0.8
    """How firmly a video's scale is held from frame to frame, from 0 (not at all) to below 1."""
    video_width: int = 1280
    """Of each half of the side-by-side video at most, in pixels."""
    overwrite: bool = False
    """Replace what an earlier run wrote; otherwise nothing is done where a file is in the way."""
    json: bool = False
    """Print a JSON object for each input, one a line."""

    def scene(self) -> Scene:
        """Return what is known beside the pictures.

        Raises:
            InvalidArgument: The options do not fit together; likewise `CheckpointError`.
        """
        lens, anchor = self._lens(), self._anchor()
        if lens is None and "ply" in (self.formats or ()):
            raise InvalidArgument("a point cloud needs a lens; expected --fov-deg or --intrinsics")
        if lens is None and isinstance(anchor, CameraHeight):
            raise InvalidArgument("a camera height needs a lens; expected --fov-deg or --intrinsics")
        return Scene(scale=read_metadata(self.checkpoint).scale, lens=lens, anchor=anchor)

    def colour(self) -> Colour:
        """Return how depth is coloured."""
        if self.color_map not in COLOUR_MAPS:
            raise InvalidArgument(
                f"--color-map is {self.color_map!r}; expected one of {', '.join(COLOUR_MAPS)}"
            )
        return Colour(map=self.color_map, near=self.near, far=self.far)

    def check(self) -> None:
        """Refuse numbers that mean nothing."""
        if not 0.0 <= self.smoothing < 1.0:
            raise InvalidArgument(f"--smoothing is {self.smoothing}; expected at least 0 and less than 1")
        if self.video_width < 16:
            raise InvalidArgument(f"--video-width is {self.video_width}; expected at least 16 pixels")
        if not self.inputs:
            raise InvalidArgument("nothing was given to predict; expected photographs, folders or videos")
        if not self.checkpoint.is_file():
            raise InvalidArgument(
                f"no checkpoint lies at {self.checkpoint}; expected one there, or --checkpoint"
            )

    def _lens(self) -> Lens | None:
        if self.intrinsics is not None and self.fov_deg is not None:
            raise InvalidArgument("--intrinsics and --fov-deg were both given; expected one of them")
        if self.fov_deg is not None:
            return FieldOfView(horizontal_deg=self.fov_deg)
        if self.intrinsics is None:
            return None
        fx, fy, cx, cy = self.intrinsics
        return Intrinsics(fx_px=fx, fy_px=fy, cx_px=cx, cy_px=cy)

    def _anchor(self) -> Anchor | None:
        if self.camera_height_m is not None and self.known_distance is not None:
            raise InvalidArgument(
                "--camera-height-m and --known-distance were both given; expected one of them"
            )
        if self.camera_height_m is not None:
            return CameraHeight(height_m=self.camera_height_m)
        if self.known_distance is None:
            return None
        x, y, metres = self.known_distance
        return KnownDistance(x_px=x, y_px=y, distance_m=metres)


def run(command: PredictCommand) -> Iterator[Written | Failed]:
    """Predict as asked, photographs first, and yield what became of each input.

    Raises:
        InvalidArgument: Nothing was begun, and why; likewise `CheckpointError` and `BackendError`.
    """
    command.check()
    colour, scene = command.colour(), command.scene()
    outputs = Outputs(
        command.output,
        [Format(name) for name in command.formats or _USUAL_FORMATS],
        overwrite=command.overwrite,
    )
    inputs = find_inputs(command.inputs, command.output)
    videos = [one for one in inputs if one.is_video]
    photographs = [one for one in inputs if not one.is_video]
    if videos and find_spec("av") is None:
        raise InvalidArgument(
            f"{videos[0].path} needs PyAV; expected it by pip install '.[video]' in the source tree"
        )
    outputs.check(inputs, frames=command.formats is not None)
    with closing(_open(command)) as backend:
        threads = min(_MOST_THREADS, cores())
        answers = predict_photographs(photographs, backend, scene, colour, outputs, threads=threads)
        with closing(answers), _bar(len(photographs), "photographs") as bar:
            for answer in answers:
                bar.update()
                yield answer
        if videos:
            yield from _videos(command, videos, backend, scene, colour, outputs)


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
    backend: Backend,
    scene: Scene,
    colour: Colour,
    outputs: Outputs,
) -> Iterator[Written | Failed]:
    from service.predict.videos import VideoOptions, predict_video  # PyAV is an extra

    options = VideoOptions(
        colour=colour,
        smoothing=command.smoothing,
        panel_width=command.video_width,
        frames=command.formats is not None,
    )
    for video in videos:
        with _bar(None, video.path.name) as bar:

            def show(done: int, of: int | None, bar: "tqdm[None]" = bar) -> None:
                bar.total = None if of is None else max(done, of)
                bar.update(done - bar.n)

            answer = predict_video(video, backend, scene, outputs, options, show)
        yield answer


def _bar(total: int | None, what: str) -> "tqdm[None]":
    """Return a progress bar, which shows itself only to a terminal, and not for nothing."""
    return tqdm(total=total, desc=what, unit="", disable=True if total == 0 else None)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `depth-predict`."""
    command = tyro.cli(
        PredictCommand,
        prog="depth-predict",
        description=USAGE,
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    failed: list[Failed] = []
    written = 0
    try:
        for answer in run(command):
            written += isinstance(answer, Written)
            if isinstance(answer, Failed):
                failed.append(answer)
            if command.json:
                print(json.dumps(answer.to_json()), flush=True)
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


if __name__ == "__main__":
    main()
