import httpx
import pytest

from service.transports.auth import ApiKey, Keyring, hash_key
from tests.service.echo import EchoEngine
from tests.service.opened import http_client, http_server, make_frontend

KEYRING = [ApiKey(name="ann", digest=hash_key("right"), images_per_s=0.5, burst=2.0)]


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"x-api-key": "wrong"}])
@pytest.mark.parametrize("path", ["/v1/depth", "/v1/depth/batch", "/v1/nothing", "/v1/docs"])
async def test_without_a_valid_key_nothing_is_answered(path: str, headers: dict[str, str]) -> None:
    async with http_client(make_frontend(EchoEngine(), Keyring(KEYRING))) as client:
        response = await client.post(path, content=b"photo", headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert "wrong" not in response.text


@pytest.mark.parametrize("headers", [{"authorization": "Bearer right"}, {"x-api-key": "right"}])
async def test_a_valid_key_opens_the_transport(headers: dict[str, str]) -> None:
    async with http_client(make_frontend(EchoEngine(), Keyring(KEYRING))) as client:
        assert (await client.post("/v1/depth", content=b"photo", headers=headers)).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/docs", "/openapi.json"])
async def test_health_figures_and_documents_need_no_key(path: str) -> None:
    async with http_client(make_frontend(EchoEngine(), Keyring(KEYRING))) as client:
        assert (await client.get(path)).status_code == 200


async def test_a_key_over_its_rate_is_told_when_to_come_again() -> None:
    headers = {"authorization": "Bearer right"}
    async with http_client(make_frontend(EchoEngine(), Keyring(KEYRING))) as client:
        answers = [await client.post("/v1/depth", content=b"photo", headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["error"]["code"] == "rate_limited"
    assert answers[2].headers["retry-after"] == "2"


async def test_a_batch_counts_as_many_images_as_it_brings() -> None:
    headers = {"authorization": "Bearer right"}
    files = [("image", ("p", b"photo"))] * 2
    async with http_client(make_frontend(EchoEngine(), Keyring(KEYRING))) as client:
        assert (await client.post("/v1/depth/batch", files=files, headers=headers)).status_code == 200
        assert (await client.post("/v1/depth", content=b"photo", headers=headers)).status_code == 429


async def test_a_line_is_logged_with_the_request_and_never_the_key_or_the_query(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    async with http_client(make_frontend(EchoEngine(), Keyring(KEYRING))) as client:
        await client.post("/v1/depth?format=npy", content=b"photo", headers={"x-api-key": "right"})
    (line,) = [record for record in caplog.records if record.name == "service.access"]
    assert line.getMessage() == "POST /v1/depth 200"
    assert line.caller == "ann"
    assert line.duration_ms >= 0
    ours = [record for record in caplog.records if record.name.startswith("service")]
    everything = " ".join(str(vars(record)) for record in ours)
    assert "right" not in everything
    assert "npy" not in everything


async def test_a_closing_service_tells_clients_to_close_too() -> None:
    frontend = make_frontend(EchoEngine())
    async with http_client(frontend) as client:
        assert "connection" not in (await client.post("/v1/depth", content=b"photo")).headers
        frontend.closing = True
        last = await client.post("/v1/depth", content=b"photo")
        assert last.status_code == 200
        assert last.headers["connection"] == "close"


async def test_refusals_at_the_transport_are_counted_by_their_reason() -> None:
    frontend = make_frontend(EchoEngine(), Keyring(KEYRING))
    async with http_client(frontend) as client:
        await client.post("/v1/depth", content=b"photo")
        for _ in range(4):
            await client.post("/v1/depth", content=b"photo", headers={"x-api-key": "right"})
        await client.post("/v1/depth/batch", content=b"photo", headers={"x-api-key": "right"})
        assert "depth_requests_rejected_total{" in (await client.get("/metrics")).text
    for reason, count in (("unauthenticated", 1), ("rate_limited", 2), ("unsupported_media_type", 1)):
        counted = {"transport": "http", "reason": reason}
        assert frontend.metrics.registry.get_sample_value("depth_requests_rejected_total", counted) == count


@pytest.mark.parametrize("verb", ["predict", "explain"])
async def test_who_speaks_kserve_s_first_protocol_is_told_where_to_go(verb: str) -> None:
    async with http_client(make_frontend(EchoEngine())) as client:
        answer = await client.post(f"/v1/models/student:{verb}", json={"instances": [1]})
    assert answer.status_code == 404
    assert "POST /v1/depth" in answer.json()["error"]["message"]
    assert "/v2/models/student/infer" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path", ["/", "/livez", "/readyz", "/metrics", "/v1/models", "/docs", "/v2", "/nowhere"]
)
async def test_head_is_answered_as_get_is_without_a_body(path: str) -> None:
    async with (
        http_server(make_frontend(EchoEngine())) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        head, get = await client.head(path), await client.get(path)
    assert head.status_code == get.status_code
    assert head.headers["content-type"] == get.headers["content-type"]
    assert (head.content, bool(get.content)) == (b"", True)
