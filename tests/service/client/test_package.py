import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
MANIFEST = tomllib.loads((ROOT / "service/client/pyproject.toml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_small_package_holds_all_that_the_client_imports() -> None:
    program = (
        "import sys, service.client.grpc_transport, service.client.http_transport;"
        "print(*(module.__file__ for name, module in sys.modules.items() if name.split('.')[0] == 'service'))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    imported = {Path(file).relative_to(ROOT) for file in ran.stdout.split()}
    held = [
        Path(place)
        for place in MANIFEST["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"].values()
    ]
    assert Path("service/client/sync_client.py") in imported
    assert not {file for file in imported if not any(file.is_relative_to(place) for place in held)}
    for source, place in MANIFEST["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"].items():
        assert (ROOT / "service/client" / source).resolve() == ROOT / place


def test_the_small_package_asks_for_the_same_versions_as_the_whole() -> None:
    extras = PROJECT["optional-dependencies"]
    known = {*PROJECT["dependencies"], *(need for needs in extras.values() for need in needs)}
    ours = MANIFEST["project"]
    needs = [
        *ours["dependencies"],
        *(each for extra in ours["optional-dependencies"].values() for each in extra),
    ]
    assert set(needs) <= known
    assert ours["version"] == PROJECT["version"]
