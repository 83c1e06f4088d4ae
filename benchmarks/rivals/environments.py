"""One virtual environment for each rival, over the packages that our own service runs with.

    python -m benchmarks.rivals.environments [NAME ...]

An environment sees the packages of the interpreter that made it (numpy, OpenCV, torch, OpenVINO: the same
for everyone) behind its own, which hold the rival at a pinned version and whatever that needs otherwise.
What is there already is left alone.
"""

import argparse
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CACHE = ROOT / "cache" / "rivals"
"""Whatever is made on the way; may be removed at any time."""
ENVIRONMENTS = CACHE / "environments"

REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "litserve": ("litserve==0.2.19",),
    "bentoml": ("bentoml==1.4.39",),
    "ray": ("ray[serve]==2.60.0",),
    "mosec": ("mosec==0.9.8",),
    # The wheel carries tritonserver 2.51, whose Python backend needs numpy 1.
    "triton": ("nvidia-pytriton==0.7.0", "numpy==1.26.4"),
}
"""What each rival's environment holds, by its name."""


def interpreter(name: str) -> Path:
    """Return the interpreter that runs a rival: its own, or for `ours` the one that runs this."""
    return Path(sys.executable) if name == "ours" else ENVIRONMENTS / name / "bin" / "python"


def versions(name: str) -> dict[str, str]:
    """Return the versions of what a server runs with, as its own interpreter sees them."""
    packages = [
        requirement.partition("==")[0].partition("[")[0] for requirement in REQUIREMENTS.get(name, ())
    ]
    packages += ["torch", "openvino", "numpy", "opencv-python-headless"]
    program = (
        "import sys; from importlib.metadata import version\n"
        "print(*(f'{name} {version(name)}' for name in dict.fromkeys(sys.argv[1:])), sep='\\n')"
    )
    command = [interpreter(name), "-c", program, *packages]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(line.split(" ", 1) for line in told.splitlines())


def make(name: str) -> None:
    """Create a rival's environment, unless it is there with these very requirements.

    Raises:
        subprocess.CalledProcessError: It cannot be made.
    """
    folder = ENVIRONMENTS / name
    stamp, wanted = folder / "requirements.txt", "\n".join(REQUIREMENTS[name]) + "\n"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"making {folder.relative_to(ROOT)}: {', '.join(REQUIREMENTS[name])}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    library = sysconfig.get_path("purelib", vars={"base": str(folder)})
    # After the rival's own packages, so that what it pins comes first; pip counts these as installed, too.
    behind = [path for path in sys.path if path.endswith("-packages")]
    Path(library, "behind.pth").write_text("".join(f"{path}\n" for path in [*behind, ROOT]))
    subprocess.run(
        [
            interpreter(name),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            *REQUIREMENTS[name],
        ],
        check=True,
    )
    stamp.write_text(wanted)


def main() -> None:
    """Make the environments that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(REQUIREMENTS))
    for name in parser.parse_args().names or REQUIREMENTS:
        make(name)
        print(name, *(f"{package} {version}" for package, version in versions(name).items()), sep="  ")


if __name__ == "__main__":
    main()
