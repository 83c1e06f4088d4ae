"""The exports of checkpoints for OpenVINO: beside the checkpoint, in the cache, or made now.

An export that lies beside its checkpoint is used as it is, so that where torch is not installed it need not
be. Otherwise a child process, which imports torch and ends, exports the checkpoint once; the export is
cached under the hash of the checkpoint's contents. Everything in the cache has its SHA-256 beside it: what
does not fit is deleted and made again.
"""

import contextlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import openvino

from model.checksums import SUMS_SUFFIX, ChecksumError, check_checksums, write_checksums
from model.exported import ExportDescription
from model.metadata import CheckpointError, contents_sha256, read_metadata
from service.backends.base import BackendError

_log = logging.getLogger(__name__)

_FORMAT = 5
"""Counted up when exports change, so that old ones in the cache are not used."""
_TIMEOUT_S = 600
_EXPORT = """
import ctypes, runpy, signal, sys
if sys.platform == "linux":  # PR_SET_PDEATHSIG: an export ends with the service, even one that was killed
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
runpy.run_module("model.export", run_name="__main__", alter_sys=True)
"""
_NAME = "network.xml"
_SETTING = "set DEPTH_CACHE_DIR to a folder that can be written and has room"


class ExportCache:
    """Where the export of one checkpoint, and what is compiled from it, are kept.

    Args:
        checkpoint: A checkpoint file.
        folder: The cache of all checkpoints; this user's cache folder where None.

    Raises:
        BackendError: The checkpoint cannot be read.
    """

    def __init__(self, checkpoint: Path, folder: Path | None) -> None:
        self._checkpoint = checkpoint
        try:
            self._sha256 = contents_sha256(checkpoint)
        except CheckpointError as error:
            raise BackendError(str(error)) from error
        self._folder = (folder or _user_cache()) / "openvino"
        name = f"{self._sha256[:32]}-{_FORMAT}-{platform.machine()}"
        self._exported = self._folder / "exported" / name
        self._compiled = self._folder / "compiled" / name

    def find_or_make(self, foundation_weights: Path | None) -> Path:
        """Return the `.xml` of an export of the checkpoint.

        Raises:
            BackendError: There is none, and none can be made; the message says why.
        """
        beside = self._checkpoint.with_suffix(".xml")
        if self._is_export(beside):
            return beside
        export = self._exported / _NAME
        try:
            _check_export(export)
        except ChecksumError as error:
            _log.info("an export is made: %s", error)
        else:
            return export
        if find_spec("torch") is None:
            raise BackendError(
                f"{self._checkpoint} has no export beside it, and none can be made here, without torch; "
                f"expected {beside.name} from: "
                f"depth-export {self._checkpoint.name} --format openvino --uint8-input, "
                "or torch here: pip install 'vfm-depth[torch]'"
            )
        try:
            self._exported.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(
                dir=self._exported.parent, prefix=".", suffix=".partial"
            ) as made:
                self._export(Path(made) / _NAME, foundation_weights)
                self._put_in_place(Path(made))
            _check_export(export)
        except (OSError, ChecksumError) as error:
            raise BackendError(
                f"the export of {self._checkpoint} cannot be kept: {error}; {_SETTING}"
            ) from error
        return export

    def compiled(self) -> Path | None:
        """Return the folder of compiled networks, each of which fits its checksum; None if it cannot be."""
        try:
            if self._compiled.exists():
                check_checksums(self._sums, self._compiled_files())
        except ChecksumError as error:
            _log.warning("the network is compiled again: %s", error)
            self.discard_compiled()
        except OSError:
            pass  # the next step says so
        try:
            self._compiled.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            _log.warning("compiled networks are not cached, %s: %s", error, _SETTING)
            return None
        return self._compiled

    def keep_compiled(self) -> None:
        """Note the checksums of what was compiled."""
        if not self._compiled.exists():
            return
        try:
            write_checksums(self._sums, self._compiled_files())
        except OSError as error:
            _log.warning("compiled networks are not cached, %s: %s", error, _SETTING)
            self.discard_compiled()

    def discard_compiled(self) -> None:
        """Delete what was compiled."""
        self._sums.unlink(missing_ok=True)
        shutil.rmtree(self._compiled, ignore_errors=True)

    def discard(self) -> bool:
        """Delete the cached export and what was compiled; return whether there was anything."""
        found = self._exported.exists() or self._compiled.exists()
        shutil.rmtree(self._exported, ignore_errors=True)
        self.discard_compiled()
        return found

    @property
    def _sums(self) -> Path:
        return self._compiled.with_name(self._compiled.name + SUMS_SUFFIX)

    def _compiled_files(self) -> list[Path]:
        return sorted(path for path in self._compiled.rglob("*") if path.is_file())

    def _is_export(self, path: Path) -> bool:
        """Return whether a file is an export of the checkpoint, as the backend feeds it."""
        if not path.exists():
            return False
        try:
            if path.with_suffix(SUMS_SUFFIX).exists():
                _check_export(path)
            description = ExportDescription.of_openvino(openvino.Core().read_model(path))
        except (ChecksumError, RuntimeError, ValueError) as error:
            _log.warning("%s is not used: %s", path, error)
            return False
        if description.golden is None:
            _log.warning("%s is not used: it holds no golden answer; depth-export writes it anew", path)
            return False
        fits = description.checkpoint_sha256 == self._sha256
        if not (fits and description.uint8_input and description.batch is None):
            _log.warning(
                "%s is not used: it is of another checkpoint, or was not made with --uint8-input", path
            )
            return False
        return True

    def _export(self, path: Path, foundation_weights: Path | None) -> None:
        _log.info("exporting %s for OpenVINO, once", self._checkpoint)
        described = read_metadata(self._checkpoint)
        foundation = described.config.foundation
        if foundation is not None and not described.storage.foundation and foundation_weights is None:
            _log.warning(
                "%s needs the weights of %s, which are not in it: they are fetched, unless they were before; "
                "DEPTH_FOUNDATION_WEIGHTS, or --foundation-weights, names a file in place of that",
                self._checkpoint,
                foundation.name,
            )
        command = [sys.executable, "-c", _EXPORT, str(self._checkpoint), "--format", "openvino"]
        command += ["--uint8-input", "--no-check", "--output", str(path)]
        if foundation_weights is not None:
            command += ["--foundation-weights", str(foundation_weights)]
        try:
            done = subprocess.run(  # noqa: S603 - our own module, with paths that the operator set
                command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise BackendError(f"exporting {self._checkpoint} took longer than {_TIMEOUT_S} s") from error
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or [f"the export ended with {done.returncode}"]
            full = shutil.disk_usage(path.parent).free < self._checkpoint.stat().st_size
            raise BackendError(
                f"{self._checkpoint} cannot be exported: {last[0]}{f'; {_SETTING}' if full else ''}"
            )

    def _put_in_place(self, made: Path) -> None:
        """Move a folder to its place in one step; another process that did so meanwhile made the same."""
        with contextlib.suppress(ChecksumError):
            _check_export(self._exported / _NAME)
            return
        shutil.rmtree(self._exported, ignore_errors=True)
        with contextlib.suppress(OSError):  # there is one again: it is checked, too
            made.rename(self._exported)


def _check_export(path: Path) -> None:
    check_checksums(path.with_suffix(SUMS_SUFFIX), [path.with_suffix(".bin"), path])


def _user_cache() -> Path:
    """Return this user's cache folder (XDG Base Directory Specification)."""
    if stated := os.environ.get("XDG_CACHE_HOME"):
        return Path(stated) / "vfm-depth"
    try:
        return Path.home() / ".cache" / "vfm-depth"
    except RuntimeError as error:
        raise BackendError(f"there is no home folder to keep exports in: {_SETTING}") from error
