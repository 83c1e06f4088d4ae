import contextlib
import errno
import logging
import os
import signal
import sys
from importlib.metadata import entry_points

import pytest

from model.commands import LogLines, explain, merged


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["--data", "A", "--data", "B"], ["--data", "A", "B"]),
        (["smoke", "--data", "A", "--steps", "3", "--data=B"], ["smoke", "--data", "A", "B", "--steps", "3"]),
        (["--data_2", "1", "x", "--data-2", "2"], ["--data-2", "1", "x", "2"]),
        (["--near", "-1", "--data", "A"], ["--near", "-1", "--data", "A"]),
        (["--near", "1", "x", "--near", "2"], ["--near", "1", "x", "--near", "2"]),
        (["--data", "A", "--", "--data", "B"], ["--data", "A", "--", "--data", "B"]),
    ],
)
def test_values_that_belong_together_stand_together_and_others_are_left_alone(given, meant):
    assert merged(given, "--data", "--data-2") == meant


def _main(name):
    [command] = [each for each in entry_points(group="console_scripts") if each.name == name]
    return command.load()


@pytest.mark.parametrize(
    "name",
    ["depth-info", "depth-export", "depth-predict", "depth-evaluate", "depth-train", "depth-serve"],
)
def test_a_command_ends_quietly_when_nobody_reads_it(name, monkeypatch, capfd):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as unread:
        monkeypatch.setattr(sys, "stdout", unread)
        monkeypatch.setattr(sys, "argv", [name, "--help"])
        with pytest.raises(SystemExit) as ended:
            _main(name)()
    assert ended.value.code == 128 + signal.SIGPIPE
    assert capfd.readouterr().err == ""


def test_a_log_goes_on_quietly_when_nobody_reads_it(capfd):
    reader, writer = os.pipe()
    os.close(reader)
    with contextlib.suppress(BrokenPipeError), os.fdopen(writer, "w") as unread:
        log = LogLines(unread)
        log.handle(logging.makeLogRecord({"msg": "to nobody"}))
    assert capfd.readouterr().err == ""


def test_a_full_disk_is_called_one():
    assert "x.bin: the disk is full" in explain(OSError(errno.ENOSPC, "No space left on device", "x.bin"))
    assert explain(OSError(errno.EACCES, "Permission denied", "x.bin")) == "x.bin: Permission denied"
