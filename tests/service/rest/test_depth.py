import asyncio
import time
from email import message_from_bytes
from email.message import Message

import httpx
import pytest

from service.contract.errors import DeadlineExceeded, InvalidImage, NotReady, Overloaded, UnknownModel
from service.contract.request import CameraHeight, Colour, FieldOfView, Format, Intrinsics, KnownDistance
from tests.service.echo import EchoEngine
from tests.service.opened import http_client, make_frontend

JPEG = {"content-type": "image/jpeg"}


async def post(engine: EchoEngine, url: str = "/v1/depth", **request: object) -> httpx.Response:
    async with http_client(make_frontend(engine)) as client:
        return await client.post(url, **{"content": b"photo", "headers": JPEG, **request})


async def asked(query: str) -> object:
    engine = EchoEngine()
    response = await post(engine, f"/v1/depth?{query}")
    assert response.status_code == 200, response.text
    return engine.requests[0]


def error_of(response: httpx.Response) -> tuple[int, str]:
    error = response.json()["error"]
    assert set(error) == {"code", "message", "request_id"}
    assert error["request_id"] == response.headers["x-request-id"]
    return response.status_code, error["code"]


async def test_an_image_is_answered_with_its_map_and_all_that_is_needed_to_read_it() -> None:
    response = await post(EchoEngine())
    assert response.content == b"photo|png16|input"
    assert response.headers["content-length"] == str(len(response.content))
    told = {
        name: value for name, value in response.headers.items() if name.startswith(("x-depth", "server-t"))
    }
    assert told == {
        "x-depth-format": "png16",
        "x-depth-width": "1242",
        "x-depth-height": "375",
        "x-depth-dtype": "<u2",
        "x-depth-scale": "0.00390625",
        "x-depth-scale-source": "checkpoint",
        "x-depth-unit": "metre",
        "x-depth-min": "2",
        "x-depth-max": "2",
        "x-depth-invalid": "0",
        "x-depth-intrinsics": "none",
        "x-depth-fy-per-height": "none",
        "x-depth-uncertainty": "none",
        "x-depth-rectified": "none",
        "x-depth-fit": "none",
        "x-depth-ground": "none",
        "x-depth-model": "echo",
        "x-depth-model-version": "1",
        "x-depth-batch-size": "1",
        "server-timing": "decode;dur=1.000, queue;dur=2.000, predict;dur=3.000, encode;dur=4.000,"
        " total;dur=10.000",
    }


async def test_the_query_says_how_depth_is_wanted() -> None:
    request = await asked("format=npy&size=model&model=student&version=7&priority=-2")
    assert (request.format, request.size) == (Format.NPY, "model")
    assert (request.model, request.version, request.priority) == ("student", "7", -2)
    assert request.transport == "http"


async def test_a_lens_is_given_by_its_field_of_view_or_its_intrinsics() -> None:
    assert (await asked("fov_deg=90")).lens == FieldOfView(horizontal_deg=90.0)
    lens = (await asked("fx_px=700&fy_px=701&cx_px=621&cy_px=187.5")).lens
    assert lens == Intrinsics(fx_px=700.0, fy_px=701.0, cx_px=621.0, cy_px=187.5)


async def test_an_answer_says_the_intrinsics_of_its_map_where_a_lens_was_given() -> None:
    response = await post(EchoEngine(), "/v1/depth?fx_px=700.1&fy_px=701&cx_px=621&cy_px=187.5")
    assert response.headers["x-depth-intrinsics"] == "700.1 701.0 621.0 187.5"


async def test_metres_rest_on_a_camera_height_or_a_known_distance() -> None:
    request = await asked("camera_height_m=1.65&fov_deg=90")
    assert request.anchor == CameraHeight(height_m=1.65)
    request = await asked("known_x_px=10&known_y_px=20.5&known_distance_m=3")
    assert request.anchor == KnownDistance(x_px=10.0, y_px=20.5, distance_m=3.0)


async def test_a_preview_has_its_colours_and_range() -> None:
    request = await asked("format=color&colormap=magma&near=1&far=80")
    assert request.colour == Colour(map="magma", near=1.0, far=80.0)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("fromat=png16", "fromat"),
        ("format=bmp", "bmp"),
        ("format=npy&format=npy", "format"),
        ("size=huge", "huge"),
        ("priority=high", "high"),
        ("fov_deg=wide", "wide"),
        ("fov_deg=190", "190"),
        ("fov_deg=nan", "nan"),
        ("fx_px=700", "incomplete"),
        ("fov_deg=90&fx_px=700&fy_px=700&cx_px=1&cy_px=1", "one of them"),
        ("known_x_px=1&known_y_px=1", "incomplete"),
        ("camera_height_m=1.6&known_x_px=1&known_y_px=1&known_distance_m=1&fov_deg=90", "one of them"),
        ("camera=a&fov_deg=90", "one of them"),
        ("known_points=1,2", "known_points[0]"),
        ("known_points=1,2,3;4,5", "known_points[1]"),
        ("format=ply&rectify=no", "rectify"),
        ("near=5&far=2", "near"),
    ],
)
async def test_an_option_that_makes_no_sense_is_named(query: str, named: str) -> None:
    response = await post(EchoEngine(), f"/v1/depth?{query}")
    assert error_of(response) == (400, "invalid_argument")
    assert named in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("accept", "format_"),
    [
        ("*/*", "png16"),
        ("image/png", "png16"),
        ("image/jxl", "jxl"),
        ("application/json", "json"),
        ("text/html, application/json;q=0.5, image/jxl;q=0.8", "jxl"),
        ("application/json;q=0, image/png", "png16"),
    ],
)
async def test_accept_chooses_the_format(accept: str, format_: str) -> None:
    response = await post(EchoEngine(), headers={**JPEG, "accept": accept})
    assert response.headers["x-depth-format"] == format_


async def test_the_query_s_format_is_stronger_than_accept() -> None:
    response = await post(EchoEngine(), "/v1/depth?format=float16", headers={**JPEG, "accept": "image/jxl"})
    assert response.headers["x-depth-format"] == "float16"


@pytest.mark.parametrize("accept", ["text/html", "image/png;q=0"])
async def test_a_client_that_takes_nothing_that_is_written_here_is_told(accept: str) -> None:
    assert error_of(await post(EchoEngine(), headers={**JPEG, "accept": accept})) == (406, "not_acceptable")


async def test_a_form_brings_the_image_and_its_options() -> None:
    engine = EchoEngine()
    async with http_client(make_frontend(engine)) as client:
        response = await client.post(
            "/v1/depth?size=model", files={"image": ("p.jpg", b"photo", "image/jpeg")}, data={"format": "npy"}
        )
    assert response.content == b"photo|npy|model"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "multipart/form-data"),
        (b"nonsense", "multipart/form-data; boundary=x"),
        (
            b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\npho',
            "multipart/form-data; boundary=x",
        ),
        (b"--x\r\nContent-Type: image/jpeg\r\n\r\nphoto\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (b"--x--\r\n", "multipart/form-data; boundary=x"),
    ],
)
async def test_a_malformed_form_is_the_client_s_mistake(body: bytes, content_type: str) -> None:
    response = await post(EchoEngine(), content=body, headers={"content-type": content_type})
    assert error_of(response) == (400, "invalid_argument")


@pytest.mark.parametrize("images", [0, 2])
async def test_a_form_for_one_image_brings_one(images: int) -> None:
    async with http_client(make_frontend(EchoEngine())) as client:
        response = await client.post(
            "/v1/depth", files=[("image", ("p", b"photo"))] * images or [("format", (None, "npy"))]
        )
    assert error_of(response) == (400, "invalid_argument")
    assert f"{images} images" in response.json()["error"]["message"]


@pytest.mark.parametrize("content_type", ["application/xml", "text/plain", "video/mp4"])
async def test_a_body_that_is_no_image_by_its_own_word_is_refused(content_type: str) -> None:
    response = await post(EchoEngine(), headers={"content-type": content_type})
    assert error_of(response) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type", ["", "image/webp", "application/octet-stream", "application/x-www-form-urlencoded"]
)
async def test_a_bare_image_may_come_under_any_name_that_tools_give_it(content_type: str) -> None:
    response = await post(EchoEngine(), headers={"content-type": content_type} if content_type else {})
    assert response.status_code == 200


async def test_an_empty_image_is_named_as_such() -> None:
    response = await post(EchoEngine(), content=b"")
    assert error_of(response) == (400, "invalid_argument")


async def test_the_client_s_deadline_reaches_the_engine() -> None:
    engine = EchoEngine()
    asked_s = time.monotonic()
    await post(engine, headers={**JPEG, "x-request-deadline-ms": "1500"})
    assert asked_s + 1.5 <= engine.requests[0].deadline_s <= time.monotonic() + 1.5


async def test_our_own_bound_is_stronger_than_a_patient_client() -> None:
    engine = EchoEngine()
    async with http_client(make_frontend(engine, request_timeout_s=2.0)) as client:
        asked_s = time.monotonic()
        for headers in ({}, {"x-request-deadline-ms": "1e9"}):
            await client.post("/v1/depth", content=b"photo", headers=headers)
    assert len(engine.requests) == 2
    for request in engine.requests:
        assert asked_s + 2 <= request.deadline_s <= time.monotonic() + 2


@pytest.mark.parametrize("deadline", ["soon", "0", "-5", "nan"])
async def test_a_deadline_that_is_none_is_the_client_s_mistake(deadline: str) -> None:
    response = await post(EchoEngine(), headers={**JPEG, "x-request-deadline-ms": deadline})
    assert error_of(response) == (400, "invalid_argument")


async def test_what_the_engine_refuses_is_told_with_the_time_to_come_again() -> None:
    engine = EchoEngine()
    engine.error = Overloaded("12 images wait", retry_after_s=2.3)
    response = await post(engine)
    assert error_of(response) == (429, "overloaded")
    assert response.headers["retry-after"] == "3"
    assert response.json()["error"]["message"] == "12 images wait"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotReady("loading", retry_after_s=1.0), 503),
        (DeadlineExceeded("too late"), 504),
        (UnknownModel("no such model"), 404),
        (InvalidImage("not an image"), 422),
    ],
)
async def test_each_error_has_its_status(error: Exception, status: int) -> None:
    engine = EchoEngine()
    engine.error = error
    assert (await post(engine)).status_code == status


async def test_the_unexpected_is_logged_with_its_traceback_and_answered_without_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = EchoEngine()
    engine.error = RuntimeError("/secret/path")
    response = await post(engine)
    assert error_of(response) == (500, "internal")
    assert "secret" not in response.text
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.exc_info is not None
    assert "/secret/path" in str(record.exc_info[1])


async def test_a_request_s_id_is_the_client_s_or_one_made_up() -> None:
    engine = EchoEngine()
    response = await post(engine, headers={**JPEG, "x-request-id": "order-7"})
    assert response.headers["x-request-id"] == engine.requests[0].request_id == "order-7"
    response = await post(engine, headers={**JPEG, "x-request-id": "two words"})
    assert response.headers["x-request-id"] == engine.requests[1].request_id != "two words"


def parts_of(response: httpx.Response) -> list[Message]:
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    message = message_from_bytes(head + response.content)
    assert message.is_multipart()
    return message.get_payload()


async def batch(engine: EchoEngine, *images: bytes, **chosen: object) -> httpx.Response:
    async with http_client(make_frontend(engine, **chosen)) as client:
        files = [("image", (f"{place}.jpg", image, "image/jpeg")) for place, image in enumerate(images)]
        return await client.post("/v1/depth/batch?format=npy", files=files, data={"size": "model"})


async def test_a_batch_is_answered_image_by_image_in_its_order() -> None:
    engine = EchoEngine()
    response = await batch(engine, b"one", b"two\r\n--", b"three")
    assert response.headers["content-type"].startswith("multipart/mixed; boundary=")
    bodies = [part.get_payload(decode=True) for part in parts_of(response)]
    assert bodies == [b"one|npy|model", b"two\r\n--|npy|model", b"three|npy|model"]
    assert [part["x-depth-status"] for part in parts_of(response)] == ["200"] * 3
    assert [part["x-depth-scale"] for part in parts_of(response)] == ["0.00390625"] * 3
    request_id = response.headers["x-request-id"]
    assert [part["x-request-id"] for part in parts_of(response)] == [
        f"{request_id}/{place}" for place in range(3)
    ]


async def test_the_images_of_a_batch_reach_the_engine_together() -> None:
    engine = EchoEngine()
    engine.gate.clear()
    answering = asyncio.ensure_future(batch(engine, b"one", b"two", b"three"))
    await engine.until_in_flight(3)
    engine.gate.set()
    assert (await answering).status_code == 200


async def test_a_bad_image_has_its_error_and_harms_no_neighbour() -> None:
    class Picky(EchoEngine):
        async def depth(self, request, turn=None):
            if request.image == b"bad":
                raise InvalidImage("not an image")
            if request.image == b"odd":
                raise RuntimeError("/secret/path")
            return await super().depth(request, turn)

    response = await batch(Picky(), b"one", b"bad", b"odd", b"four")
    assert response.status_code == 200
    parts = parts_of(response)
    assert [part["x-depth-status"] for part in parts] == ["200", "422", "500", "200"]
    assert b'"code":"invalid_image"' in parts[1].get_payload(decode=True)
    assert b"secret" not in response.content
    assert parts[3].get_payload(decode=True) == b"four|npy|model"


async def test_a_batch_has_a_bound() -> None:
    response = await batch(EchoEngine(), *[b"photo"] * 4, max_images_per_call=3)
    assert error_of(response) == (400, "invalid_argument")


async def test_a_batch_comes_as_a_form() -> None:
    assert error_of(await post(EchoEngine(), "/v1/depth/batch"))[0] == 415


async def test_an_unknown_path_and_a_wrong_method_are_errors_like_any_other() -> None:
    async with http_client(make_frontend(EchoEngine())) as client:
        assert error_of(await client.get("/v1/dept")) == (404, "not_found")
        wrong = await client.get("/v1/depth")
        assert error_of(wrong) == (405, "method_not_allowed")
        assert wrong.headers["allow"] == "POST"
