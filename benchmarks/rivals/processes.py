"""A server as a tree of processes: started, waited for, its processor time and memory added up, ended.

All of its processes carry a mark in their environment, so that those that left the tree are counted too.
"""

import os
import secrets
import subprocess
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

_MARK = "RIVAL_MARK"
_START_S = 180.0
_STOP_S = 15.0


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What was used up to an instant."""

    processor_s: float
    """Of all of the server's processes."""
    busy_s: float
    """Of every process of the machine."""


class ServerProcesses:
    """All processes of one server."""

    def __init__(self, root: subprocess.Popen[bytes], mark: str) -> None:
        self.root = root
        self._mark = mark

    def members(self) -> list[psutil.Process]:
        """Return those that are alive."""
        return [process for process in psutil.process_iter() if self._owns(process)]

    def usage(self) -> Usage:
        """Add up processor time."""
        seconds = 0.0
        for process in self.members():
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            seconds += times.user + times.system
        all_times = psutil.cpu_times()
        return Usage(
            processor_s=seconds, busy_s=sum(all_times) - all_times.idle - all_times.iowait - all_times.guest
        )

    def memory_bytes(self) -> int:
        """Add up memory; a page that several share counts once (proportional set size)."""
        total = 0
        for process in self.members():
            try:
                total += process.memory_full_info().pss
            except psutil.Error:
                continue
        return total

    def count(self) -> int:
        """Return how many are alive."""
        return len(self.members())

    def stop(self) -> None:
        """Ask the first process to end, and end whatever is left after a while."""
        self.root.terminate()
        try:
            self.root.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.root.kill()
        left = self.members()
        for process in left:
            try:
                process.kill()
            except psutil.Error:
                continue
        psutil.wait_procs(left, timeout=_STOP_S)

    def _owns(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(_MARK) == self._mark
        except psutil.Error:
            return False


@contextmanager
def running(
    command: list[str], environment: dict[str, str], log: Path, folder: Path, answers: Callable[[], bool]
) -> Iterator[ServerProcesses]:
    """Start a server and wait until it answers; stop it in the end.

    Raises:
        RuntimeError: It ended, or did not answer in three minutes; the message holds the end of its log.
    """
    mark = secrets.token_hex(8)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        root = subprocess.Popen(
            command,
            env={**os.environ, **environment, _MARK: mark},
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        server = ServerProcesses(root, mark)
        try:
            _wait(root, answers, log)
            yield server
        finally:
            server.stop()


def _wait(root: subprocess.Popen[bytes], answers: Callable[[], bool], log: Path) -> None:
    ends_s = time.monotonic() + _START_S
    while time.monotonic() < ends_s and root.poll() is None:
        try:
            if answers():
                return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.2)
    tail = log.read_text(errors="replace")[-2000:]
    raise RuntimeError(f"{root.args} did not answer; the end of its log:\n{tail}")
