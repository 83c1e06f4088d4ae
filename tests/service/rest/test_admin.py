import pytest

from service.contract.errors import UnknownModel
from service.lifespan import serve
from service.transports.auth import ApiKey, Keyring, hash_key
from tests.service.echo import EchoEngine
from tests.service.opened import http_client, make_frontend, settings

ADMIN = {"authorization": "Bearer master"}


async def test_without_an_admin_key_there_are_no_admin_calls() -> None:
    async with http_client(make_frontend(EchoEngine())) as client:
        assert (await client.post("/admin/reload", headers=ADMIN)).status_code == 404


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": "Bearer user"}])
async def test_another_key_does_not_open_them(headers: dict[str, str]) -> None:
    engine = EchoEngine()
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("user"))])
    async with http_client(make_frontend(engine, keyring), admin_key="master") as client:
        assert (await client.post("/admin/reload", headers=headers)).status_code == 401
        assert (await client.post("/admin/models/x/unload", headers=headers)).status_code == 401
    assert engine.admin_calls == []


async def test_the_admin_key_opens_them_and_nothing_else() -> None:
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("user"))])
    engine = EchoEngine()
    async with http_client(make_frontend(engine, keyring), admin_key="master") as client:
        for path in (
            "/admin/reload",
            "/admin/models/a/load",
            "/admin/models/b/reload",
            "/admin/models/c/unload",
        ):
            assert (await client.post(path, headers=ADMIN)).status_code == 204
        assert (await client.post("/v1/depth", content=b"photo", headers=ADMIN)).status_code == 401
    assert engine.admin_calls == [("reload", None), ("reload", "a"), ("reload", "b"), ("unload", "c")]


async def test_a_model_that_is_not_there_is_told_like_any_other_error() -> None:
    class Empty(EchoEngine):
        async def unload(self, name: str) -> None:
            raise UnknownModel(f"there is no model {name!r}")

    async with http_client(make_frontend(Empty()), admin_key="master") as client:
        response = await client.post("/admin/models/x/unload", headers=ADMIN)
    assert (response.status_code, response.json()["error"]["code"]) == (404, "unknown_model")


async def test_no_service_starts_with_an_admin_key_that_could_be_guessed() -> None:
    with pytest.raises(ValueError, match="has 15 characters; expected at least 16 in DEPTH_ADMIN_KEY"):
        await serve(settings(admin_key="x" * 15), EchoEngine)
