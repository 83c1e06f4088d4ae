"""The example for Node, on grpc-js: a client that shares no line with ours or with gRPC's C core."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.clients.pictures import green, metres
from tests.clients.places import node_modules, program
from tests.e2e.process import ECHO, ROOT, Process, running

EXAMPLE = ROOT / "examples" / "node"
GREENS = [15, 31, 63, 127]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example and its contract, installed as its reader has it after `npm ci`."""
    root = tmp_path_factory.mktemp("reader")
    shutil.copytree(EXAMPLE, root / "examples" / "node", ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(ROOT / "proto", root / "proto")
    folder = root / "examples" / "node"
    (folder / "node_modules").symlink_to(node_modules())
    for level in GREENS:
        (folder / f"{level}.png").write_bytes(green(level))
    (folder / "none.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def run(example: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run_node(*words: object, said: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program("node"), *map(str, words)],
            cwd=example, input=said, capture_output=True, text=True, check=False, timeout=100,
        )  # fmt: skip

    return run_node


BEFORE = """
import {{ readFileSync }} from "node:fs";
import {{ DepthError, DepthService }} from "./depth.js";
const service = new DepthService("127.0.0.1:{port}");
const tell = (error) => ({{ name: error.name, status: error.status, message: error.message, requestId: error.requestId, retryAfterS: error.retryAfterS }});
const said = await (async () => {{ {body} }})();
console.log(JSON.stringify(said));
service.close();
"""  # noqa: E501


def evaluated(run: Callable[..., subprocess.CompletedProcess[str]], process: Process, body: str) -> object:
    """Run JavaScript beside the example, as the body of a function; answer what it returns."""
    done = run("--input-type=module", "-", said=BEFORE.format(port=process.grpc_port, body=body))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_photograph_s_depth_is_what_http_answers(run: Callable, service: Process) -> None:
    said = evaluated(run, service, """
        const map = await service.predict(readFileSync("63.png"));
        return { ...map, values: Buffer.from(map.values.buffer).toString("hex") };
    """)  # fmt: skip
    over_http = httpx.post(f"{service.url}/v1/depth?format=float32", content=green(63))
    assert bytes.fromhex(said.pop("values")) == over_http.content
    assert (said["width"], said["height"], said["unit"]) == (48, 32, "metre")
    assert (said["minimum"], said["maximum"]) == (metres(63), metres(63))
    assert said["model"].startswith("student ")
    assert said["requestId"]


def test_a_stream_is_answered_in_order_and_a_bad_frame_harms_no_other(
    run: Callable, service: Process
) -> None:
    said = evaluated(run, service, """
        const answers = [];
        const frames = ["15.png", "none.png", "31.png", "63.png"].map((name) => readFileSync(name));
        for await (const { frame, depth, error } of service.stream(frames, { size: "model", mode: "every" }))
            answers.push([frame, depth?.minimum ?? error.code]);
        return answers;
    """)  # fmt: skip
    assert said == [[0, metres(15)], [1, "invalid_image"], [2, metres(31)], [3, metres(63)]]


def test_a_stream_of_many_frames_asks_for_them_no_faster_than_they_are_answered(
    run: Callable, service: Process
) -> None:
    said = evaluated(run, service, """
        let given = 0, answered = 0, ahead = 0;
        const image = new Uint8Array(Buffer.concat([readFileSync("31.png"), Buffer.alloc(500_000)]));
        function* frames() { for (; given < 300; given += 1) { ahead = Math.max(ahead, given - answered); yield image; } }
        for await (const { depth } of service.stream(frames(), { size: "model" })) answered += depth ? 1 : 0;
        return { given, answered, ahead };
    """)  # noqa: E501  # fmt: skip
    assert (said["given"], said["answered"]) == (300, 300)
    assert said["ahead"] < 100, "transports between us hold some 20 MB: 40 of these frames"


def test_a_stream_that_is_left_ends(run: Callable, service: Process) -> None:
    said = evaluated(run, service, """
        let given = 0;
        async function* frames() { for (;;) { given += 1; yield readFileSync("31.png"); } }
        for await (const { frame } of service.stream(frames(), { size: "model" })) if (frame === 3) break;
        return "left";
    """)  # fmt: skip
    assert said == "left"


def test_health_and_models_are_told(run: Callable, service: Process) -> None:
    said = evaluated(run, service, "return [await service.isServing(), await service.models()];")
    assert said == [True, ["student"]]


def test_an_error_has_its_status_its_reason_and_its_request(run: Callable, service: Process) -> None:
    said = evaluated(run, service, 'return service.predict(readFileSync("none.png")).catch(tell);')
    assert (said["name"], said["status"]) == ("DepthError", "INVALID_ARGUMENT")
    assert "no image that we read" in said["message"]
    assert said["requestId"]


def test_a_deadline_and_a_signal_end_a_call_and_free_its_place(run: Callable) -> None:
    with running(ECHO) as process:
        said = evaluated(run, process, """
            const image = new Uint8Array(1);
            const late = await service.predict(image, { model: "slow", deadlineMs: 300 }).catch(tell);
            const signal = AbortSignal.timeout(300);
            const left = await service.predict(image, { model: "slow", signal }).catch(tell);
            return [late.status, left.name];
        """)  # fmt: skip
        assert said == ["DEADLINE_EXCEEDED", "TimeoutError"]
        for _ in range(100):
            ended = [line for line in process.lines if "Predict" in line["message"]]
            if len(ended) == 2:  # a call is told in the log when it has ended
                break
            time.sleep(0.1)
        assert [line["status"] for line in ended] == ["CANCELLED", "CANCELLED"]


def test_the_program_prints_what_it_is_told_to_look_at(run: Callable, service: Process) -> None:
    done = run("main.js", f"127.0.0.1:{service.grpc_port}", "15.png", "none.png")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith(f"15.png: {metres(15):.2f} to {metres(15):.2f} metre, by student ")
    assert second.startswith("none.png: the bytes are no image that we read")


def test_the_program_says_why_it_was_not_answered(run: Callable) -> None:
    done = run("main.js", "127.0.0.1:1", "15.png")
    assert done.returncode == 1
    assert done.stderr.startswith("UNAVAILABLE: ")


def test_the_program_runs_from_any_folder_and_alone_with_its_contract(
    example: Path, service: Process, tmp_path: Path
) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("main.js", "depth.js", "package.json"):
        shutil.copy(example / name, alone)
    (alone / "node_modules").symlink_to(node_modules())
    photo = shutil.copy(example / "15.png", tmp_path)

    def run_from(folder: Path, program_: Path, *words: object) -> subprocess.CompletedProcess[str]:
        command = [program("node"), program_, f"127.0.0.1:{service.grpc_port}", *map(str, words)]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=100)

    assert run_from(tmp_path, example / "main.js", photo).returncode == 0
    without = run_from(tmp_path, alone / "main.js", photo)
    assert "there is no depth.proto; expected it at" in without.stderr
    shutil.copy(ROOT / "proto" / "depth.proto", alone)
    assert run_from(Path("/"), alone / "main.js", photo).returncode == 0
    missing = run_from(tmp_path, example / "main.js", "nowhere.jpg")
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert "no such file" in missing.stderr
    assert "nowhere.jpg" in missing.stderr


def test_the_example_s_types_agree(example: Path) -> None:
    checked = subprocess.run(
        [program("node"), node_modules() / "typescript" / "bin" / "tsc", "-p", example],
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout
