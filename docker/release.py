"""What a release hands out: a wheel that comes out the same each time, and a bill of materials an image.

    python docker/release.py wheel     # dist/*.whl, built twice and compared
    python docker/release.py sbom      # dist/sbom/*.cdx.json, in CycloneDX, from docker/locks
    python docker/release.py audit     # asks what is known against docker/locks, over the network

It needs what the extra `release` installs, and does not know Docker: `sbom` names what an image gets from the
locks, and not the packages of its Debian.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
LOCKS = ROOT / "docker" / "locks"
IMAGES = {
    "service-cpu": ("serving",),
    "service-gpu": ("serving", "torch"),
    "training": ("torch", "training"),
}
"""Which locks each image is made of."""
_PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==[^\n]*(?:\n    --hash=[^\n]*)+", flags=re.MULTILINE)


def build_wheel(folder: Path) -> Path:
    """Build the wheel from what git has, elsewhere, with every time in it that of the last commit."""
    with tempfile.TemporaryDirectory() as made:
        source = Path(made) / "source"
        source.mkdir()
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", source], input=archive, check=True)
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(Path(made) / "dist")]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": _last_commit(), "PYTHONPATH": ""}
        subprocess.run(command, cwd=source, env=environment, check=True, capture_output=True)
        [wheel] = (Path(made) / "dist").glob("*.whl")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / wheel.name).write_bytes(wheel.read_bytes())
        return folder / wheel.name


def _last_commit() -> str:
    command = ["git", "log", "-1", "--format=%ct"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def make_wheel() -> int:
    """Build the wheel twice and compare; 1 where the two differ."""
    with tempfile.TemporaryDirectory() as made:
        first, again = build_wheel(DIST), build_wheel(Path(made))
        digests = [hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in (first, again)]
    if len(set(digests)) > 1:
        print(f"{first.name} came out differently: {digests[0]} and {digests[1]}", file=sys.stderr)
        return 1
    print(f"{digests[0]}  {first.relative_to(ROOT)}")
    return 0


def requirements(image: str) -> str:
    """Return everything that an image installs, each package once."""
    found: dict[str, str] = {}
    for lock in IMAGES[image]:
        for match in _PINNED.finditer((LOCKS / f"{lock}.txt").read_text()):
            found.setdefault(match["name"], match[0])
    return "\n".join(found[name] for name in sorted(found)) + "\n"


def make_sboms(folder: Path) -> list[Path]:
    """Write a CycloneDX bill of materials for each image; the same locks give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for image in IMAGES:
        path = folder / f"{image}.cdx.json"
        command = [_tool("cyclonedx-py"), "requirements", "--output-reproducible", "--of", "JSON"]
        command += ["--pyproject", str(ROOT / "pyproject.toml"), "-o", str(path), "-"]
        subprocess.run(command, input=requirements(image), text=True, check=True, capture_output=True)
        written.append(path)
    return written


def audit() -> int:
    """Ask about known vulnerabilities of everything that is locked; 1 where there are some."""
    worst = 0
    for image in IMAGES:
        with tempfile.TemporaryDirectory() as made:
            (file := Path(made) / "requirements.txt").write_text(requirements(image))
            print(f"{image}:", flush=True)
            command = [_tool("pip-audit"), "--strict", "--no-deps", "--disable-pip", "-r", str(file)]
            worst = max(worst, subprocess.run(command, check=False).returncode)
    return worst


def _tool(name: str) -> str:
    """Return a program that was installed beside this Python."""
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        raise SystemExit(f"release: {name} is not installed; `pip install '.[release]'` brings it")
    return str(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("wheel", "sbom", "audit"))
    what = parser.parse_args(arguments).what
    if what == "sbom":
        for path in make_sboms(DIST / "sbom"):
            print(path.relative_to(ROOT))
        return 0
    return make_wheel() if what == "wheel" else audit()


if __name__ == "__main__":
    sys.exit(main())
