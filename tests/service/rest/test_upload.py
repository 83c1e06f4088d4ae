"""What tools and clients send to `/v1/depth`, and what they say that they take."""

import base64
import gzip
import json
import sys
import zlib

import httpx
import pytest

from service.contract.formats import Format
from service.rest.options import accepted_format
from tests.service.echo import EchoEngine
from tests.service.opened import http_client, make_frontend

CLIENTS = {
    "axios, Angular": ("application/json, text/plain, */*", "png16"),
    "curl, fetch, requests": ("*/*", "png16"),
    "a browser's picture": ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "png16"),
    "a browser's page": (
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8",
        "png16",
    ),
    "who writes capitals": ("IMAGE/PNG", "png16"),
    "who has a weight in capitals": ("image/png;Q=0.5, image/jxl;q=1", "jxl"),
    "who reads JPEG XL": ("image/jxl", "jxl"),
    "who would rather have JPEG XL": ("image/jxl, image/*;q=0.8", "jxl"),
    "who takes JSON, or else whatever there is": ("application/json, */*;q=0.1", "json"),
    "who takes bytes": ("application/octet-stream", "float32"),
    "who takes any bytes but PNG": ("image/png;q=0, application/octet-stream;q=0.1", "float32"),
    "who names two": ("application/x-npy, image/png", "npy"),
    "who says nothing": ("", "png16"),
}


@pytest.mark.parametrize(("accept", "format_"), CLIENTS.values(), ids=CLIENTS)
async def test_each_client_gets_what_it_likes_best(accept: str, format_: str) -> None:
    async with http_client(make_frontend(EchoEngine())) as client:
        response = await client.post("/v1/depth", content=b"photo", headers={"accept": accept})
    assert response.status_code == 200, response.text
    assert response.headers["x-depth-format"] == format_


@pytest.mark.parametrize("weight", ["²", "1.5", "-1", "high", "nan", "1e400"])
async def test_a_weight_that_is_none_is_the_client_s_mistake(weight: str) -> None:
    accept = f"image/png;q={weight}".encode()
    async with http_client(make_frontend(EchoEngine())) as client:
        response = await client.post("/v1/depth", content=b"photo", headers={b"accept": accept})
    assert response.status_code == 400
    assert "the weight q in Accept is" in response.json()["error"]["message"]


def test_a_format_whose_package_is_missing_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)  # as if it were not installed
    assert accepted_format("image/jxl, application/json") is Format.JSON


async def answered(body: bytes, **headers: str) -> httpx.Response:
    async with http_client(make_frontend(EchoEngine(), max_body_bytes=4_000_000)) as client:
        return await client.post(
            "/v1/depth", content=body, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )


@pytest.mark.parametrize(
    "content_type",
    ["binary/octet-stream", "IMAGE/JPEG", "image/jpeg; name=x", "Application/Octet-Stream", "image/heic"],
)
async def test_a_bare_image_may_come_under_any_of_these_names(content_type: str) -> None:
    response = await answered(b"photo", content_type=content_type)
    assert response.content == b"photo|png16|input"


PACKERS = {"gzip": gzip.compress, "GZIP": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("encoding", PACKERS)
async def test_a_packed_body_is_unpacked(encoding: str) -> None:
    response = await answered(PACKERS[encoding](b"photo"), content_encoding=encoding)
    assert response.content == b"photo|png16|input"


CUT = gzip.compress(b"photo", mtime=0)[:-3]


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (gzip.compress(bytes(4_000_001), mtime=0), "gzip", 413),
        (CUT, "gzip", 400),
        (b"photo", "gzip", 400),
        (b"photo", "br", 415),
    ],
    ids=["too large", "cut short", "not packed", "brotli"],
)
async def test_a_packed_body_is_bounded_and_whole(body: bytes, encoding: str, status: int) -> None:
    assert (await answered(body, content_encoding=encoding)).status_code == status


PHOTO = base64.b64encode(b"photo").decode()
JSON = {"content_type": "application/json; charset=utf-8", "accept": "application/json, */*"}


@pytest.mark.parametrize(
    "image", [PHOTO, PHOTO.rstrip("="), f"data:image/jpeg;base64,{PHOTO}", f"{PHOTO[:4]}\n{PHOTO[4:]}\n"]
)
async def test_json_brings_an_image_in_base64(image: str) -> None:
    response = await answered(json.dumps({"image": image, "model": "student"}).encode(), **JSON)
    assert response.content == b"photo|png16|input"


async def test_json_brings_options_too_as_numbers_or_texts() -> None:
    engine = EchoEngine()
    said = {"image": PHOTO, "format": "npy", "fov_deg": 70, "near": "1.5", "priority": None, "version": ""}
    async with http_client(make_frontend(engine)) as client:
        response = await client.post("/v1/depth?size=model", json=said)
    assert response.content == b"photo|npy|model"
    (request,) = engine.requests
    assert (request.lens.horizontal_deg, request.colour.near, request.version) == (70.0, 1.5, None)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (b"photo", "no JSON"),
        (b"[]", "no 'image'"),
        (b"{}", "no 'image'"),
        (json.dumps({"image": 7}).encode(), "no 'image'"),
        (json.dumps({"image": "https://somewhere/a.jpg"}).encode(), "never fetched"),
        (json.dumps({"image": "Ünicode"}).encode(), "base64"),
        (json.dumps({"image": ""}).encode(), "an image is empty"),
        (json.dumps({"image": PHOTO, "fov_deg": True}).encode(), "'fov_deg' is 'True'"),
        (json.dumps({"image": PHOTO, "fov_deg": [70]}).encode(), "'fov_deg' is '[70]'"),
        (json.dumps({"image": PHOTO, "fov_deg": 5e-324}).encode(), "from 0.1 to 179"),
        (json.dumps({"image": PHOTO, "exports": "glb"}).encode(), "no option 'exports'"),
        (json.dumps({"image": PHOTO, "known": list(range(200))}).encode(), "too many values"),
        (b"[" * 100_000, "too many values"),
    ],
)
async def test_what_is_wrong_with_json_is_named(said: bytes, named: str) -> None:
    response = await answered(said, **JSON)
    assert response.status_code == 400
    assert named in response.json()["error"]["message"]


@pytest.mark.parametrize("length", [0, 257, 5000])
async def test_a_boundary_of_an_odd_length_is_the_client_s_mistake(length: int) -> None:
    response = await answered(b"x", content_type=f"multipart/form-data; boundary={'x' * length}")
    assert response.status_code == 400
    assert "boundary" in response.json()["error"]["message"]
