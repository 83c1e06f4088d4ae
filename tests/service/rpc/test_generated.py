import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
GENERATED = Path("service/rpc/pb")


def test_the_checked_in_code_is_what_proto_generates(tmp_path: Path) -> None:
    protos = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "proto").glob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", "-Iservice/rpc/pb=proto"]
    command += [f"--{kind}_out={tmp_path}" for kind in ("python", "grpc_python")]
    command += [f"--{kind}_out=quiet:{tmp_path}" for kind in ("mypy", "mypy_grpc")]
    # The plugins for mypy lie beside the interpreter, which need not be on the path.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run([*command, *protos], cwd=ROOT, env={**os.environ, "PATH": path}, check=True)
    made = {file.name: file.read_text() for file in (tmp_path / GENERATED).iterdir()}
    kept = {file.name: file.read_text() for file in (ROOT / GENERATED).glob("*_pb2*") if file.is_file()}
    assert made.keys() == kept.keys()
    for name, text in made.items():
        assert kept[name] == text, f"{name} is stale: run `make proto`"
