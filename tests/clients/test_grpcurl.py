"""grpcurl, which knows nothing of our contract but what reflection tells it."""

import base64
import json
import subprocess
from pathlib import Path

import httpx

from service.transports.auth import hash_key
from tests.certificates import Authority
from tests.clients.pictures import green, metres
from tests.clients.places import program
from tests.e2e.process import ECHO, Process, running

INVALID_ARGUMENT, DEADLINE_EXCEEDED, UNAUTHENTICATED = 64 + 3, 64 + 4, 64 + 16
"""grpcurl's exit statuses: 64 and the code of gRPC."""
SHOWN = [(7, 15), (8, 31), (9, 63)]
"""The ids of a stream's frames, and how green they are."""


def grpcurl(
    port: int, call: str, *options: object, said: str = "", way: tuple[object, ...] = ("-plaintext",)
) -> subprocess.CompletedProcess[str]:
    """Run it against a port, with what it reads from its input; answer how it ended."""
    command = [program("grpcurl"), "-max-time", 60, *way, *options, f"127.0.0.1:{port}", *call.split()]
    return subprocess.run(
        list(map(str, command)), input=said, capture_output=True, text=True, check=False, timeout=100
    )


def answers(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    """Read the messages that it printed, one after the other."""
    assert done.returncode == 0, done.stderr
    decoder, rest, found = json.JSONDecoder(), done.stdout.strip(), []
    while rest:
        message, end = decoder.raw_decode(rest)
        found.append(message)
        rest = rest[end:].strip()
    return found


def question(image: bytes, **options: object) -> str:
    return json.dumps({"image": base64.b64encode(image).decode(), "options": options})


def test_reflection_lists_and_describes_what_can_be_called(service: Process) -> None:
    listed = grpcurl(service.grpc_port, "list").stdout.split()
    assert {"depth.v1.Depth", "inference.GRPCInferenceService", "grpc.health.v1.Health"} <= set(listed)
    methods = grpcurl(service.grpc_port, "list depth.v1.Depth").stdout.split()
    assert methods == ["depth.v1.Depth.ListModels", "depth.v1.Depth.Predict", "depth.v1.Depth.Stream"]
    for name in listed:
        assert grpcurl(service.grpc_port, f"describe {name}").returncode == 0, name
    described = grpcurl(service.grpc_port, "describe depth.v1.Frame").stdout
    assert "uint64 id = 1;" in described


def test_a_photograph_is_answered_with_the_bytes_that_http_answers(service: Process) -> None:
    image = green(63)
    asked = question(image, format="FORMAT_FLOAT16")
    [answer] = answers(grpcurl(service.grpc_port, "depth.v1.Depth/Predict", "-d", "@", said=asked))
    over_http = httpx.post(f"{service.url}/v1/depth?format=float16", content=image)
    assert base64.b64decode(answer["data"]) == over_http.content
    assert (answer["unit"], answer["minimum"]) == ("UNIT_METRE", metres(63))


def test_a_stream_is_answered_frame_by_frame(service: Process) -> None:
    frames = [{"id": number, "image": base64.b64encode(green(level)).decode()} for number, level in SHOWN]
    messages = [{"config": {"options": {"size": "SIZE_MODEL"}}}, *({"frame": frame} for frame in frames)]
    said = "\n".join(map(json.dumps, messages))
    got = answers(grpcurl(service.grpc_port, "depth.v1.Depth/Stream", "-d", "@", said=said))
    assert [int(answer["frame_id"]) for answer in got] == [number for number, _ in SHOWN]
    assert [answer["depth"]["minimum"] for answer in got] == [metres(level) for _, level in SHOWN]


def test_health_and_models_are_told(service: Process) -> None:
    health = answers(grpcurl(service.grpc_port, "grpc.health.v1.Health/Check"))
    assert health == [{"status": "SERVING"}]
    [said] = answers(grpcurl(service.grpc_port, "depth.v1.Depth/ListModels"))
    assert [model["name"] for model in said["models"]] == ["student"]


def test_an_error_comes_with_its_reason_and_its_request(service: Process) -> None:
    asked = question(b"no picture")
    done = grpcurl(service.grpc_port, "depth.v1.Depth/Predict", "-v", "-d", "@", said=asked)
    assert done.returncode == INVALID_ARGUMENT
    assert "no image that we read" in done.stderr
    assert "x-request-id: " in done.stdout


def test_the_open_inference_protocol_is_called_too(service: Process) -> None:
    [ready] = answers(grpcurl(service.grpc_port, "inference.GRPCInferenceService/ServerReady"))
    assert ready == {"ready": True}


def test_over_tls_it_is_asked_for_its_key_and_reflection_is_not(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.sign("server")
    keys = tmp_path / "keys.txt"
    keys.write_text(f"ann {hash_key('right')}\n")
    secured = {"DEPTH_TLS_CERT": certificate, "DEPTH_TLS_KEY": key, "DEPTH_API_KEYS": keys}
    with running(ECHO, **secured) as process:
        way = ("-cacert", authority.certificate)
        assert "depth.v1.Depth" in grpcurl(process.grpc_port, "list", way=way).stdout
        call, asked = "depth.v1.Depth/Predict", question(b"photo")
        refused = grpcurl(process.grpc_port, call, "-d", "@", said=asked, way=way)
        assert refused.returncode == UNAUTHENTICATED
        known = ("-H", "authorization: Bearer right", "-d", "@")
        [answer] = answers(grpcurl(process.grpc_port, call, *known, said=asked, way=way))
        assert base64.b64decode(answer["data"]) == b"photo|png16|input"


def test_its_deadline_is_kept(service: Process) -> None:
    """Whoever watches health watches for ever, unless a deadline ends it."""
    done = grpcurl(service.grpc_port, "grpc.health.v1.Health/Watch", "-max-time", 2)
    assert done.returncode == DEADLINE_EXCEEDED
    assert '"SERVING"' in done.stdout
