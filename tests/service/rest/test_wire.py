"""What only a real connection shows: slow, rude, oversized and vanished clients."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from service.transports.frontend import Frontend
from tests.service.echo import EchoEngine
from tests.service.opened import http_server, make_frontend

HEAD = b"POST /v1/depth HTTP/1.1\r\nhost: depth\r\n"


@asynccontextmanager
async def connection(frontend: Frontend) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with http_server(frontend) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout(30):
                yield reader, writer
        finally:
            writer.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


async def test_a_connection_answers_one_request_after_another() -> None:
    async with connection(make_frontend(EchoEngine())) as (reader, writer):
        for body in (b"one", b"two"):
            writer.write(HEAD + b"content-length: 3\r\n\r\n" + body)
            status, _, answered = await answer(reader)
            assert (status, answered) == (200, body + b"|png16|input")


async def test_a_body_that_says_that_it_is_too_large_is_refused_unread() -> None:
    engine = EchoEngine()
    async with connection(make_frontend(engine, max_body_bytes=100)) as (reader, writer):
        writer.write(HEAD + b"content-length: 101\r\n\r\n")
        status, headers, body = await answer(reader)
        assert status == 413
        assert headers["connection"] == "close"
        assert json.loads(body)["error"]["code"] == "request_entity_too_large"
    assert engine.requests == []


async def test_a_body_that_turns_out_too_large_is_refused_while_it_comes() -> None:
    async with connection(make_frontend(EchoEngine(), max_body_bytes=100)) as (reader, writer):
        writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        for _ in range(3):
            writer.write(b"28\r\n" + b"x" * 40 + b"\r\n")
        assert (await answer(reader))[0] == 413


async def test_a_client_that_sends_all_before_it_listens_still_hears_that_it_was_too_much() -> None:
    async with (
        http_server(make_frontend(EchoEngine(), max_body_bytes=1000)) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        response = await client.post("/v1/depth", content=b"x" * 5_000_000)
    assert response.status_code == 413


async def test_a_body_at_the_bound_is_taken() -> None:
    async with connection(make_frontend(EchoEngine(), max_body_bytes=100)) as (reader, writer):
        writer.write(HEAD + b"content-length: 100\r\n\r\n" + b"x" * 100)
        assert (await answer(reader))[0] == 200


async def test_a_body_that_stalls_times_out() -> None:
    frontend = make_frontend(EchoEngine(), body_timeout_s=0.05)
    async with connection(frontend) as (reader, writer):
        writer.write(HEAD + b"content-length: 100\r\n\r\nxxx")
        status, headers, _ = await answer(reader)
        assert (status, headers["connection"]) == (408, "close")
    assert frontend.budget.held_bytes == 0


async def test_bodies_together_have_a_bound_and_give_back_what_they_held() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    frontend = make_frontend(engine, max_bodies_bytes=250)
    async with (
        http_server(frontend) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        first = asyncio.ensure_future(client.post("/v1/depth", content=b"x" * 100))
        await engine.until_in_flight(1)
        refused = await client.post("/v1/depth", content=b"x" * 100)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        engine.gate.set()
        assert (await first).status_code == 200
        assert (await client.post("/v1/depth", content=b"x" * 100)).status_code == 200
    assert frontend.budget.held_bytes == 0
    counted = {"transport": "http", "reason": "too_many_bytes"}
    assert frontend.metrics.registry.get_sample_value("depth_requests_rejected_total", counted) == 1


async def test_answers_that_nobody_reads_have_a_bound_together() -> None:
    frontend = make_frontend(EchoEngine(), max_answers_bytes=80_000_000)
    body = b"x" * 30_000_000  # which the engine sends back: more than sockets hold
    async with (
        http_server(frontend) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
        asyncio.timeout(30),
    ):
        async with client.stream("POST", "/v1/depth", content=body) as unread:
            assert unread.status_code == 200
            refused = await client.post("/v1/depth", content=body)
            assert refused.status_code == 429
            assert "waits to be read" in refused.json()["error"]["message"]
            assert len(await unread.aread()) > len(body)
        parts = await client.post("/v1/depth/batch", files=[("image", body), ("image", body)])
        assert parts.status_code == 200
        assert parts.content.count(b"x-depth-status: 200") == parts.content.count(b"x-depth-status: 429") == 1
        assert (await client.post("/v1/depth", content=body)).status_code == 200
    assert frontend.answers.held_bytes == 0
    counted = {"transport": "http", "reason": "too_many_answers"}
    assert frontend.metrics.registry.get_sample_value("depth_requests_rejected_total", counted) == 2


async def test_a_client_that_hangs_up_frees_its_place() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    frontend = make_frontend(engine)
    async with connection(frontend) as (_, writer):
        writer.write(HEAD + b"content-length: 3\r\n\r\none")
        await engine.until_in_flight(1)
        writer.close()
        await engine.until_in_flight(0)
    assert engine.cancelled == 1
    assert frontend.budget.held_bytes == 0


async def test_a_client_that_hangs_up_in_a_batch_frees_all_its_places() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    body = b"".join(b'--x\r\ncontent-disposition: form-data; name="image"\r\n\r\nphoto\r\n' for _ in range(3))
    async with connection(make_frontend(engine)) as (_, writer):
        head = HEAD.replace(b"/v1/depth", b"/v1/depth/batch")
        head += b"content-type: multipart/form-data; boundary=x\r\n"
        body += b"--x--\r\n"
        writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        await engine.until_in_flight(3)
        writer.close()
        await engine.until_in_flight(0)
    assert engine.cancelled == 3


async def test_a_client_that_hangs_up_in_the_middle_of_its_body_costs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    engine = EchoEngine()
    frontend = make_frontend(engine)
    async with connection(frontend) as (_, writer):
        writer.write(HEAD + b"content-length: 100\r\n\r\nxxx")
        await writer.drain()
        while not frontend.budget.held_bytes:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)
        writer.close()
    assert engine.requests == []
    assert frontend.budget.held_bytes == 0
    assert "POST /v1/depth 499" in caplog.messages
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("sent", [b"", b"POST /v1/depth HT", HEAD])
async def test_a_head_that_never_ends_times_out(sent: bytes) -> None:
    async with connection(make_frontend(EchoEngine(), head_timeout_s=0.05)) as (reader, writer):
        writer.write(sent)
        status, headers, _ = await answer(reader)
        assert (status, headers["connection"]) == (408, "close")
        assert await reader.read() == b""


async def test_a_later_head_has_its_own_time() -> None:
    async with connection(make_frontend(EchoEngine(), head_timeout_s=1.0)) as (reader, writer):
        for _ in range(2):  # both within their own time, together beyond one
            await asyncio.sleep(0.55)
            writer.write(HEAD + b"content-length: 3\r\n\r\none")
            assert (await answer(reader))[0] == 200
        writer.write(HEAD)
        assert (await answer(reader))[0] == 408


async def test_the_time_of_a_head_is_not_the_time_of_its_answer() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    async with connection(make_frontend(engine, head_timeout_s=0.03)) as (reader, writer):
        writer.write(HEAD + b"content-length: 3\r\n\r\none")
        await engine.until_in_flight(1)
        await asyncio.sleep(0.06)
        engine.gate.set()
        assert (await answer(reader))[0] == 200


@pytest.mark.parametrize("junk", [b"x-junk: " + b"x" * 5000, b"x-j: x\r\n" * 1000])
async def test_a_head_that_is_too_large_is_refused(junk: bytes) -> None:
    async with connection(make_frontend(EchoEngine(), max_head_bytes=4000)) as (reader, writer):
        writer.write(HEAD + junk)
        status, _, body = await answer(reader)
        assert status == 431
        assert json.loads(body)["error"]["code"] == "request_header_fields_too_large"


async def test_a_large_body_is_not_taken_for_a_large_head() -> None:
    async with connection(make_frontend(EchoEngine(), max_head_bytes=200)) as (reader, writer):
        writer.write(HEAD + b"content-length: 100000\r\n\r\n" + b"x" * 100_000)
        assert (await answer(reader))[0] == 200


async def test_what_is_no_http_is_answered_as_every_other_error() -> None:
    async with connection(make_frontend(EchoEngine())) as (reader, writer):
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        status, headers, body = await answer(reader)
        assert (status, headers["connection"]) == (400, "close")
        assert json.loads(body) == {
            "error": {
                "code": "bad_request",
                "message": "this is not a valid HTTP request",
                "request_id": None,
            }
        }


async def test_an_idle_connection_is_closed_after_a_while() -> None:
    async with connection(make_frontend(EchoEngine(), keep_alive_s=1)) as (reader, writer):
        writer.write(HEAD + b"content-length: 3\r\n\r\none")
        await answer(reader)
        assert await reader.read() == b""


async def test_a_connection_too_many_is_told_to_come_again_and_answers_probes_alone() -> None:
    async with connection(make_frontend(EchoEngine(), max_connections=1)) as (_, writer):
        port = writer.get_extra_info("peername")[1]
        for path, expected in (("/v1/models", 503), ("/livez", 200), ("/metrics?x=1", 200), ("/docs", 503)):
            reader, second = await asyncio.open_connection("127.0.0.1", port)
            second.write(f"GET {path} HTTP/1.1\r\nhost: depth\r\n\r\n".encode())
            status, headers, _ = await answer(reader)
            assert (status, headers["connection"]) == (expected, "close")
            assert headers.get("retry-after") == (None if status == 200 else "1")
            second.close()


@pytest.mark.parametrize("offer", [b"h2c", b"TLS/1.3", b"websocket2, h2c"])
async def test_a_body_behind_an_offer_to_upgrade_is_read_and_the_offer_ignored(offer: bytes) -> None:
    """curl --http2, and Java's HttpClient, offer HTTP/2 so with every request."""
    sent = (
        HEAD
        + b"Connection: Upgrade, HTTP2-Settings\r\nUPGRADE: "
        + offer
        + b"\r\nHTTP2-Settings: AAMAAABk\r\n"
    )
    sent += b"content-length: 5\r\n\r\nphoto"
    async with connection(make_frontend(EchoEngine())) as (reader, writer):
        writer.write(sent)
        assert (await answer(reader))[2] == b"photo|png16|input"
        for place in range(len(sent)):  # however the network cuts it
            writer.write(sent[place : place + 1])
            await asyncio.sleep(0)
        assert (await answer(reader))[2] == b"photo|png16|input"


async def test_what_only_looks_like_an_offer_is_left_where_it_is() -> None:
    for odd in (b"upgrade: h2c\r\n" + HEAD + b"\r\n", HEAD + b"x: \r\n upgrade: h2c\r\n\r\n"):
        async with connection(make_frontend(EchoEngine())) as (reader, writer):
            writer.write(odd)
            assert (await answer(reader))[0] == 400


async def test_curl_s_offer_of_http_2_is_ignored(tmp_path: Path) -> None:
    if not shutil.which("curl"):
        pytest.skip("needs curl")
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"photo" * 1000)
    async with http_server(make_frontend(EchoEngine())) as port:
        curl = (
            "curl",
            "-sS",
            "--fail",
            "--http2",
            "--data-binary",
            f"@{photo}",
            f"http://127.0.0.1:{port}/v1/depth",
        )
        ran = await asyncio.create_subprocess_exec(*curl, stdout=asyncio.subprocess.PIPE)
        said, _ = await ran.communicate()
    assert said == photo.read_bytes() + b"|png16|input"
