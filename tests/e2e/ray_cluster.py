"""A Ray cluster of two nodes on this machine, and what is deployed on it, by the ways that its users go."""

import json
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import pytest
import ray
import yaml
from ray.cluster_utils import Cluster
from ray.serve._private.api import serve_start
from ray.serve.config import gRPCOptions
from ray.serve.schema import ServeDeploySchema

from tests.e2e.process import ROOT

CONFIG = ROOT / "docker" / "ray" / "serve.yaml"
STORE_BYTES = 80 * 2**20
Started = TypeVar("Started")


def free_ports(count: int) -> list[int]:
    with ExitStack() as open_ports:
        probes = [open_ports.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def size() -> dict[str, int]:
    """What each node is started with. Ports that Ray chose itself it would have to be told of in 15 s."""
    names = (
        "metrics_agent_port",
        "metrics_export_port",
        "runtime_env_agent_port",
        "dashboard_agent_listen_port",
    )
    return {"object_store_memory": STORE_BYTES, **dict(zip(names, free_ports(4), strict=True))}


def patiently(start: Callable[[], Started], tries: int = 4) -> Started:
    """Start a node, or skip. Ray gives its own helpers 15 s, in which a busy machine may not import them."""
    while True:
        tries -= 1
        try:
            return start()
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
            if not tries:
                pytest.skip("this machine is too busy for Ray, which gives up on a node after 15 s")


class TwoNodes:
    """A head with room for two replicas, of two CPUs each, and a worker with room for one.

    Args:
        folder: Where replicas keep their journals.
    """

    def __init__(self, folder: Path) -> None:
        self.journals = folder
        self.http_port, self.grpc_port, *self.worker_ports = free_ports(4)
        self.environment = {
            "RAY_USAGE_STATS_ENABLED": "0",
            # On a busy machine Ray's own proxies are not ready within the five seconds that it gives them.
            "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "50",
            # Both nodes have one address here, so the second one's transports need ports of their own.
            "RAY_SERVE_WORKER_PROXY_HTTP_PORT": str(self.worker_ports[0]),
            "RAY_SERVE_WORKER_PROXY_GRPC_PORT": str(self.worker_ports[1]),
            "PYTHONPATH": str(ROOT),
        }

    def __enter__(self) -> "TwoNodes":
        # Without a dashboard: a dozen processes, of which two would be used.
        head = {"num_cpus": 4, "include_dashboard": False}
        self._cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args=head | size()))
        self.worker = patiently(lambda: self._cluster.add_node(num_cpus=2, **size()))
        ray.init(address=self._cluster.address, log_to_driver=False, logging_level="warning")
        return self

    def __exit__(self, *_: object) -> None:
        ray.shutdown()
        self._cluster.shutdown()

    # What is deployed

    def config(self, *, scaling: dict[str, Any], **arguments: Any) -> dict[str, Any]:
        """The config file that ships, with ports, sizes and an engine that fit a test."""
        config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
        config["http_options"] |= {"host": "127.0.0.1", "port": self.http_port}
        config["grpc_options"]["port"] = self.grpc_port
        [application] = config["applications"]
        [deployment] = application["deployments"]
        application["import_path"] = "tests.e2e.ray_app:build"
        application["args"] |= {"journal": str(self.journals), "hold_s": 0.0, **arguments}
        deployment["autoscaling_config"] |= scaling
        return config

    def deploy(self, config: dict[str, Any]) -> None:
        """What ``serve run --non-blocking`` does, without the seconds that a process of its own takes."""
        schema = ServeDeploySchema.model_validate(config)
        self._client = serve_start(
            http_options=schema.http_options.model_dump(),
            proxy_location=schema.proxy_location,
            grpc_options=gRPCOptions(**schema.grpc_options.model_dump()),
        )
        self._client.deploy_apps(schema)

    def replicas(self) -> dict[str, str]:
        """The node of each replica that runs, by the replica's name."""
        [deployment] = self._application()["deployments"].values()
        running = [replica for replica in deployment["replicas"] if replica["state"] == "RUNNING"]
        return {replica["replica_id"]: replica["node_id"] for replica in running}

    def exported(self) -> set[str]:
        """The names of all metrics that Ray's agents on the nodes export."""
        ports = [node["MetricsExportPort"] for node in ray.nodes() if node["Alive"]]
        texts = [httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text for port in ports]
        return set(re.findall(r"^(\w+)[ {]", "\n".join(texts), flags=re.MULTILINE))

    def until(self, holds: Callable[[], bool], within_s: float = 200.0) -> None:
        ends_at = time.monotonic() + within_s
        while not self._holds(holds):
            assert time.monotonic() < ends_at, json.dumps(self._application(), indent=1, default=str)
            time.sleep(0.2)

    def until_running(self, replicas: int) -> None:
        self.until(lambda: self._application()["status"] == "RUNNING" and len(self.replicas()) == replicas)

    def _holds(self, holds: Callable[[], bool]) -> bool:
        try:
            return holds()
        except (KeyError, ValueError):
            return False  # there is nothing of it yet

    def _application(self) -> dict[str, Any]:
        application: dict[str, Any] = self._client.get_serve_details()["applications"]["depth"]
        return application

    # What happens to it

    def kill_worker(self) -> str:
        """End every process of the worker at once, as a cut power line would; answer the node's id."""
        [(_, raylet)] = [live for live in self.worker.live_processes() if live[0] == "raylet"]
        family = [*psutil.Process(raylet.pid).children(recursive=True), psutil.Process(raylet.pid)]
        for member in family:
            member.suspend()
        for member in family:
            member.kill()
        self._cluster.remove_node(self.worker, allow_graceful=False)
        node_id: str = self.worker.node_id
        return node_id

    def journal(self, node_id: str) -> dict[str, Counter[str]]:
        """What the replicas of a node wrote: the ids that began there, and those that were answered."""
        told: dict[str, Counter[str]] = {"began": Counter(), "answered": Counter(), "opened": Counter()}
        for path in self.journals.glob(f"{node_id}.*"):
            for line in path.read_text().splitlines():
                what, _, request_id = line.partition(" ")
                told[what][request_id] += 1
        return told


@contextmanager
def two_nodes(folder: Path) -> Iterator[TwoNodes]:
    nodes = TwoNodes(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in nodes.environment.items():
            patch.setenv(name, value)
        with nodes:
            yield nodes
