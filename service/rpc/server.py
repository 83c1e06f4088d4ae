"""The gRPC server: its limits, its health, its reflection and its certificate."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from service.rpc.calls import Admitting
from service.rpc.errors import Context
from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import add_DepthServicer_to_server
from service.rpc.servicer import DepthCalls
from service.settings import Settings
from service.transports.certificates import Certificates, server_context
from service.transports.frontend import Frontend

logger = logging.getLogger(__name__)

_ANSWER_BYTES = 1 << 30
"""The largest answer: as float32, the most pixels that an image may have come to less than that."""
_ENVELOPE_BYTES = 65_536
"""What a message may hold beside its image."""
_LAST_BYTES_S = 0.5
_PING_MS = 10_000
"""How long a peer may leave a ping unanswered."""
_HEARD_S = 0.2
_REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"
_SERVICE = pb.DESCRIPTOR.services_by_name["Depth"].full_name


class RpcServer:
    """The gRPC transport, from opening to closing.

    Args:
        frontend: What it shares with the other transports.
        add_services: Adds further services, and answers their full names.
        open_methods: Those of them, by the beginning of their paths, that need no API key.
        transports: What their calls are counted as, likewise.
    """

    def __init__(
        self,
        frontend: Frontend,
        add_services: Callable[[grpc.aio.Server], list[str]] | None = None,
        open_methods: tuple[str, ...] = (),
        transports: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._frontend = frontend
        self._admitting = Admitting(frontend, open_methods, transports)
        self._server = grpc.aio.server(
            interceptors=(self._admitting,),
            options=_options(frontend.settings),
            maximum_concurrent_rpcs=frontend.settings.max_calls,
        )
        self._health = _Health()
        self._announcing: set[asyncio.Task[None]] = set()
        add_DepthServicer_to_server(DepthCalls(frontend), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._names = [_SERVICE, *(add_services(self._server) if add_services else [])]
        shown = (*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        _reflect(shown, self._server)

    async def start(self) -> int:
        """Listen; return the port.

        Raises:
            OSError: The address cannot be had; the message names the settings.
        """
        settings = self._frontend.settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host  # IPv6
        address = f"{host}:{settings.grpc_port}"
        credentials = _credentials(settings)
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:  # grpc's own text does not say why
            raise OSError(
                f"gRPC cannot be served at {address} (DEPTH_HOST, DEPTH_GRPC_PORT): is the port taken?"
            ) from error
        await self.announce(ready=self._frontend.ready)
        await self._server.start()
        return port

    async def announce(self, *, ready: bool) -> None:
        """Update the health service's watchers."""
        status = health_pb2.HealthCheckResponse.NOT_SERVING
        if ready:
            status = health_pb2.HealthCheckResponse.SERVING
        for name in ("", *self._names):
            await self._health.set(name, status)

    def announce_soon(self, *, ready: bool) -> None:
        """The same, from code that cannot await."""
        task = asyncio.ensure_future(self.announce(ready=ready))
        self._announcing.add(task)
        task.add_done_callback(self._announcing.discard)

    async def retire(self) -> None:
        """Say, for good, that no more calls should come."""
        await self._health.enter_graceful_shutdown()

    async def finish(self, timeout_s: float) -> None:
        """Take no more calls; let those that run finish, for so long."""
        self._admitting.closed = True
        try:
            async with asyncio.timeout(timeout_s):
                # Clients that ask all the time hear our word first: once stopped, grpc only cancels calls.
                await asyncio.sleep(_HEARD_S)
                await self._frontend.calls.wait_until_none()
        except TimeoutError:
            logger.warning("calls did not end within %g s", timeout_s)
        # What runs now (watchers of health, idle reflection) never ends by itself; answers on their way do.
        await self._server.stop(_LAST_BYTES_S)

    async def stop(self) -> None:
        """Stop at once."""
        await self._server.stop(None)


class _Health(health.aio.HealthServicer):  # type: ignore[misc]  # it has no types
    """grpcio's, with the one call that it lacks."""

    async def List(
        self, request: health_pb2.HealthListRequest, context: Context
    ) -> health_pb2.HealthListResponse:
        """Return the state of every service."""
        statuses = {
            name: health_pb2.HealthCheckResponse(status=status)
            for name, status in self._server_status.items()
        }
        return health_pb2.HealthListResponse(statuses=statuses)


def _reflect(names: tuple[str, ...], server: grpc.aio.Server) -> None:
    """Serve reflection under both of its names: newer clients ask v1 first, and some ask nothing else."""
    servicer = reflection.aio.ReflectionServicer(names)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    # grpcio has v1alpha alone; the messages of v1 are the same on the wire.
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    handler = grpc.method_handlers_generic_handler(_REFLECTION_V1, {"ServerReflectionInfo": method})
    server.add_generic_rpc_handlers((handler,))


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        # The defaults are 4 MiB in, which a photograph exceeds, and without bound out.
        ("grpc.max_receive_message_length", settings.max_body_bytes + _ENVELOPE_BYTES),
        ("grpc.max_send_message_length", _ANSWER_BYTES),
        ("grpc.max_metadata_size", settings.max_head_bytes),
        ("grpc.max_concurrent_streams", settings.max_calls_per_connection),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        # TLS, and the client's first word of HTTP/2.
        ("grpc.server_handshake_timeout_ms", round(settings.head_timeout_s * 1e3)),
        ("grpc.max_connection_idle_ms", round(settings.keep_alive_s * 1e3)),
        # Busy clients reconnect now and then, and so reach new servers.
        ("grpc.max_connection_age_ms", _milliseconds(settings.max_connection_age_s)),
        ("grpc.max_connection_age_grace_ms", _milliseconds(settings.max_connection_age_grace_s)),
        # Unless told so: two servers on one port would share its connections without anybody knowing.
        ("grpc.so_reuseport", int(settings.reuse_port)),
        # A peer that vanished without a word is noticed, and its calls cancelled.
        ("grpc.keepalive_time_ms", round(settings.stalled_peer_s * 1e3)),
        ("grpc.keepalive_timeout_ms", _PING_MS),
        ("grpc.http2.ping_timeout_ms", _PING_MS),  # or the first of them is waited for a minute
        # Clients may do the same to us without being taken for attackers.
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1e3) or 2**31 - 1  # which gRPC takes for no bound


def _credentials(settings: Settings) -> grpc.ServerCredentials | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    certificates = Certificates(settings, _certificate)
    return grpc.dynamic_ssl_server_credentials(  # asks for each connection
        certificates.current(),
        certificates.current,
        require_client_authentication=settings.tls_client_ca is not None,
    )


def _certificate(settings: Settings) -> grpc.ServerCertificateConfiguration:
    server_context(settings)  # says what is wrong with the files, which grpc would not
    if settings.tls_cert is None or settings.tls_key is None:
        raise ValueError("there is no certificate; expected tls_cert and tls_key")
    authorities = None if settings.tls_client_ca is None else settings.tls_client_ca.read_bytes()
    pair = (settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=authorities)
