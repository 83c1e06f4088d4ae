"""TLS certificates that are renewed while the service runs."""

import asyncio
import shutil
import ssl
from pathlib import Path

import grpc
import pytest

from service.kserve.servers import make_rpc
from tests.certificates import Authority
from tests.service.echo import EchoEngine
from tests.service.opened import http_server, make_frontend


class Files:
    """The files that a service's settings name, with one certificate after the other in them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.names = {name: folder / f"served.{name}" for name in ("tls_cert", "tls_key", "tls_client_ca")}
        self.authority = self.renew("first")

    def renew(self, name: str) -> Authority:
        """Put a certificate of another authority there, which clients' have to be signed by as well."""
        authority = Authority(self._folder, f"{name}-ca")
        certificate, key = authority.sign(name)
        for source, target in zip(
            (certificate, key, authority.certificate), self.names.values(), strict=True
        ):
            shutil.copy(source, draft := target.with_suffix(".draft"))
            draft.replace(target)
        self.authority = authority
        return authority


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


async def http_answers(port: int, authority: Authority, name: str) -> bool:
    """Whether a client that trusts an authority alone, and shows a certificate of it, is answered."""
    context = ssl.create_default_context(cafile=authority.certificate)
    context.load_cert_chain(*authority.sign(name))
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(b"GET /livez HTTP/1.1\r\nhost: depth\r\nconnection: close\r\n\r\n")
        answered = (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
    except (ssl.SSLError, ConnectionError):
        return False
    return answered


async def grpc_answers(port: int, authority: Authority, name: str) -> bool:
    certificate, key = authority.sign(name)
    credentials = grpc.ssl_channel_credentials(
        authority.certificate.read_bytes(), key.read_bytes(), certificate.read_bytes()
    )
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        try:
            async with asyncio.timeout(2):
                await channel.channel_ready()
        except TimeoutError:
            return False
    return True


async def test_new_connections_over_http_meet_the_renewed_certificate_and_authority(files: Files) -> None:
    first = files.authority
    async with http_server(make_frontend(EchoEngine(), **files.names)) as port:
        assert await http_answers(port, first, "client")
        second = files.renew("second")
        assert await http_answers(port, second, "client")
        assert not await http_answers(port, first, "client")


async def test_new_connections_over_grpc_do_too(files: Files) -> None:
    first = files.authority
    server = make_rpc(make_frontend(EchoEngine(), **files.names), version="1")
    port = await server.start()
    try:
        assert await grpc_answers(port, first, "client")
        second = files.renew("second")
        assert await grpc_answers(port, second, "client")
        assert not await grpc_answers(port, first, "client")
    finally:
        await server.stop()


async def test_files_that_do_not_fit_each_other_leave_the_old_certificate_in_use(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    first = files.authority
    async with http_server(make_frontend(EchoEngine(), **files.names)) as port:
        assert await http_answers(port, first, "client")
        files.names["tls_key"].write_text("half of a key")
        for _ in range(2):
            assert await http_answers(port, first, "client")
        assert caplog.text.count("the old one stays") == 1
        second = files.renew("second")
        assert await http_answers(port, second, "client")
