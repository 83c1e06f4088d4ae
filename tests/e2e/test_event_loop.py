"""No request stops the event loop: a corpus of those that cost a sender little, through every transport."""

import gzip
import json
import re
import socket
from collections.abc import Callable, Iterator, Mapping

import grpc
import httpx
import pytest

from tests.e2e.process import SERVE, Process, running
from tests.service.checkpoints import write_checkpoint
from tests.service.test_connections import UPGRADE, frame

pytestmark = pytest.mark.timeout(300)

MOST_S = 0.1
TRIES = 6
"""A stop of our own making comes every time; one that a busy machine makes does not."""
MIB = 2**20
INFER = "/v2/models/student/infer"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("models")
    write_checkpoint(folder / "student.safetensors")
    with running(SERVE, DEPTH_MODELS=folder, DEPTH_BACKEND="simulated") as started:
        yield started


def stops(process: Process) -> int:
    """How often the loop has stopped for longer than it may."""
    text = httpx.get(f"{process.url}/metrics", timeout=60).text
    counts = [
        float(re.search(rf"^depth_event_loop_stall_seconds_{name} (\S+)$", text, re.MULTILINE)[1])
        for name in ("count", rf'bucket{{le="{MOST_S}"}}')
    ]
    return int(counts[0] - counts[1])


def until_rested(process: Process, send: Callable[[], object]) -> int:
    """Send; wait until the service is done with it; return how often the loop stopped too long."""
    before = stops(process)
    send()
    return stops(process) - before


def packed(data: bytes) -> tuple[bytes, Mapping[str, str]]:
    return gzip.compress(data, 6), {"content-encoding": "gzip"}


def inputs(data: str, shape: str = "[1]") -> bytes:
    one = f'{{"name":"rgb_uint8","datatype":"UINT8","shape":{shape},"data":{data}}}'
    return f'{{"inputs":[{one}]}}'.encode()


def parameters(count: int) -> str:
    return ",".join(f'"p{number}":0' for number in range(count))


JSON = {
    "a list of numbers": inputs("[" + "1," * (2 * MIB) + "1]"),
    "as many numbers as there may be": inputs("[" + "1," * 261_000 + "1]", "[1,290,300,3]"),
    "empty lists": inputs("[" + "[]," * MIB + "[]]"),
    "empty inputs": b'{"inputs":[' + b"{}," * MIB + b"{}]}",
    "outputs": b'{"inputs":[{}],"outputs":[' + b"{}," * MIB + b"{}]}",
    "parameters": f'{{"inputs":[],"parameters":{{{parameters(200_000)}}}}}'.encode(),
    "a deep nest": b"[" * MIB,
    "one long text": b'{"id":"' + b"x" * (4 * MIB - 100) + b'"}',
    "one long number": b'{"id":' + b"1" * (4 * MIB - 100) + b"}",
    "nothing but brackets": b"[{" * MIB,
    "nothing but quotes": b'"",' * MIB,
    "base64": b'{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":["%b"]}]}'
    % (b"A" * 4 * (MIB - 99)),
    "much base64": b'{"inputs":[{"name":"image","datatype":"BYTES","shape":[9],"data":[%b""]}]}'
    % (b'"AAAA",' * 100_000),
    "a text among numbers": inputs('["' + "x" * MIB + '"' + ",1" * 200_000 + "]"),
}


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("name", JSON)
def test_json_does_not_stop_the_loop(process: Process, name: str, compressed: bool) -> None:
    body, headers = packed(JSON[name]) if compressed else (JSON[name], {})
    hold(process, lambda: post(process, INFER, body, headers))


def test_empty_files_of_a_tensor_do_not_stop_the_loop(process: Process) -> None:
    raw = bytes(8 * MIB)  # two million lengths of 0
    said = {
        "inputs": [
            {
                "name": "image",
                "datatype": "BYTES",
                "shape": [1],
                "parameters": {"binary_data_size": len(raw)},
            }
        ]
    }
    head = json.dumps(said).encode()
    body, headers = packed(head + raw)
    length = {"inference-header-content-length": str(len(head))}
    hold(process, lambda: post(process, INFER, body, {**headers, **length}))
    hold(process, lambda: post(process, INFER, head + raw, length))


FORM = b'--b\r\ncontent-disposition: form-data; name="x"\r\n\r\n'
FORMS = {
    "parts": FORM * 50_000 + b"--b--\r\n",
    "headers of a part": b"--b\r\n" + b"a: b\r\n" * 500_000,
    "line ends": FORM + b"\r\n" * (4 * MIB) + b"--b--\r\n",
    "half boundaries": FORM + b"\r\n--" * (2 * MIB) + b"--b--\r\n",
}


@pytest.mark.parametrize("name", FORMS)
def test_forms_do_not_stop_the_loop(process: Process, name: str) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b"}
    hold(process, lambda: post(process, "/v1/depth/batch", FORMS[name], headers))


POST = b"POST /v1/depth HTTP/1.1\r\nhost: depth\r\n"
HTTP = {
    "headers": POST + b"a:b\r\n" * 200_000,
    "options": b"POST /v1/depth?"
    + b"a=1&" * 15_000
    + b" HTTP/1.1\r\nhost: depth\r\ncontent-length: 1\r\n\r\nx",
    "chunks of one byte": POST + b"transfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 200_000,
    "trailers": POST + b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"a:b\r\n" * 200_000,
    "requests": b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n" * 5_000,
    "blank lines": b"\r\n" * 500_000,
    "no http": bytes(range(256)) * 4096,
    "pings": UPGRADE + b"\r\n" + frame(b"", 0x89) * 80_000,
    "pieces of a message": UPGRADE + b"\r\n" + frame(b"x", 0x02) + frame(b"", 0x00) * 80_000,
    "empty frames": UPGRADE + b"\r\n" + frame(b"") * 8_000,
    "a large frame": UPGRADE + b"\r\n" + frame(bytes(32 * MIB)),
}


@pytest.mark.parametrize("name", HTTP)
def test_what_connections_bring_does_not_stop_the_loop(process: Process, name: str) -> None:
    hold(process, lambda: throw(process.http_port, HTTP[name]))


def field(number: int, data: bytes) -> bytes:
    """A field of a message, by its number."""
    size, count = b"", len(data)
    while count >= 0x80:
        size += bytes((count & 0x7F | 0x80,))
        count >>= 7
    return bytes((number << 3 | 2,)) + size + bytes((count,)) + data


def one_input(contents: bytes) -> bytes:
    return field(5, field(1, b"rgb_uint8") + field(2, b"UINT8") + field(3, b"\1\1\1\3") + field(5, contents))


MESSAGES = {
    "empty inputs": b"\x2a\0" * (4 * MIB),
    "empty outputs": b"\x32\0" * (4 * MIB),
    "empty parameters": b"\x22\0" * (4 * MIB),
    "empty contents": b"\x3a\0" * (4 * MIB),
    "fields that nobody knows": b"\x98\x06\0" * (2 * MIB),
    "numbers": one_input(field(4, b"\1" * (16 * MIB))),
    "as many numbers as there may be": one_input(field(4, b"\1" * 262_144)),
    "numbers one by one": one_input(b"\x20\1" * (4 * MIB)),
    "files": field(5, field(1, b"image") + field(2, b"BYTES") + field(5, b"\x42\0" * (4 * MIB))),
    "groups": b"\xfb\x3e" * (2 * MIB),
    "no message": b"\xff" * (4 * MIB),
    "one large file": field(7, bytes(8 * MIB)),
}
CALLS = (
    "/inference.GRPCInferenceService/ModelInfer",
    "/depth.v1.Depth/Predict",
    "/grpc.health.v1.Health/Check",
)
STREAMS = ("/inference.GRPCInferenceService/ModelStreamInfer", "/depth.v1.Depth/Stream")


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_do_not_stop_the_loop(process: Process, name: str) -> None:
    hold(process, lambda: call_all(process.grpc_port, MESSAGES[name]))


def call_all(port: int, message: bytes) -> None:
    options = (("grpc.max_send_message_length", -1),)
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        codes = [channel.unary_unary(path).with_call for path in CALLS]
        ended = {code_of(lambda ask=ask: ask(message, timeout=60)) for ask in codes}
        streams = [channel.stream_stream(path) for path in STREAMS]
        ended |= {code_of(lambda ask=ask: list(ask(iter([message]), timeout=60))) for ask in streams}
    assert ended <= {
        grpc.StatusCode.OK,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }


def code_of(call: Callable[[], object]) -> grpc.StatusCode:
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def post(process: Process, path: str, body: bytes, headers: Mapping[str, str]) -> None:
    answer = httpx.post(f"{process.url}{path}", content=body, headers=dict(headers), timeout=60)
    assert answer.status_code < 500


def throw(port: int, data: bytes) -> None:
    """Send, for as long as the service takes it."""
    with socket.create_connection(("127.0.0.1", port), timeout=3) as client:
        try:
            client.sendall(data)
            client.settimeout(0.5)
            while client.recv(65_536):
                pass
        except OSError:
            return


def hold(process: Process, send: Callable[[], object]) -> None:
    """Check that the loop went on in one try at least, and that no error was logged."""
    found = []
    for _ in range(TRIES):
        found.append(until_rested(process, send))
        if not found[-1]:
            break
    assert 0 in found
    assert [line for line in process.lines if line["level"] not in ("info", "debug", "warning")] == []
