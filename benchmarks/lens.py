"""Metres through each lens, and from what a caller knows, against LiDAR: asked of a running service.

    python benchmarks/lens.py DATA/kitti_odometry/sequences/04 --every 3

Windows of the frames stand for other lenses: a window of 0.6 of both sides is what a lens of 1.67 times the
focal length sees. The folder is a sequence in KITTI odometry's layout with `velodyne_depth/`, which training
must never have seen. What was measured goes to lens.md beside this file.
"""

import datetime
import io
import json
import math
import re
import shlex
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import httpx
import numpy as np
import tyro
from PIL import ExifTags, Image

from benchmarks.machine import processor
from benchmarks.process import serving
from depth_client import (
    CameraHeight,
    DepthClient,
    DepthResult,
    FieldOfView,
    Intrinsics,
    InvalidArgument,
    KnownDistance,
    KnownPoints,
    SparseDepth,
)

WINDOWS = (
    (1.0, 1.0),
    (0.85, 0.85),
    (0.75, 0.75),
    (0.6, 0.6),
    (0.5, 0.5),
    (1.0, 0.75),
    (1.0, 0.6),
    (1.0, 0.5),
)
"""Shares of the height and of the width, about the middle."""
_KITTI_CAMERA_HEIGHT_M = 1.65
GARG = ((0.40810811, 0.99189189), (0.03594771, 0.96405229))
"""Rows and columns that count, as shares of the frame (Garg et al., ECCV 2016)."""
_DRAWS = 3
_WRONG = (3.0, 1 / 3)


@dataclass(frozen=True, kw_only=True)
class LensBenchmark:
    """What is measured."""

    sequence: tyro.conf.Positional[Path]
    """In KITTI odometry's layout, with velodyne_depth."""
    every: int = 3
    """Of so many frames, one is measured."""
    model: Path | None = None
    """The checkpoint; the shipped student where None."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A photograph, its measured depth and its lens."""

    image: np.ndarray
    truth_m: np.ndarray
    counts: np.ndarray
    lens: Intrinsics

    def window(self, down: float, across: float) -> "Frame":
        """Return the window of these shares about the middle, as a longer lens would have seen it."""
        height, width = self.truth_m.shape
        rows, columns = round(height * down), round(width * across)
        top, left = (height - rows) // 2, (width - columns) // 2
        part = (slice(top, top + rows), slice(left, left + columns))
        lens = self.lens
        return Frame(
            image=np.ascontiguousarray(self.image[part]),
            truth_m=self.truth_m[part],
            counts=self.counts[part],
            lens=Intrinsics(
                fx_px=lens.fx_px, fy_px=lens.fy_px, cx_px=lens.cx_px - left, cy_px=lens.cy_px - top
            ),
        )

    def abs_rel(self, depth_m: np.ndarray) -> float:
        """Return the mean relative error of depth; what has none counts as 80 m away."""
        truth, found = self.truth_m[self.counts], np.nan_to_num(depth_m[self.counts], nan=80)
        return float(np.mean(np.abs(np.clip(found, 1e-3, 80) - truth) / truth))

    def ratio(self, depth_m: np.ndarray) -> float:
        """Return the true median over the found one."""
        return float(np.median(self.truth_m[self.counts]) / np.nanmedian(depth_m[self.counts]))


def read_frames(sequence: Path, every: int) -> list[Frame]:
    """Read the frames that are measured."""
    matrix = re.search(r"^P2: (.*)$", (sequence / "calib.txt").read_text(), re.MULTILINE)
    if matrix is None:
        raise SystemExit(f"{sequence}/calib.txt has no P2; expected KITTI odometry's layout")
    p = [float(word) for word in matrix[1].split()]
    lens = Intrinsics(fx_px=p[0], fy_px=p[5], cx_px=p[2] + 0.5, cy_px=p[6] + 0.5)
    frames = []
    for path in sorted((sequence / "image_2").iterdir())[::every]:
        stored = cv2.imread(str(sequence / "velodyne_depth" / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED)
        truth_m = stored / 256.0
        height, width = truth_m.shape
        counts = np.zeros(truth_m.shape, bool)
        (top, bottom), (left, right) = GARG
        counts[int(top * height) : int(bottom * height), int(left * width) : int(right * width)] = True
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        frames.append(
            Frame(image=image, truth_m=truth_m, counts=counts & (truth_m > 1e-3) & (truth_m < 80), lens=lens)
        )
    return frames


def windows(client: DepthClient, frames: Sequence[Frame]) -> Iterator[str]:
    """Yield a row a window."""
    yield "| height | width | true / returned | without a lens | with it | median-scaled | with / median |"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for down, across in WINDOWS:
        rows = []
        for frame in (each.window(down, across) for each in frames):
            plain = client.predict(frame.image).depth
            through = client.predict(frame.image, lens=frame.lens)
            assert through.scale_source == "checkpoint+lens"
            ratio = frame.ratio(plain)
            rows.append(
                (ratio, frame.abs_rel(plain), frame.abs_rel(through.depth), frame.abs_rel(plain * ratio))
            )
        ratio, plain_error, through_error, scaled_error = np.mean(rows, axis=0)
        yield (
            f"| {down:g} | {across:g} | {ratio:.2f} | {plain_error:.3f} | {through_error:.3f} | "
            f"{scaled_error:.3f} | {through_error / scaled_error:.2f} |"
        )


def anchors(client: DepthClient, frames: Sequence[Frame]) -> Iterator[str]:
    """Yield a row for each thing that a caller may know."""
    random = np.random.default_rng(0)

    def points(frame: Frame, count: int, wrong: int = 0) -> KnownPoints:
        row, column = np.nonzero(frame.counts)
        chosen = random.choice(len(row), count, replace=False)
        factors = np.ones(count)
        factors[:wrong] = random.choice(_WRONG, wrong)
        return KnownPoints(
            points=tuple(
                KnownDistance(x_px=x + 0.5, y_px=y + 0.5, distance_m=float(frame.truth_m[y, x] * factor))
                for y, x, factor in zip(row[chosen], column[chosen], factors, strict=True)
            )
        )

    def sparse(frame: Frame) -> SparseDepth:
        stored = np.rint(frame.truth_m * frame.counts * 256).astype(np.uint16)
        return SparseDepth(png=cv2.imencode(".png", stored)[1].tobytes())

    ways = {
        "nothing": lambda frame: {},
        "the lens": lambda frame: {"lens": frame.lens},
        "every LiDAR point": lambda frame: {"anchor": sparse(frame)},
        "100 points": lambda frame: {"anchor": points(frame, 100)},
        "20 points": lambda frame: {"anchor": points(frame, 20)},
        "5 points": lambda frame: {"anchor": points(frame, 5)},
        "5 points, one wrong by 3": lambda frame: {"anchor": points(frame, 5, 1)},
        "1 point": lambda frame: {"anchor": points(frame, 1).points[0]},
        "the camera's height": lambda frame: {
            "lens": frame.lens, "anchor": CameraHeight(height_m=_KITTI_CAMERA_HEIGHT_M)
        },
    }  # fmt: skip
    yield "| known | AbsRel | over all points | uncertainty | within one of it | refused |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    best = math.nan
    for name, known in ways.items():
        errors, uncertainties, near, refused = [], [], [], 0
        for frame in frames:
            for _ in range(_DRAWS if "point" in name and "every" not in name else 1):
                try:
                    result = client.predict(frame.image, **known(frame))
                except InvalidArgument:
                    refused += 1
                    continue
                errors.append(frame.abs_rel(result.depth))
                if result.uncertainty is not None:
                    uncertainties.append(result.uncertainty)
                    near.append(abs(math.log(frame.ratio(result.depth))) < result.uncertainty)
        error = statistics.fmean(errors)
        best = error if name == "every LiDAR point" else best
        spread = f"{statistics.fmean(uncertainties):.3f} | {statistics.fmean(near):.0%}" if near else "- | -"
        share = "-" if math.isnan(best) else f"{error / best:.2f}"
        yield f"| {name} | {error:.3f} | {share} | {spread} | {refused} |"


def lenses(client: DepthClient, frame: Frame) -> Iterator[str]:
    """Yield what must hold exactly."""
    narrow, wide = (
        client.predict(frame.image, lens=FieldOfView(horizontal_deg=deg)).depth for deg in (20, 55)
    )
    expected = math.tan(math.radians(27.5)) / math.tan(math.radians(10))
    off = float(np.abs(narrow / wide / expected - 1).max())
    yield f"- `fov_deg` 20 over 55: the ratio of their focal lengths, {expected:.6f}, to {off:.1e} at worst."
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 1
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 24
    plain, tagged = io.BytesIO(), io.BytesIO()
    Image.fromarray(frame.image).save(plain, "JPEG", quality=95)
    Image.fromarray(frame.image).save(tagged, "JPEG", quality=95, exif=exif)
    by_exif: DepthResult = client.predict(tagged.getvalue())
    if by_exif.intrinsics is None:
        raise RuntimeError("the photograph's EXIF data was not read")
    given = client.predict(plain.getvalue(), lens=by_exif.intrinsics)
    same = np.array_equal(by_exif.depth, given.depth)
    found = "the same bytes" if same else "OTHER BYTES"
    yield f"- A JPEG with a 35 mm focal length (`{by_exif.scale_source}`) and the same lens given: {found}."


def distances(url: str, frame: Frame) -> Iterator[str]:
    """Yield how short distances are."""
    file = cv2.imencode(".jpg", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))[1].tobytes()
    boxes = json.dumps([[40 * index + 20, 150, 40 * index + 90, 300] for index in range(20)])
    answer = httpx.post(
        f"{url}/v1/distances", params={**asdict(frame.lens), "boxes": boxes}, content=file, timeout=60
    )
    answer.raise_for_status()
    yield f"- Distances to 20 boxes, with their places in space: {len(answer.content)} bytes."


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the table."""
    command = tyro.cli(LensBenchmark, args=arguments, description=__doc__)
    frames = read_frames(command.sequence, command.every)
    settings = {} if command.model is None else {"models": command.model}
    with (
        serving(**settings) as service,
        DepthClient(f"grpc://127.0.0.1:{service.grpc_port}", timeout_s=120) as client,
    ):
        info = next(each for each in client.models() if each.default)
        parts = {
            "Windows of other lenses": list(windows(client, frames)),
            "What the caller knows": list(anchors(client, frames)),
            "Exact": [
                *lenses(client, frames[0]),
                *distances(f"http://127.0.0.1:{service.http_port}", frames[0]),
            ],
        }
    asked = shlex.join(["python", "benchmarks/lens.py", *(sys.argv[1:] if arguments is None else arguments)])
    asked = asked.replace(str(command.sequence), f".../{'/'.join(command.sequence.parts[-3:])}")
    text = [
        "# Metres through any lens, and from what is known",
        "",
        f"`{asked}`, {datetime.datetime.now(datetime.UTC).date()}, {processor()}. {len(frames)} frames, "
        f"model `{info.name}`, asked of a running service over gRPC. "
        "AbsRel against LiDAR below 80 m, in Garg's crop; a pixel without depth counts as 80 m.",
    ]
    for title, lines in parts.items():
        text += ["", f"## {title}", "", *lines]
    print("\n".join(text))
    if command.model is None:
        Path(__file__).with_suffix(".md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
