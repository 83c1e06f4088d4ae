from service.auth import ApiKey, Keyring, hash_key
from service.errors import Overloaded
from tests.service.echo import EchoEngine
from tests.service.opened import http_client, make_doors

PAGE = "https://maps.example"
WISH = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}


async def test_no_page_of_another_origin_may_ask_unless_it_is_named() -> None:
    async with http_client(make_doors(EchoEngine())) as client:
        assert (await client.options("/v1/depth", headers=WISH)).status_code != 200
        answer = await client.post("/v1/depth", content=b"photo", headers={"origin": PAGE})
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_a_named_origin_may_ask_without_a_key_whether_it_may_ask_with_one() -> None:
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("right"))])
    async with http_client(make_doors(EchoEngine(), keyring, cors_origins=[PAGE])) as client:
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
    async with http_client(make_doors(engine, cors_origins=["*"])) as client:
        answer = await client.post("/v1/depth", content=b"photo", headers={"origin": PAGE})
        engine.error = Overloaded("full", retry_after_s=2.0)
        busy = await client.post("/v1/depth", content=b"photo", headers={"origin": PAGE})
    readable = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert {name for name in answer.headers if name.startswith("x-depth-")} <= readable
    assert {"server-timing", "x-request-id", "retry-after"} <= readable
    assert busy.status_code == 429
    assert busy.headers["access-control-allow-origin"] == "*"
