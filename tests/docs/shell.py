"""The commands in a piece of shell, as far as they can be seen without running it."""

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache

from tests.docs.blocks import ROOT

SCRIPTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
_ENDS = {"|", "||", "&&", ";", "&", "(", ")", "<", ">", ">>", "2>", "|&", "<<<"}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", flags=re.DOTALL)
_LAUNCHERS = {"time", "exec", "sudo", "nice", "env", "nohup"}


def commands(code: str) -> list[list[str]]:
    """Take shell apart into simple commands, without assignments before them.

    Here-documents and substitutions are left as they are: this is for checking options, not for running.
    """
    code = re.sub(r"<<-?\s*'?\"?(\w+)'?\"?.*?^\s*\1$", "", code, flags=re.DOTALL | re.MULTILINE)
    found: list[list[str]] = []
    for line in code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # a quotation over several lines
            continue
        found.append([])
        for word in words:
            if word in _ENDS:
                found.append([])
            elif found[-1] or not (_ASSIGNMENT.fullmatch(word) or word in _LAUNCHERS):
                found[-1].append(word)
    return [command for command in found if command]


def ours(command: list[str]) -> tuple[str, ...] | None:
    """Return how a program of this repository is started, or None where it is somebody else's."""
    name, *rest = command
    name = name.removeprefix(".venv/bin/")
    if name in SCRIPTS:
        module = SCRIPTS[name].split(":")[0]
        recipe = rest[:1] if name == "depth-train" and rest and not rest[0].startswith("-") else []
        return ("-m", module, *recipe)
    if name == "torchrun" and "-m" in rest:
        module, *recipe = rest[rest.index("-m") + 1 :]
        return ("-m", module, *recipe[:1])
    if name in ("python", "python3") and rest[:1] == ["-m"] and len(rest) > 1:
        return ("-m", rest[1]) if _source(rest[1]) else None
    if name in ("python", "python3") and rest and (ROOT / rest[0]).is_file():
        return (rest[0],)
    return None


def options(command: list[str]) -> set[str]:
    """Return the long options of a command, without their values."""
    if command[0] == "torchrun":
        command = command[command.index("-m") :]
    if "--ros-args" in command:  # what follows is for ROS itself
        command = command[: command.index("--ros-args")]
    return {word.split("=")[0] for word in command if word.startswith("--") and word != "--"}


@cache
def help_of(program: tuple[str, ...]) -> str:
    """Return what a program of ours says of itself; empty where it reads no command line."""
    source = _source(program[1]) if program[0] == "-m" else (ROOT / program[0]).read_text()
    # The last two are how a module leads to another one that reads the command line.
    if not {"argparse", "tyro", "runpy", "training.hints.command"} & _imports(source):
        return ""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "500", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, *program, "--help"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def _source(module: str) -> str:
    path = ROOT / module.replace(".", "/")
    for candidate in (path.with_suffix(".py"), path / "__main__.py"):
        if candidate.is_file():
            return candidate.read_text()
    return ""


def _imports(source: str) -> set[str]:
    nodes = list(ast.walk(ast.parse(source)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
