"""Ask a service over HTTP and gRPC without a pause, until it takes no more connections; say how that went.

`docker/try.py` hands it to Python in a container that shares the service's network, so that no proxy stands
between the two and what is refused is refused by the service itself.
"""

import http.client
import json
import sys
import threading
import time
from collections import Counter

import grpc

from service.rpc.pb import depth_pb2 as pb
from service.rpc.pb.depth_pb2_grpc import DepthStub

HOST = "127.0.0.1"
CALLERS = 4
"""Through each transport."""
ENOUGH = 20
"""Answers after which the load is on."""
GIVE_UP_S = 120.0

NOT_BEGUN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


class Tally:
    """What became of all requests."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.ends_at = time.monotonic() + GIVE_UP_S
        self._lock = threading.Lock()

    def add(self, what: str) -> None:
        """Count one request; say so when enough were answered."""
        with self._lock:
            self.counts[what] += 1
            answered = self.counts["http answered"] + self.counts["grpc answered"]
            if answered == ENOUGH and what.endswith("answered"):
                print("under load", flush=True)

    @property
    def going(self) -> bool:
        """Whether there is time left."""
        return time.monotonic() < self.ends_at


def ask_over_http(tally: Tally, photo: bytes) -> None:
    """Ask until the connection is refused."""
    while tally.going:
        transport = http.client.HTTPConnection(HOST, 8000, timeout=60)
        try:
            transport.connect()
        except ConnectionRefusedError:
            return tally.add("http refused")
        try:
            transport.request("POST", "/v1/depth", body=photo, headers={"content-type": "image/jpeg"})
            answer = transport.getresponse()
            whole = len(answer.read()) == int(answer.headers["content-length"])
            tally.add(
                "http answered" if answer.status == http.client.OK and whole else f"http {answer.status}"
            )
        except (OSError, http.client.HTTPException) as error:
            tally.add(f"http {type(error).__name__}")
        finally:
            transport.close()
    return tally.add("http never refused")


def ask_over_grpc(tally: Tally, photo: bytes) -> None:
    """Call until a call is refused before it was begun."""
    with grpc.insecure_channel(f"{HOST}:8001") as channel:
        stub = DepthStub(channel)
        while tally.going:
            try:
                answer = stub.Predict(pb.PredictRequest(image=photo), timeout=60)
                tally.add("grpc answered" if answer.data else "grpc empty")
            except grpc.RpcError as error:
                refused = error.code() in NOT_BEGUN
                tally.add("grpc refused" if refused else f"grpc {error.code().name}")
                if refused:
                    return
    tally.add("grpc never refused")


def main() -> None:
    """Ask from several threads; print the counts as JSON."""
    with open("/photo.jpg", "rb") as file:  # noqa: PTH123 - as short as the rest
        photo = file.read()
    tally = Tally()
    transports = [ask_over_http, ask_over_grpc] * CALLERS
    callers = [threading.Thread(target=transport, args=(tally, photo)) for transport in transports]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    print(json.dumps(tally.counts))


if __name__ == "__main__":
    sys.exit(main())
