"""The application that ``serve deploy`` and ``serve run`` build from their config file.

Replicas, CPUs, GPUs and autoscaling are written in that file.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

from ray import serve
from ray.serve import Application, Deployment

from service.engine import Engine
from service.ray.replica import Replica
from service.settings import Settings
from service.telemetry.metrics import Metrics

_RAYS_OWN = (
    "host",
    "http_port",
    "grpc_port",
    "reuse_port",
    "tls_cert",
    "tls_key",
    "tls_client_ca",
    "admin_key",
    "admin_key_file",
    "linger_s",
    "ready_file",
)
"""What Ray's proxies decide, or what would reach one replica of many."""


def build(arguments: Mapping[str, Any]) -> Application:
    """Build the application; Ray calls this with what its config file has under ``args``.

    Raises:
        ValueError: There is no such setting, or it has no effect here.
    """
    return bind(arguments, Engine)


def bind(arguments: Mapping[str, Any], make_engine: Callable[[Settings, Metrics], Engine]) -> Application:
    """Build the application from settings by their names in ``service/settings.py``, and from an engine.

    Args:
        arguments: Read on the node of each replica, where the files that they name have to be.
        make_engine: Makes what answers; tests have their own.

    Raises:
        ValueError: There is no such setting, or it has no effect here.
    """
    for name in arguments:
        if name not in Settings.model_fields:
            raise ValueError(f"{name} is set, but there is no such setting; service/settings.py lists them")
        if name in _RAYS_OWN:
            raise ValueError(f"{name} is set, but has no effect on Ray: its proxies are the transports")
    deployment = cast(Deployment, serve.deployment(serve.ingress()(Replica), name="depth"))
    return deployment.bind(dict(arguments), make_engine)
