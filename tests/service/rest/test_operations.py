import pytest

from tests.service.echo import EchoEngine
from tests.service.opened import http_client, make_frontend


async def test_a_process_lives_until_only_a_new_one_helps() -> None:
    engine = EchoEngine()
    async with http_client(make_frontend(engine)) as client:
        assert (await client.get("/livez")).status_code == 200
        engine.live = False
        assert (await client.get("/livez")).status_code == 503


async def test_it_is_ready_when_its_engine_is_and_it_does_not_close() -> None:
    engine = EchoEngine()
    frontend = make_frontend(engine)
    async with http_client(frontend) as client:
        assert (await client.get("/readyz")).status_code == 200
        engine.ready = False
        refused = await client.get("/readyz")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        engine.ready = True
        frontend.closing = True
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/livez")).status_code == 200


async def test_the_models_are_listed() -> None:
    async with http_client(make_frontend(EchoEngine())) as client:
        (model,) = (await client.get("/v1/models")).json()["models"]
    assert (model["name"], model["version"], model["state"], model["default"]) == ("echo", "1", "ready", True)
    assert (model["height"], model["width"], model["unit"]) == (192, 640, "metre")


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [("", "text/plain"), ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text")],
)
async def test_the_figures_are_shown_in_the_format_that_is_asked_for(accept: str, content_type: str) -> None:
    frontend = make_frontend(EchoEngine())
    frontend.metrics.requests_cancelled.labels("http").inc(3)
    async with http_client(frontend) as client:
        response = await client.get("/metrics", headers={"accept": accept})
    assert response.headers["content-type"].startswith(content_type)
    assert 'depth_requests_cancelled_total{transport="http"} 3.0' in response.text
