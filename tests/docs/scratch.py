"""A folder to run a document's commands in: the repository as a reader has it, and pictures of their own."""

import shutil
import sys
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tests.docs.blocks import ROOT
from tests.docs.shell import SCRIPTS

PHOTO = ROOT / "docs" / "pictures" / "street.jpg"
_HIDDEN = {".git", ".venv", "runs", "cache", "build", "dist"}
_FRAMES, _FRAMES_PER_S = 12, 6


def furnish(folder: Path) -> None:
    """Make a folder look like the repository, with `photo.jpg`, `photos/` and `drive.mp4` beside it.

    What lies in the repository is linked, save the checkpoints: commands write beside those.
    """
    folder.mkdir()
    for entry in ROOT.iterdir():
        if entry.name not in _HIDDEN and entry.name != "model":
            (folder / entry.name).symlink_to(entry)
    (folder / "model").mkdir()
    for entry in (ROOT / "model").iterdir():
        if entry.name == "pretrained":
            shutil.copytree(entry, folder / "model" / "pretrained")
        else:
            (folder / "model" / entry.name).symlink_to(entry)
    shutil.copy(PHOTO, folder / "photo.jpg")
    (folder / "photos").mkdir()
    views = _views(_FRAMES)
    for number, view in enumerate(views[:3]):
        Image.fromarray(view).save(folder / "photos" / f"{number}.jpg", quality=90)
    _write_video(folder / "drive.mp4", views)


def install_commands(folder: Path) -> None:
    """Write our commands as pip would, from this tree: what is installed may be older."""
    folder.mkdir()
    for name, target in SCRIPTS.items():
        module, function = target.split(":")
        command = folder / name
        command.write_text(
            f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
        )
        command.chmod(0o755)


def _views(count: int) -> list[np.ndarray]:
    """A camera that turns over one photograph."""
    photo = np.asarray(Image.open(PHOTO).convert("RGB"))
    height, width = (size // 4 * 2 for size in photo.shape[:2])
    return [photo[height // 2 :, 8 * number : 8 * number + width][:height] for number in range(count)]


def _write_video(path: Path, frames: list[np.ndarray]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=_FRAMES_PER_S)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")))
        container.mux(stream.encode())
