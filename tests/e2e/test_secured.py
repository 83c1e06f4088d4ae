"""Certificates and keys on both transports of a real process."""

import asyncio
import ssl
from pathlib import Path

import grpc
import httpx
import pytest
from websockets.asyncio.client import connect

from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthStub
from service.transports.auth import hash_key, new_key
from tests.certificates import Authority
from tests.e2e.process import running

PHOTO = pb.PredictRequest(image=b"photo")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"), "authority")


def secure_channel(port: int, authority: Authority, client: tuple[Path, Path] | None = None) -> grpc.Channel:
    certificate, key = (None, None) if client is None else (path.read_bytes() for path in client)
    credentials = grpc.ssl_channel_credentials(authority.certificate.read_bytes(), key, certificate)
    return grpc.secure_channel(f"127.0.0.1:{port}", credentials)


def trusting(authority: Authority, client: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.certificate)
    if client is not None:
        context.load_cert_chain(*client)
    return context


async def _first_message(port: int, context: ssl.SSLContext) -> str | bytes:
    async with connect(f"wss://127.0.0.1:{port}/v1/stream", ssl=context) as stream:
        await stream.send(b"photo")
        return await stream.recv()


def test_with_a_certificate_both_transports_speak_tls_only(authority: Authority) -> None:
    certificate, key = authority.sign("server")
    with running(DEPTH_TLS_CERT=certificate, DEPTH_TLS_KEY=key) as process:
        url = f"https://127.0.0.1:{process.http_port}/v1/depth"
        answer = httpx.post(url, content=b"photo", verify=trusting(authority))
        assert answer.content == b"photo|png16|input"
        assert '"frame":0' in asyncio.run(_first_message(process.http_port, trusting(authority)))
        with secure_channel(process.grpc_port, authority) as channel:
            assert DepthStub(channel).Predict(PHOTO).data == b"photo|png16|input"
        with pytest.raises(httpx.TransportError):
            httpx.post(url.replace("https", "http"), content=b"photo")
        with pytest.raises(httpx.ConnectError):  # an authority that nobody here trusts
            httpx.post(url, content=b"photo")
        with (
            grpc.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel,
            pytest.raises(grpc.RpcError) as refused,
        ):
            DepthStub(channel).Predict(PHOTO, timeout=5)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_clients_show_certificates_where_they_are_asked_for(authority: Authority) -> None:
    certificate, key = authority.sign("server")
    client = authority.sign("client")
    with running(
        DEPTH_TLS_CERT=certificate, DEPTH_TLS_KEY=key, DEPTH_TLS_CLIENT_CA=authority.certificate
    ) as process:
        url = f"https://127.0.0.1:{process.http_port}/v1/depth"
        known = trusting(authority, client)
        assert httpx.post(url, content=b"photo", verify=known).status_code == 200
        with secure_channel(process.grpc_port, authority, client) as channel:
            assert DepthStub(channel).Predict(PHOTO).data == b"photo|png16|input"
        with pytest.raises(httpx.TransportError):
            httpx.post(url, content=b"photo", verify=trusting(authority))
        with secure_channel(process.grpc_port, authority) as channel, pytest.raises(grpc.RpcError):
            DepthStub(channel).Predict(PHOTO, timeout=5)


def test_keys_open_both_transports_and_appear_in_no_log(tmp_path: Path) -> None:
    user, admin = new_key(), new_key()
    keys = tmp_path / "keys"
    keys.write_text(f"ann {hash_key(user)} 1000\n")
    admin_file = tmp_path / "admin"
    admin_file.write_text(f"{admin}\n")
    with (
        running(DEPTH_API_KEYS=keys, DEPTH_ADMIN_KEY_FILE=admin_file, DEPTH_LOG_LEVEL="debug") as process,
        grpc.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel,
    ):
        for key, status, code in ((user, 200, 0), (admin, 401, 16), ("wrong-key", 401, 16)):
            headers = {"authorization": f"Bearer {key}"}
            answer = httpx.post(f"{process.url}/v1/depth", content=b"photo", headers=headers)
            assert answer.status_code == status
            _, call = _outcome(channel, key)
            assert call == code
        for key, status in ((admin, 204), (user, 401)):
            headers = {"authorization": f"Bearer {key}"}
            assert httpx.post(f"{process.url}/admin/reload", headers=headers).status_code == status
        httpx.post(f"{process.url}/v1/depth?key={user}", content=b"photo")
        assert httpx.get(f"{process.url}/readyz").status_code == 200
    assert "ann" in process.text
    for secret in (user, admin, "wrong-key"):
        assert secret not in process.text


def _outcome(channel: grpc.Channel, key: str) -> tuple[bytes, int]:
    metadata = (("authorization", f"Bearer {key}"),)
    try:
        return DepthStub(channel).Predict(PHOTO, metadata=metadata).data, 0
    except grpc.RpcError as error:
        return b"", error.code().value[0]
