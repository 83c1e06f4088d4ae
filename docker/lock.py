"""Lock what the images install: each package at one version, with the hashes of its files.

    python docker/lock.py           # writes docker/locks/*.txt anew, as new as pyproject.toml allows
    python docker/lock.py --check   # says which of them pyproject.toml would no longer give

It resolves everything together, so that all images agree on versions, and then writes one file a layer. It
needs `uv` and a package index, and does not know Docker.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "docker" / "locks"
EXTRAS = ("training", "export", "tracing", "jxl")
PLATFORM = ("--python-version", "3.13", "--python-platform", "x86_64-manylinux_2_28")
NOT_ON_A_CPU = re.compile(r"(nvidia|cuda)-|(torch|torchvision|triton)$")
"""What torch's CPU build does without, and torch itself, which then comes from an index of its own."""
HEADER = "# Written by docker/lock.py from {sources} and pyproject.toml; not edited by hand.\n"


def pins(lock: Path) -> list[str]:
    """Return what a lock file pins, each as NAME==VERSION, in order."""
    return re.findall(r"^([A-Za-z0-9._-]+==[^ \\\n]+)", lock.read_text(), flags=re.MULTILINE)


def write_all(folder: Path, keep: Iterable[str] = ()) -> None:
    """Write every lock file into a folder.

    Args:
        folder: Where to.
        keep: Pins, NAME==VERSION, that stay unless something else rules them out.
    """
    with tempfile.TemporaryDirectory() as made:
        together = Path(made) / "together.txt"
        together.write_text("".join(f"{pin}\n" for pin in keep))  # uv prefers what the file already says
        wished = ["pyproject.toml", *(f"--extra={extra}" for extra in EXTRAS), "docker/locks/build.in"]
        _resolve(wished, together, LOCKS / "held.in", hashes=False)
        _write(folder / "build.txt", ["build"], together)
        _write(folder / "serving.txt", ["serving"], together)
        # It holds what serving has too: so its layer, the largest, changes only when torch does.
        torch = _write(folder / "torch.txt", ["torch"], together)
        _write(folder / "torch-cpu.txt", ["torch"], together, without=filter(NOT_ON_A_CPU.match, torch))
        _write(folder / "training.txt", ["training", "torch"], together, without=torch)


def _write(lock: Path, sources: list[str], constraint: Path, without: Iterable[str] = ()) -> list[str]:
    """Write one lock file without some packages; return the names of those that it has."""
    left_out = [f"--no-emit-package={name}" for name in without]
    inputs = [f"docker/locks/{source}.in" for source in sources]
    _resolve([*inputs, *left_out], lock, constraint, hashes=True)
    lock.write_text(HEADER.format(sources=" and ".join(inputs)) + lock.read_text())
    return [pin.partition("==")[0] for pin in pins(lock)]


def _resolve(arguments: list[str], output: Path, constraint: Path, *, hashes: bool) -> None:
    command = ["uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", *PLATFORM, *arguments]
    command += ["--constraint", str(constraint), "--output-file", str(output)]
    try:
        subprocess.run([*command, *(["--generate-hashes"] if hashes else [])], cwd=ROOT, check=True)
    except FileNotFoundError:
        sys.exit("lock: there is no `uv`; `pip install uv` brings it")
    except subprocess.CalledProcessError as error:
        sys.exit(f"lock: uv could not resolve {arguments[0]} ({error.returncode}); its reason stands above")


def stale() -> list[str]:
    """Return the lock files that would come out otherwise, were nothing upgraded without need."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_all(folder, keep=sorted({pin for lock in LOCKS.glob("*.txt") for pin in pins(lock)}))
        return [
            lock.name
            for lock in sorted(folder.glob("*.txt"))
            if not (LOCKS / lock.name).exists() or (LOCKS / lock.name).read_text() != lock.read_text()
        ]


def main() -> int:
    """Write the lock files, or compare them; 1 where some are stale."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; say which files are stale")
    if not parser.parse_args().check:
        write_all(LOCKS)
        return 0
    for name in (found := stale()):
        print(f"docker/locks/{name} is stale; python docker/lock.py writes it anew")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
