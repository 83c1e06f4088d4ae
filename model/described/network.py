"""What lies between a picture and a described network, and between its outputs and depth: no runtime."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from model.described.description import (
    DescriptionError,
    NetworkDescription,
    SideOutput,
    description_path,
    read_description,
)
from model.described.resampling import resample, resize_map
from model.described.sizes import Frame, frame_of
from model.metadata import DepthScale, read_metadata
from model.view import CheckpointView, Lens, Reading, View, one_line

_MEAN = (123.675, 116.28, 103.53)
"""ImageNet's mean colour, around pictures where the description states none of its own."""
_USUAL = (480, 640)
_FARTHEST_PERCENTILE = 99
Outputs = Mapping[str, np.ndarray]
"""Of one picture, by tensor: maps of (rows, columns), or single numbers."""


_NEEDS_LENS = (
    "this network's metres need a lens: intrinsics, a field of view, a named camera, or a photograph whose "
    "EXIF data names its lens; without one its depth is relative"
)
_AFFINE = (
    "this network knows the inverse of depth up to a factor and a shift only: not even ratios of depth are "
    "right; two known points or more make metres of it"
)


class DescribedNetwork:
    """The steps around a network, as its description has them.

    Args:
        description: What the network needs.

    Raises:
        DescriptionError: By its sizes it could not see a photograph of 640x480 pixels.
    """

    def __init__(self, description: NetworkDescription) -> None:
        self.description = description
        said = description.input
        colours = slice(None, None, -1) if said.colour == "bgr" else slice(None)
        factor = np.float32(said.range / 255)
        mean, std = (np.asarray(values, np.float32) for values in (said.mean, said.std))
        self._colours = colours
        self._gain, self._offset = factor / std, -mean / std
        mean_colour = np.asarray(_MEAN, np.float32)
        if any(said.mean) or description.size.pad == "zero":
            mean_colour = mean / factor  # what becomes 0 in the input
        self._around = mean_colour

        output = description.output
        self.scale = DepthScale(affine=output.unit == "affine")
        if output.unit == "metre":
            self.scale = DepthScale(unit="metre", metres_per_unit=1.0)
        self.licence = one_line(description.licence)
        low, high = output.clamp or (0.0, 0.0)
        self.depth_range = output.min_depth or low, output.max_depth or high
        try:
            self.usual_size = self.size(*_USUAL)
        except ValueError as error:
            raise DescriptionError(f"it refuses photographs of the usual size: {error}") from error

    fractions = False

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width at which it sees a picture of this size, without what is around it.

        Raises:
            ValueError: It is too narrow or too large for the network.
        """
        return self.frame(height, width).inside

    def frame(self, height: int, width: int) -> Frame:
        """Return where a picture of this size lies in the network's input.

        Raises:
            ValueError: It is too narrow or too large for the network.
        """
        return frame_of(self.description.size, height, width)

    def prepare(self, rgb: UInt8[np.ndarray, "rows columns 3"]) -> Float32[np.ndarray, "a b c"]:
        """Return the network's input for one picture, in the layout that it wants.

        Raises:
            ValueError: The picture is too narrow or too large for the network.
        """
        rules = self.description.size
        frame = self.frame(*rgb.shape[:2])
        rows, columns = frame.before
        if rows or columns:
            rgb = self._padded(rgb, rows, columns)
        height, width = frame.content
        shrinks = height * width < rgb.shape[0] * rgb.shape[1]
        pixels = rgb
        if rules.rule == "longest":  # in two steps, each with its kernel
            longest = max(height, width)
            scale = rules.target[0] / max(rgb.shape[:2])
            first = [max(1, round(side * scale)) for side in rgb.shape[:2]]
            pixels = self._resampled(pixels, first[0], first[1], shrinks=scale < 1)
            shrinks = longest < max(first) or min(height, width) < min(first)
        pixels = self._resampled(pixels, height, width, shrinks=shrinks)
        values = pixels.astype(np.float32) * self._gain + self._offset
        if frame.input != frame.content:
            framed = np.empty((*frame.input, 3), np.float32)
            framed[:] = self._around * self._gain + self._offset
            top, left = frame.corner
            framed[top : top + height, left : left + width] = values
            values = framed
        values = values[..., self._colours]
        return np.ascontiguousarray(
            values.transpose(2, 0, 1) if self.description.input.layout == "nchw" else values
        )

    def _resampled(self, pixels: np.ndarray, height: int, width: int, *, shrinks: bool) -> np.ndarray:
        rules = self.description.size
        kernel = rules.down if shrinks else rules.up
        resized = resample(pixels, height, width, kernel, antialias=rules.antialias)
        return np.rint(resized).clip(0, 255) if rules.rounded else resized

    def _padded(self, rgb: np.ndarray, rows: int, columns: int) -> np.ndarray:
        around = ((rows, rows), (columns, columns), (0, 0))
        if self.description.size.pad == "reflect":
            return np.pad(rgb, around, mode="reflect")
        height, width = rgb.shape[:2]
        padded = np.empty((height + 2 * rows, width + 2 * columns, 3), np.uint8)
        padded[:] = np.rint(self._around)
        padded[rows : rows + height, columns : columns + width] = rgb
        return padded

    def read(
        self, output: Outputs, picture: tuple[int, int], height: int, width: int, lens: Lens | None = None
    ) -> Reading:
        """Return the disparity of a picture, at this size, in the unit that its description and lens allow.

        Args:
            output: What the network returned for what `prepare` made of the picture.
            picture: Its height and width as it came, in pixels.
            height: Of the result, in pixels.
            width: Likewise.
            lens: Of the picture as it came; None where nobody knows it.

        Raises:
            ValueError: The output holds NaN or infinity.
        """
        said = self.description.output
        frame = self.frame(*picture)
        values = output[said.tensor] if said.tensor else next(iter(output.values()))
        values = np.asarray(values, np.float32)
        if not np.isfinite(values).all():
            raise ValueError("the network returned NaN or infinity; expected finite numbers")
        restored = self._restored(values, frame, height, width)
        factor, scale, notice = self._metres(output, frame, lens)
        disparity = self._disparity(restored) / np.float32(factor)
        if said.clamp is not None:
            low, high = said.clamp
            bounds = 1 / high, 1 / low if low else np.inf
            # What the authors clamp has a depth, be it the farthest: zero and less become that.
            disparity = disparity.clip(np.float32(bounds[0]), np.float32(bounds[1]))
        disparity[~np.isfinite(disparity)] = np.nan
        np.maximum(disparity, 0, out=disparity)
        self._side_outputs(disparity, output, frame)
        farthest = (self.depth_range[1] or math.inf) if scale.unit == "metre" else math.inf
        return Reading(disparity=disparity, scale=scale, farthest=farthest, notice=notice)

    def confidence(self, output: Outputs, picture: tuple[int, int]) -> Float32[np.ndarray, "_ _"] | None:
        """Return how sure the network is of each pixel of a picture, from 0 to 1; None where it does not say.

        Units of confidence differ from network to network: it is c / (c + m), m being the median of c, or
        m / (c + m) where c is an error (`sense` is `below`).
        """
        said = self.description.confidence
        if said is None:
            return None
        values = np.asarray(output[said.tensor], np.float32)
        values = self._restored(values, self.frame(*picture), *picture).clip(0)
        middle = max(float(np.median(values)), float(np.finfo(np.float32).tiny))
        share: np.ndarray = (values if said.sense == "above" else middle) / (values + np.float32(middle))
        return share

    def _restored(self, values: np.ndarray, frame: Frame, height: int, width: int) -> np.ndarray:
        """Take what surrounds the picture away, and bring the rest to a size."""
        said = self.description.output
        values = np.ascontiguousarray(self._content(values, frame))
        rows, columns = (
            round(before * side / was)
            for before, side, was in zip(frame.before, (height, width), frame.picture, strict=True)
        )
        restored = resize_map(
            values, height + 2 * rows, width + 2 * columns, said.resize, align_corners=said.align_corners
        )
        whole: np.ndarray = restored[rows : rows + height, columns : columns + width]
        return np.array(whole)

    def _content(self, values: np.ndarray, frame: Frame) -> np.ndarray:
        if frame.input == frame.content:
            return values
        down, across = (now / then for now, then in zip(values.shape, frame.input, strict=True))
        top, left = round(frame.corner[0] * down), round(frame.corner[1] * across)
        height, width = (
            max(1, round(side * scale)) for side, scale in zip(frame.content, (down, across), strict=True)
        )
        return values[top : top + height, left : left + width]

    def _disparity(self, values: np.ndarray) -> np.ndarray:
        said = self.description.output
        match said.quantity:
            case "disparity":
                return values
            case "sigmoid":
                farthest, nearest = 1 / (said.max_depth or 1.0), 1 / (said.min_depth or 1.0)
                return values * np.float32(nearest - farthest) + np.float32(farthest)
            case "log-depth":
                decayed: np.ndarray = np.exp(-values)
                return decayed
            case _:
                with np.errstate(divide="ignore"):
                    return np.where(values > 0, 1 / values, np.inf)

    def _metres(self, outputs: Outputs, frame: Frame, lens: Lens | None) -> tuple[float, DepthScale, str]:
        """Return what multiplies depth, what a unit is worth then, and what is lacking."""
        said, focal = self.description.output, self.description.focal
        if said.unit != "metre":
            return said.factor, self.scale, _AFFINE if self.scale.affine else ""
        if focal.rule == "none":
            return said.factor, self.scale, ""
        (height, width), (rows, columns) = frame.picture, frame.inside
        if lens is not None:
            fx, fy = lens.fx_px * columns / width, lens.fy_px * rows / height
            focal_px = {"horizontal": fx, "vertical": fy}.get(focal.rule, (fx + fy) / 2)
            metres = DepthScale(unit="metre", metres_per_unit=1.0, fy_per_height=lens.fy_px / height)
            return said.factor * focal_px / focal.reference, metres, ""
        if focal.field_of_view and focal.field_of_view in outputs:
            half = math.radians(float(np.asarray(outputs[focal.field_of_view]).reshape(-1)[0])) / 2
            if 0.0 < half < math.pi / 2:
                return said.factor * 0.5 * columns / math.tan(half) / focal.reference, self.scale, ""
        return said.factor, DepthScale(), _NEEDS_LENS

    def _side_outputs(self, disparity: np.ndarray, outputs: Outputs, frame: Frame) -> None:
        """Take depth from where the network says that there is none, and fill the sky, in place."""
        for side in (self.description.mask, self.description.confidence):
            if side is not None and side.threshold is not None:
                disparity[~self._speaks(side, outputs, frame, *disparity.shape)] = np.nan
        sky = self.description.sky
        if sky is None or sky.threshold is None:
            return
        speaks = self._speaks(sky, outputs, frame, *disparity.shape)
        rest = disparity[~speaks & (disparity > 0)]
        filled = sky.fill == "farthest" and rest.size > 0
        disparity[speaks] = np.percentile(rest, 100 - _FARTHEST_PERCENTILE) if filled else 0.0

    def _speaks(
        self, side: SideOutput, outputs: Outputs, frame: Frame, height: int, width: int
    ) -> np.ndarray:
        values = np.asarray(outputs[side.tensor], np.float32)
        restored = self._restored(values, frame, height, width)
        threshold = np.float32(0.0 if side.threshold is None else side.threshold)
        speaks: np.ndarray = restored >= threshold if side.sense == "above" else restored < threshold
        return speaks


def view_of(path: Path) -> View:
    """Return how the network of a file sees pictures: of a checkpoint, or of a described network.

    Raises:
        CheckpointError: It is no checkpoint that can be read.
        DescriptionError: It is described wrongly, or not at all.
    """
    if path.suffix == ".safetensors":
        return CheckpointView(read_metadata(path))
    return DescribedNetwork(read_description(description_path(path)))
