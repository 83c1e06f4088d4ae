import re

from service.codec.colour import COLOUR_MAPS
from service.contract.options import DepthOptions, DistanceOptions
from service.contract.wire import HEADERS
from service.rest.errors import STATUS
from tests.service.echo import EchoEngine
from tests.service.opened import http_client, make_frontend


async def test_the_documentation_needs_nothing_from_elsewhere() -> None:
    async with http_client(make_frontend(EchoEngine())) as client:
        page = (await client.get("/docs")).text
        assert not re.findall(r"(?:src|href)=.(?:https?:)?//", page)
        local = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert len(local) == 3
        for url in local:
            assert (await client.get(url)).status_code == 200, url
        assert '"validatorUrl": null' in page


SPARSE = ("sparse_depth", "sparse_depth_steps_per_metre")


async def test_it_knows_every_option_of_distances() -> None:
    async with http_client(make_frontend(EchoEngine())) as client:
        call = (await client.get("/openapi.json")).json()["paths"]["/v1/distances"]["post"]
    names = {each["name"] for each in call["parameters"] if each["in"] == "query"}
    assert names == set(DistanceOptions.model_fields)


async def test_it_knows_every_option_and_no_other() -> None:
    async with http_client(make_frontend(EchoEngine())) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    for path, sparse in (("/v1/depth", SPARSE), ("/v1/depth/batch", SPARSE)):
        call = paths[path]["post"]
        assert {each["name"] for each in call["parameters"] if each["in"] == "query"} == set(
            DepthOptions.model_fields
        )
        form = call["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
        assert set(form) == set(DepthOptions.model_fields) | {"image", *sparse}


async def test_it_knows_every_colour_map_and_that_a_batch_does_not_ask_accept() -> None:
    async with http_client(make_frontend(EchoEngine())) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    one, batch = paths["/v1/depth"]["post"], paths["/v1/depth/batch"]["post"]
    told = next(each["description"] for each in one["parameters"] if each["name"] == "colormap")
    assert set(re.findall(r"\w+", told.removeprefix("For `color`: "))) == set(COLOUR_MAPS)
    assert set(one["responses"]) - set(batch["responses"]) == {"406"}


async def test_it_knows_every_header_of_an_answer_and_every_status_of_an_error() -> None:
    async with http_client(make_frontend(EchoEngine())) as client:
        document = (await client.get("/openapi.json")).json()
        answer = await client.post("/v1/depth", content=b"photo")
    ours = {name for name in answer.headers if name.startswith(("x-depth", "x-request", "server-timing"))}
    told = {header.name.lower() for header in HEADERS.values()}
    assert told == ours | {"x-depth-notice", "x-depth-licence"}
    responses = document["paths"]["/v1/depth"]["post"]["responses"]
    assert {name.lower() for name in responses["200"]["headers"]} == told
    assert {str(int(status)) for status in STATUS.values()} <= set(responses)


async def test_it_lists_the_other_routes_too() -> None:
    async with http_client(make_frontend(EchoEngine()), admin_key="master") as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    assert {"/livez", "/readyz", "/metrics", "/v1/models", "/admin/reload"} <= set(paths)
