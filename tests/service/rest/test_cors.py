import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from service.contract.errors import Overloaded
from service.transports.auth import ApiKey, Keyring, hash_key
from tests.service.echo import EchoEngine
from tests.service.opened import http_client, http_server, make_frontend

PAGE = "https://maps.example"
WISH = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}


async def test_no_page_of_another_origin_may_ask_unless_it_is_named() -> None:
    async with http_client(make_frontend(EchoEngine())) as client:
        assert (await client.options("/v1/depth", headers=WISH)).status_code != 200
        answer = await client.post("/v1/depth", content=b"photo", headers={"origin": PAGE})
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_a_named_origin_may_ask_without_a_key_whether_it_may_ask_with_one() -> None:
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("right"))])
    async with http_client(make_frontend(EchoEngine(), keyring, cors_origins=[PAGE])) as client:
        leave = await client.options("/v1/depth", headers=WISH)
        other = await client.options("/v1/depth", headers={**WISH, "origin": "https://other.example"})
        refused = await client.post("/v1/depth", content=b"photo", headers={"origin": PAGE})
    assert leave.status_code == 200
    assert leave.headers["access-control-allow-origin"] == PAGE
    assert other.status_code == 400
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == PAGE


async def test_a_named_origin_s_pages_may_read_what_answers_say_of_themselves() -> None:
    engine = EchoEngine()
    async with http_client(make_frontend(engine, cors_origins=["*"])) as client:
        answer = await client.post("/v1/depth", content=b"photo", headers={"origin": PAGE})
        engine.error = Overloaded("full", retry_after_s=2.0)
        busy = await client.post("/v1/depth", content=b"photo", headers={"origin": PAGE})
    readable = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert {name for name in answer.headers if name.startswith("x-depth-")} <= readable
    assert {"server-timing", "x-request-id", "retry-after"} <= readable
    assert busy.status_code == 429
    assert busy.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("origin", "named", "opens"),
    [
        (None, (), True),
        ("{own}", (), True),
        (PAGE, (), False),
        (PAGE, (PAGE,), True),
        (PAGE, ("*",), True),
        ("https://other.example", (PAGE,), False),
        ("null", (), False),
    ],
)
async def test_a_stream_opens_for_its_own_page_and_named_origins(
    origin: str | None, named: tuple[str, ...], opens: bool
) -> None:
    async with http_server(make_frontend(EchoEngine(), cors_origins=named)) as port:
        said = None if origin is None else origin.format(own=f"http://127.0.0.1:{port}")
        url = f"ws://127.0.0.1:{port}/v1/stream"
        if opens:
            async with connect(url, origin=said) as stream:
                await stream.send(b"photo")
                assert '"frame":0' in await stream.recv()
        else:
            with pytest.raises(InvalidStatus) as refused:
                await connect(url, origin=said)
            assert refused.value.response.status_code == 403
            assert b"DEPTH_CORS_ORIGINS" in refused.value.response.body


async def test_pages_may_send_the_protocol_v2_s_binary_tensors_and_read_where_depth_begins() -> None:
    header = "Inference-Header-Content-Length"
    wish = {**WISH, "access-control-request-headers": f"content-type,{header.lower()}"}
    async with http_client(make_frontend(EchoEngine(), cors_origins=[PAGE])) as client:
        assert (await client.options("/v2/models/echo/infer", headers=wish)).status_code == 200
        answer = await client.get("/v2", headers={"origin": PAGE})
    assert header in answer.headers["access-control-expose-headers"]


async def test_a_public_page_that_is_named_may_reach_a_service_in_a_private_network() -> None:
    wish = {**WISH, "access-control-request-private-network": "true"}
    async with http_client(make_frontend(EchoEngine(), cors_origins=[PAGE])) as client:
        leave = await client.options("/v1/depth", headers=wish)
        other = await client.options("/v1/depth", headers={**wish, "origin": "https://other.example"})
    assert leave.headers["access-control-allow-private-network"] == "true"
    assert other.status_code == 400
