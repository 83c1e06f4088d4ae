"""One replica: an engine behind the usual application and servicers, opened and closed as Ray wishes."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Any

import ray
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.contract.errors import Unavailable
from service.engine import Engine
from service.kserve.servers import make_http
from service.lifespan import NAME, open_frontend
from service.ray.calls import RayCalls, answering_calls
from service.ray.figures import publish
from service.settings import Settings
from service.telemetry.logs import configure_logging
from service.telemetry.metrics import Metrics
from service.telemetry.stalls import watching_loop

logger = logging.getLogger(__name__)


@answering_calls
class Replica:
    """Answers both of Ray Serve's transports; ``serve.ingress`` makes a deployment of it.

    Args:
        chosen: Settings by their names; what is not among them comes from the node's ``DEPTH_...`` variables.
        make_engine: Makes what answers; tests have their own.
    """

    def __init__(
        self, chosen: Mapping[str, Any], make_engine: Callable[[Settings, Metrics], Engine] = Engine
    ) -> None:
        self._chosen = chosen
        self._make_engine = make_engine

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        """Open everything; answer the application once there is a model, for requests come from then on.

        The admin calls would reach one replica of many, so there are none.

        Raises:
            ServiceError: No model can be served; Ray tries again elsewhere, and says why.
        """
        settings = share_of_node(Settings(**self._chosen), _assigned())
        # A client's calls go to any replica, and a region would be known to one.
        settings = settings.model_copy(update={"shared_memory_prefix": ""})
        configure_logging(settings.log_level)
        metrics = Metrics(CollectorRegistry())
        async with AsyncExitStack() as opening:
            await opening.enter_async_context(watching_loop(metrics.event_loop_stall_seconds))
            self._engine = await opening.enter_async_context(self._make_engine(settings, metrics))
            self._frontend = open_frontend(self._engine, settings, metrics)
            self.calls = RayCalls(self._frontend, version=version(NAME))
            await self._engine.wait_ready()
            publishing = asyncio.ensure_future(publish(metrics.registry))
            opening.callback(publishing.cancel)
            self._open = opening.pop_all()
        application = make_http(self._frontend, version=version(NAME))
        application.add_middleware(OneRequestId)
        return application

    async def check_health(self) -> None:
        """Tell Ray whether this replica should live on.

        Raises:
            Unavailable: Only a new process helps; Ray makes one.
        """
        if not self._engine.live:
            raise Unavailable("backends have hung; this replica should be replaced")

    async def __del__(self) -> None:
        """Close, once Ray has routed no more requests here and waited for those that were."""
        if hasattr(self, "_open"):
            self._frontend.closing = True
            await self._open.aclose()
            logger.info("closed")


class OneRequestId:
    """Leaves the request's id out of an answer's headers, where Ray's proxy writes the same one again."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""

        async def pass_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message["headers"] if name != b"x-request-id"]
                message = {**message, "headers": kept}
            await send(message)

        await self._app(scope, receive, pass_on)


def _assigned() -> dict[str, float]:
    resources: dict[str, float] = ray.get_runtime_context().get_assigned_resources()  # type: ignore[no-untyped-call]
    return resources


def share_of_node(settings: Settings, assigned: Mapping[str, float]) -> Settings:
    """Fill in how many threads there are by the CPUs that Ray gave this replica, not by those of the node."""
    cpus = max(1, int(assigned.get("CPU", 1)))
    shares = {"threads": max(1, cpus // (settings.instances or 1)), "codec_threads": cpus}
    return settings.model_copy(
        update={name: share for name, share in shares.items() if getattr(settings, name) is None}
    )
