"""Cameras that an operator has calibrated and named: lens, distortion and height, from the files of others.

A file of cameras maps names to calibrations, each as OpenCV, Kalibr or ROS writes it: in place, or in a
`file` of its own, and beside it `height_m`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from service.contract.errors import InvalidArgument
from service.contract.request import Intrinsics

Distortion = Literal["none", "radial", "fisheye"]
_MODELS: Mapping[str, Distortion] = {
    "none": "none",
    "": "radial",
    "plumb_bob": "radial",
    "rational_polynomial": "radial",
    "radtan": "radial",
    "equidistant": "fisheye",
    "fisheye": "fisheye",
}
"""By the names of ROS and Kalibr. OpenCV's radial model has up to 14 coefficients."""
_COUNTS: Mapping[Distortion, tuple[int, ...]] = {
    "none": (0,),
    "radial": (0, 4, 5, 8, 12, 14),
    "fisheye": (4,),
}
_OWN = frozenset(("file", "camera", "height_m"))
_CENTRE_PX = 0.5
"""Calibrations count pixel centres from 0, and the service from 0.5."""
_SAME_SHAPE = 0.01


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A calibrated camera."""

    name: str
    width: int
    """Of the pictures that it was calibrated with, in pixels."""
    height: int
    intrinsics: Intrinsics
    """Of the raw picture."""
    distortion: Distortion = "none"
    coefficients: tuple[float, ...] = ()
    """As OpenCV orders them."""
    height_m: float | None = None
    """Over flat ground."""

    @property
    def distorts(self) -> bool:
        """Whether its raw pictures differ from rectified ones."""
        return any(self.coefficients)

    def intrinsics_of(self, height: int, width: int) -> Intrinsics:
        """Return the raw intrinsics of a picture of another size.

        Raises:
            InvalidArgument: The picture has another shape.
        """
        across, down = width / self.width, height / self.height
        if abs(across / down - 1) > _SAME_SHAPE:
            raise InvalidArgument(
                f"the picture has {width}x{height} pixels, and camera {self.name!r} is calibrated for "
                f"{self.width}x{self.height}; expected a picture of that shape"
            )
        known = self.intrinsics
        return Intrinsics(
            fx_px=known.fx_px * across,
            fy_px=known.fy_px * down,
            cx_px=known.cx_px * across,
            cy_px=known.cy_px * down,
        )


class CamerasError(ValueError):
    """A file of cameras that cannot be used; the text says which, where and why."""


class _Loader(yaml.SafeLoader):
    """YAML without code, and with the one tag that OpenCV writes."""


def _opencv_matrix(loader: _Loader, node: Any) -> dict[Any, Any]:
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:opencv-matrix", _opencv_matrix)


def read_cameras(path: Path) -> Mapping[str, Camera]:
    """Read a file of cameras, by their names.

    A calibration by itself is a file of cameras, too: its cameras have Kalibr's names or the one that ROS
    notes; of OpenCV's, the file's.

    Raises:
        CamerasError: It cannot be used.
    """
    content = _load(path)
    if _is_calibration(content):
        name = str(content.get("camera_name") or path.stem)
        return {name: _camera(name, content, path)}
    cameras = {}
    for name, entry in content.items():
        if not isinstance(entry, dict):
            raise CamerasError(f"{path}: {name} is {str(entry)[:40]!r}; expected a camera's calibration")
        cameras[str(name)] = _named(str(name), entry, path)
    if not cameras:
        raise CamerasError(f"{path} has no cameras; expected NAME: and a calibration")
    return cameras


def _named(name: str, entry: Mapping[str, Any], path: Path) -> Camera:
    if "file" not in entry:
        return _camera(name, entry, path)
    beside = path.parent / str(entry["file"])
    if strange := sorted(set(entry) - _OWN):
        raise CamerasError(f"{path}: {name} has {strange[0]!r} beside file; expected camera or height_m")
    content = _load(beside)
    if not _is_calibration(content):
        names = [str(each) for each, value in content.items() if isinstance(value, dict)]
        wanted = str(entry.get("camera", names[0] if len(names) == 1 else ""))
        if wanted not in names:
            raise CamerasError(f"{beside}: {name} needs `camera`, one of {', '.join(names) or 'none'}")
        content = content[wanted]
    return _camera(name, {**content, **{key: entry[key] for key in ("height_m",) if key in entry}}, beside)


def _load(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
        content = yaml.load(text.removeprefix("%YAML:1.0"), _Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        problem = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise CamerasError(f"{path} cannot be read ({problem}); expected YAML") from None
    if not isinstance(content, dict):
        raise CamerasError(f"{path} holds {type(content).__name__}; expected cameras by their names")
    return content


def _is_calibration(content: Mapping[str, Any]) -> bool:
    return bool({"camera_matrix", "intrinsics"} & set(content))


def _camera(name: str, entry: Mapping[str, Any], path: Path) -> Camera:
    try:
        return _kalibr(name, entry) if "intrinsics" in entry else _matrix(name, entry)
    except KeyError as error:
        raise CamerasError(f"{path}: {name} lacks {error}") from None
    except (TypeError, ValueError, IndexError, InvalidArgument) as error:
        raise CamerasError(f"{path}: {name} cannot be used: {error}") from None


def _kalibr(name: str, entry: Mapping[str, Any]) -> Camera:
    model = str(entry.get("camera_model", "pinhole"))
    if model != "pinhole":
        raise ValueError(f"camera_model is {model!r}; expected pinhole")
    width, height = entry["resolution"]
    return _checked(
        name, entry, (width, height), [float(each) for each in entry["intrinsics"]],
        str(entry.get("distortion_model", "none")), entry.get("distortion_coeffs", ()),
    )  # fmt: skip


def _matrix(name: str, entry: Mapping[str, Any]) -> Camera:
    """Read what OpenCV and ROS write; they differ in the names of the size and of the distortion."""
    k = _numbers(entry["camera_matrix"])
    coefficients = _numbers(entry.get("distortion_coefficients", entry.get("dist_coeffs", ())))
    model = str(entry.get("distortion_model", "fisheye" if entry.get("fisheye_model") else ""))
    size = (entry["image_width"], entry["image_height"])
    return _checked(name, entry, size, [k[0], k[4], k[2], k[5]], model, coefficients)


def _numbers(value: Any) -> list[float]:
    """Return a matrix of ROS or OpenCV, or plain rows, as one list."""
    if isinstance(value, Mapping):
        value = value["data"]
    flat = [each for row in value for each in (row if isinstance(row, list) else [row])]
    return [float(each) for each in flat]


def _checked(
    name: str, entry: Mapping[str, Any], size: tuple[Any, Any], lens: list[float], model: str, raw: Any
) -> Camera:
    if model not in _MODELS:
        known = ", ".join(each for each in _MODELS if each)
        raise ValueError(f"its distortion model is {model!r}; expected one of {known}")
    distortion, coefficients = _MODELS[model], tuple(float(each) for each in raw)
    if len(coefficients) not in _COUNTS[distortion]:
        raise ValueError(
            f"it has {len(coefficients)} distortion coefficients; expected one of {_COUNTS[distortion]}"
        )
    width, height = (int(each) for each in size)
    if min(width, height) < 1:
        raise ValueError(f"its pictures have {width}x{height} pixels; expected at least one")
    fx, fy, cx, cy = lens
    height_m = entry.get("height_m")
    if height_m is not None and not 0 < float(height_m) < 1e6:
        raise ValueError(f"height_m is {height_m}; expected metres above 0")
    return Camera(
        name=name,
        width=width,
        height=height,
        intrinsics=Intrinsics(fx_px=fx, fy_px=fy, cx_px=cx + _CENTRE_PX, cy_px=cy + _CENTRE_PX),
        distortion=distortion,
        coefficients=coefficients,
        height_m=None if height_m is None else float(height_m),
    )
