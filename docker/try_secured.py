"""The stack of docker/compose.secured.yml, brought up with keys and certificates made for it, and asked.

It needs openssl, and does not know what else is tried.
"""

import os
import secrets
import ssl
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
from try_stack import Compose, check, run, say, stack, wait

from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthStub
from service.transports.auth import hash_key, new_key

FILES = (
    "docker-compose.yml",
    "docker/compose.secured.yml",
)
NAMES = "subjectAltName=DNS:depth,DNS:localhost,IP:127.0.0.1"
"""Prometheus asks for the first; we ask for the last."""
USER = 10001
"""Whom the images run as."""


@dataclass(frozen=True)
class Secrets:
    """A folder as docs/production.md describes it, and the keys that are in it as hashes or not at all."""

    folder: Path
    key: str
    admin_key: str

    @property
    def authority(self) -> Path:
        """The certificate to trust."""
        return self.folder / "authority.crt"


def try_secured(folder: Path, photo: bytes) -> None:
    """Bring the secured stack up, and see who gets in."""
    made = make_secrets(folder / "secrets")
    with stack(Compose(FILES, {"SECRETS": str(made.folder)}), {}) as compose:
        over_http = ask_over_https(compose, made, photo)
        check(ask_over_grpc(compose, made, photo) == over_http, "HTTPS and gRPC answer different bytes")
        look_into_prometheus(compose)
        look_for_secrets(compose, made)


def make_secrets(folder: Path) -> Secrets:
    """Make an authority, a certificate that it signed, a caller's key and an admin's."""
    folder.mkdir(mode=0o755)
    made = Secrets(folder, new_key(), secrets.token_hex(32))
    (folder / "api-keys").write_text(f"ann {hash_key(made.key)} 1000\n")
    (folder / "admin-key").write_text(f"{made.admin_key}\n")
    (folder / "names").write_text(NAMES)
    private = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout")
    signed = ("-CA", "authority.crt", "-CAkey", "authority.key", "-CAcreateserial", "-extfile", "names")
    for words in (
        ("req", "-x509", "-subj", "/CN=authority", *private, "authority.key", "-out", "authority.crt"),
        ("req", "-subj", "/CN=depth", *private, "tls.key", "-out", "tls.csr"),
        ("x509", "-req", "-in", "tls.csr", *signed, "-out", "tls.crt"),
    ):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
    # Only who is root can give files to the images' user alone; these are of no use to anybody else anyway.
    for file in folder.iterdir():
        alone = os.geteuid() == 0 and file != made.authority
        file.chmod(0o400 if alone else 0o644)
        if alone:
            os.chown(file, USER, USER)
    return made


def ask_over_https(compose: Compose, made: Secrets, photo: bytes) -> bytes:
    """See that the key gets in over TLS and nothing else does; return the answer."""
    address = f"127.0.0.1:{compose.ports['HTTP']}"
    trusting = ssl.create_default_context(cafile=made.authority)
    with httpx.Client(base_url=f"https://{address}", verify=trusting, timeout=60) as client:

        def status(path: str, key: str | None, content: bytes = b"") -> int:
            return client.post(path, content=content, headers=bearing(key)).status_code

        answer = client.post("/v1/depth", content=photo, headers=bearing(made.key)).raise_for_status()
        for key in (None, "wrong", made.admin_key):
            check(status("/v1/depth", key, photo) == 401, "a photograph was answered without a key")
        check(status("/admin/reload", made.admin_key) == 204, "the admin key opens nothing")
        check(status("/admin/reload", made.key) == 401, "a caller's key opens what is the admin's")
    for url, verify in (
        (f"http://{address}", trusting),
        (f"https://{address}", ssl.create_default_context()),
    ):
        try:
            httpx.get(f"{url}/livez", verify=verify)
        except httpx.TransportError:
            continue
        check(False, f"{url} answered somebody who speaks no TLS, or trusts another authority")
    say("over HTTPS the key gets in, and nobody else")
    return answer.content


def ask_over_grpc(compose: Compose, made: Secrets, photo: bytes) -> bytes:
    """See the same on the other transport; return the answer."""
    address, request = f"127.0.0.1:{compose.ports['GRPC']}", pb.PredictRequest(image=photo)
    trusting = grpc.ssl_channel_credentials(made.authority.read_bytes())
    with grpc.secure_channel(address, trusting) as channel:
        stub = DepthStub(channel)
        answer = stub.Predict(request, timeout=60, metadata=tuple(bearing(made.key).items()))
        check(refusal(stub, request, None) is grpc.StatusCode.UNAUTHENTICATED, "gRPC answered without a key")
    with grpc.insecure_channel(address) as channel:
        code = refusal(DepthStub(channel), request, made.key)
        check(code is grpc.StatusCode.UNAVAILABLE, f"gRPC without TLS ended with {code}")
    say("over gRPC likewise, with the same bytes")
    return bytes(answer.data)


def bearing(key: str | None) -> dict[str, str]:
    """Return what a caller shows, through either transport."""
    return {} if key is None else {"authorization": f"Bearer {key}"}


def refusal(stub: DepthStub, request: pb.PredictRequest, key: str | None) -> grpc.StatusCode | None:
    """Return how a call was refused; None where it was answered."""
    try:
        stub.Predict(request, timeout=10, metadata=tuple(bearing(key).items()))
    except grpc.RpcError as error:
        return error.code()
    return None


def look_into_prometheus(compose: Compose) -> None:
    """See that Prometheus reads the figures over TLS, of a service that answered one call a transport."""
    with httpx.Client(
        base_url=f"http://127.0.0.1:{compose.ports['PROMETHEUS']}/api/v1", timeout=30
    ) as client:

        def data(path: str, parameters: Mapping[str, str] | None = None) -> dict[str, list[dict[str, Any]]]:
            answer: dict[str, Any] = client.get(path, params=parameters).raise_for_status().json()
            return dict(answer["data"])

        def counted() -> bool:
            query = {"query": 'sum by (transport) (depth_request_seconds_count{outcome="ok"})'}
            found = data("/query", query)["result"]
            return {one["metric"]["transport"]: one["value"][1] for one in found} == {
                "http": "1",
                "grpc": "1",
            }

        wait(counted, "Prometheus counts one answer of each transport")
        [target] = data("/targets")["activeTargets"]
        check(target["health"] == "up", f"Prometheus says of its target: {target}")
        check(target["scrapeUrl"].startswith("https://depth:"), f"Prometheus asks {target['scrapeUrl']}")
    say("Prometheus reads them over TLS")


def look_for_secrets(compose: Compose, made: Secrets) -> None:
    """See that no key stands in a container's description or in its log."""
    container = compose.container("depth-cpu")
    said = run("docker", "inspect", container) + run("docker", "logs", container, errors=True)
    check("ann" in said, "the log does not say who asked")
    for secret in (made.key, made.admin_key, hash_key(made.key)):
        check(secret not in said, "a secret stands in the container's description or in its log")
    say("no secret stands in the container's description or in its log")
