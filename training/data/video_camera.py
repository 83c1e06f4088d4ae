"""The camera of a video: as given, as a calibration says, or as points that move through frames tell."""

import logging
import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from jaxtyping import Float32

from training.data.frames import NOT_RESIZED, Frame, MaskFile
from training.data.layout import Findings
from training.data.lens import Lens, LensError, read_lens
from training.data.self_calibration import focal_per_width
from training.data.video_config import VideoConfig

_log = logging.getLogger(__name__)

START_FOV_DEG = 60.0
"""Where learned intrinsics start of which the frames tell nothing: between a phone held upright and a dash
camera."""
_WINDOWS, _WINDOW_FRAMES = 10, 5
"""Of frames by which a camera is calibrated before it is learned."""
_OFF_MIDDLE = 0.25
"""How far, in widths and heights, a principal point that is given may lie off the middle."""


def intrinsics_of(config: VideoConfig, height: int, width: int) -> Float32[np.ndarray, "3 3"]:
    """Return what is known about the camera, or the guess, with pixel centres at +0.5."""
    if config.focal_px is not None:
        focal_x, focal_y = config.focal_px
    else:
        fov_deg = START_FOV_DEG if config.fov_deg is None else config.fov_deg
        focal_x = focal_y = width / 2 / math.tan(math.radians(fov_deg) / 2)
    if config.principal_px is None:
        centre_x, centre_y = width / 2, height / 2
    else:
        centre_x, centre_y = config.principal_px[0] + 0.5, config.principal_px[1] + 0.5
    return np.array([[focal_x, 0, centre_x], [0, focal_y, centre_y], [0, 0, 1]], np.float32)


def lens_of(config: VideoConfig, size: tuple[int, int], findings: Findings) -> Lens | None:
    """Return the calibrated lens of a video whose frames have a height and a width; None without one."""
    path, (height, width) = config.calibration, size
    if path is None or not findings.has_file(path, "a lens's calibration"):
        return None
    try:
        lens = read_lens(path, config.calibration_camera)
    except LensError as error:
        findings.add(path, str(error))
        return None
    same = (lens.height, lens.width) == (height, width)
    in_shape = abs(lens.height * width / (lens.width * height) - 1) < 0.01
    if same and config.resized:
        findings.add(config.path, NOT_RESIZED)
    if not same and not (config.resized and in_shape):
        findings.add(
            path,
            f"is of {lens.width}x{lens.height} pixels, but frames have {width}x{height}; expected the "
            "same, or resized=yes where whole frames were resized in their shape",
        )
    return lens


def frame_intrinsics(
    config: VideoConfig, lens: Lens | None, whole: tuple[int, int], size: tuple[int, int], findings: Findings
) -> Float32[np.ndarray, "3 3"]:
    """Return what is known about the camera for frames as they are read, after their rows were cut.

    Args:
        config: What is given.
        lens: A calibrated one; None without.
        whole: Height and width to which all that is given refers.
        size: Of the frames' files.
        findings: Told of a principal point that cannot be meant.
    """
    height, width = size
    if lens is not None:
        matrix = lens.intrinsics(height, width)
    else:
        matrix = intrinsics_of(config, *whole)
        x, y = float(matrix[0, 2]) / whole[1], float(matrix[1, 2]) / whole[0]
        if max(abs(x - 0.5), abs(y - 0.5)) > _OFF_MIDDLE:
            findings.add(
                config.path,
                f"has frames of {whole[1]}x{whole[0]} pixels, but principal_px is {config.principal_px}, far "
                "from their middle; expected it, and focal_px, in pixels of these frames",
            )
        matrix = np.diag([width / whole[1], height / whole[0], 1]).astype(np.float32) @ matrix
    matrix[1, 2] -= round(height * config.kept[0])
    return matrix


def calibrated(
    config: VideoConfig,
    guess: Float32[np.ndarray, "3 3"],
    frames: Sequence[Frame],
    stretches: Sequence[int],
    mask: MaskFile | None,
) -> Float32[np.ndarray, "3 3"]:
    """Return intrinsics with the focal length by which points move through frames, or the guess.

    Args:
        config: Of the video.
        guess: In pixels of the frames.
        frames: In their order.
        stretches: Of each; where the number changes, a frame does not follow on the one before.
        mask: Where frames are looked at; None: everywhere.
    """
    windows = [
        [cv2.cvtColor(frame.read(), cv2.COLOR_RGB2GRAY) for frame in frames[start : start + _WINDOW_FRAMES]]
        for start in _starts(stretches)
    ]
    focal = None
    if windows:
        shown = None if mask is None else mask.read(*windows[0][0].shape)
        focal = focal_per_width(windows, (float(guess[0, 2]), float(guess[1, 2])), shown)
    if focal is None:
        _log.warning(
            "%s: points do not tell its lens by how they move, as the camera hardly turns; learning starts "
            "at %g degrees. fov_deg beside learn_intrinsics gives a better start",
            config.path, START_FOV_DEG,
        )  # fmt: skip
        return guess
    fov_deg = 2 * math.degrees(math.atan(0.5 / focal))
    _log.info(
        "%s: points tell a horizontal field of view of %.1f degrees by how they move", config.path, fov_deg
    )
    matrix = guess.copy()
    matrix[0, 0] = matrix[1, 1] = focal * windows[0][0].shape[1]
    return matrix


def _starts(stretches: Sequence[int]) -> Iterator[int]:
    """Yield where windows begin: evenly over all places from which enough frames follow one another."""
    places = [
        start
        for start in range(len(stretches) - _WINDOW_FRAMES + 1)
        if stretches[start] == stretches[start + _WINDOW_FRAMES - 1]
    ]
    count = min(_WINDOWS, len(places))
    yield from (places[round(at)] for at in np.linspace(0, len(places) - 1, count))
