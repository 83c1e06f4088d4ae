from service.transports.auth import ApiKey, Keyring, hash_key
from tests.service.kserve.flat import FlatEngine
from tests.service.kserve.wire import INFER, PHOTO, encoded
from tests.service.opened import http_client, make_frontend


async def test_a_key_is_asked_for_everywhere_but_at_the_probes(engine: FlatEngine) -> None:
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("right"), images_per_s=1, burst=2)])
    async with http_client(make_frontend(engine, keyring)) as client:
        for path in ("/v2", "/v2/models/echo", "/v2/models/echo/ready", "/v2/models/stats"):
            answer = await client.get(path)
            assert answer.status_code == 401
            assert isinstance(answer.json()["error"], str)
        for path in ("live", "ready"):
            assert (await client.get(f"/v2/health/{path}")).status_code == 200
        key = {"authorization": "Bearer right"}
        answers = [await client.post(INFER, json=encoded(PHOTO, PHOTO), headers=key) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]  # a batch costs as many as it has


ADMIN = {"authorization": "Bearer master"}


async def test_only_the_admin_key_opens_the_repository(engine: FlatEngine) -> None:
    keyring = Keyring([ApiKey(name="ann", digest=hash_key("right"))])
    paths = ("/v2/repository/index", "/v2/repository/models/echo/load", "/v2/repository/models/echo/unload")
    async with http_client(make_frontend(engine, keyring), admin_key="master") as client:
        for path in paths:
            for key in ({}, {"authorization": "Bearer right"}):
                assert (await client.post(path, headers=key)).status_code == 401
            assert (await client.post(path, headers=ADMIN)).status_code == 200
        said = (await client.get("/v2", headers={"x-api-key": "right"})).json()
        assert "model_repository" in said["extensions"]
    assert engine.admin_calls == [("reload", "echo"), ("unload", "echo")]
    async with http_client(make_frontend(engine)) as client:
        assert [(await client.post(path, headers=ADMIN)).status_code for path in paths] == [404] * 3


async def test_the_index_lists_what_is_served_and_what_was_unloaded(engine: FlatEngine) -> None:
    engine.unloaded = ["echo", "away"]
    async with http_client(make_frontend(engine), admin_key="master") as client:
        index = (await client.post("/v2/repository/index", headers=ADMIN)).json()
        assert index == [
            {"name": "echo", "version": "1", "state": "READY", "reason": ""},
            {"name": "away", "version": "", "state": "UNAVAILABLE", "reason": "unloaded"},
        ]
        only = await client.post("/v2/repository/index", json={"ready": True}, headers=ADMIN)
        assert [entry["name"] for entry in only.json()] == ["echo"]


async def test_files_and_configurations_are_not_taken_over_the_wire(engine: FlatEngine) -> None:
    async with http_client(make_frontend(engine), admin_key="master") as client:
        load, unload = (f"/v2/repository/models/echo/{what}" for what in ("load", "unload"))
        for path, body, status in (
            (load, {"parameters": {"config": "{}"}}, 400),
            (load, {"parameters": []}, 400),
            (unload, {"parameters": {"unload_dependents": False}}, 200),
            (unload, {"parameters": {"now": True}}, 400),
            (unload, [], 400),
        ):
            assert (await client.post(path, json=body, headers=ADMIN)).status_code == status
        answer = await client.post("/v2/repository/index", json={"ready": "yes"}, headers=ADMIN)
        assert answer.status_code == 400
    assert engine.admin_calls == [("unload", "echo")]
